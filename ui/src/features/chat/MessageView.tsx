import { Check, Copy, RotateCcw } from 'lucide-react'
import { memo, useCallback, useMemo, useState } from 'react'

import type { ApiError } from '../../api/errors'
import type { Answer, Citation, Message } from '../../api/types'
import { Button, IconButton } from '../../components/Button'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Markdown } from '../../components/Markdown'
import { quoteFrom } from '../../lib/citations'
import { useI18n } from '../../lib/i18n'
import { targetOf, usePassagePanel } from '../../lib/passage'
import { placeLabel } from '../../lib/place'
import { testIds } from '../../lib/testids'
import { CitationButton, PendingCitation } from './CitationButton'
import { Confidence } from './Confidence'
import { NearestList, SourceList } from './SourceList'
import styles from './MessageView.module.css'

export function QuestionView({ text }: { text: string }) {
  const { t } = useI18n()
  return (
    <article className={styles.question} data-testid={testIds.messageUser}>
      <h2 className={styles.questionText}>
        <span className="visually-hidden">{t('chat.you')}: </span>
        {text}
      </h2>
    </article>
  )
}

interface AnswerViewProps {
  message: Message
  error: ApiError | null
  onAskAgain: (() => void) | undefined
  onOpenModels: () => void
}

export const AnswerView = memo(function AnswerView({
  message,
  error,
  onAskAgain,
  onOpenModels,
}: AnswerViewProps) {
  const { t } = useI18n()
  const { answer, status } = message
  const refused = answer?.refused ?? false
  const used = useMemo(() => answer?.citations.filter((citation) => citation.used) ?? [], [answer])
  const others = useMemo(() => answer?.citations.filter(({ used }) => !used) ?? [], [answer])

  return (
    <article
      className={styles.answer}
      aria-label={t('chat.answer')}
      data-testid={testIds.messageAssistant}
      data-status={status}
      data-refused={refused}
    >
      {refused ? (
        <h3 className={styles.refused}>{t('chat.refused')}</h3>
      ) : (
        message.content && (
          <AnswerText text={message.content} citations={answer?.citations ?? []} />
        )
      )}
      {refused && answer && (
        <NearestList
          hint={answer.nearest.length > 0 ? t('chat.refusedHint') : t('chat.refusedEmpty')}
          passages={answer.nearest}
        />
      )}
      {status === 'streaming' && <p className={styles.marker}>{t('chat.elsewhere')}</p>}
      {status === 'interrupted' && (
        <p className={styles.marker}>
          {answer?.error
            ? t('chat.brokeOff', { reason: answer.error })
            : t(message.content ? 'chat.interrupted' : 'chat.interruptedEarly')}
        </p>
      )}
      {status === 'failed' && (
        <FailureNotice
          error={error}
          message={answer?.error ?? undefined}
          onRetry={onAskAgain}
          onOpenModels={onOpenModels}
        />
      )}
      {answer && !refused && used.length > 0 && <SourceList answer={message.content} used={used} others={others} />}
      {(status === 'complete' || status === 'interrupted') && (
        <footer className={styles.footer}>
          {answer && !refused && status === 'complete' && (
            <Confidence value={answer.confidence} />
          )}
          {answer && !refused && <Timing answer={answer} />}
          <span className={styles.actions}>
            {message.content && !refused && (
              <CopyAnswer text={message.content} citations={used} />
            )}
            {onAskAgain && (
              <IconButton
                size="s"
                label={t('chat.askAgain')}
                icon={<RotateCcw size={15} />}
                onClick={onAskAgain}
              />
            )}
          </span>
        </footer>
      )}
    </article>
  )
})

interface AnswerTextProps {
  text: string
  citations: readonly Citation[]
}

const always = () => true
const pending = (n: number) => <PendingCitation n={n} />

/**
 * An answer that is still being written. The numbers are those of the prompt, which come with the
 * finished answer: until then they are shown, and lead nowhere rather than to a wrong passage.
 */
export function GrowingText({ text }: { text: string }) {
  return <Markdown text={text} citationExists={always} renderCitation={pending} />
}

/** The text with its citations as buttons. */
export function AnswerText({ text, citations }: AnswerTextProps) {
  const { open } = usePassagePanel()
  const byNumber = useMemo(() => new Map(citations.map((each) => [each.n, each])), [citations])
  const exists = useCallback((n: number) => byNumber.has(n), [byNumber])
  const render = useCallback(
    (n: number) => {
      const citation = byNumber.get(n)
      if (!citation) return `[${n}]`
      const together = citations.filter((each) => each.used || each.n === n)
      return (
        <CitationButton
          citation={citation}
          onOpen={() =>
            open(
              together.map((each) => targetOf(each, true, quoteFrom(text, each.text))),
              together.indexOf(citation),
            )
          }
        />
      )
    },
    [byNumber, citations, open, text],
  )
  return <Markdown text={text} citationExists={exists} renderCitation={render} />
}

interface FailureNoticeProps {
  error: ApiError | null
  message?: string | undefined
  onRetry?: (() => void) | undefined
  onOpenModels: () => void
}

export function FailureNotice({ error, message, onRetry, onOpenModels }: FailureNoticeProps) {
  const { t } = useI18n()
  return (
    <ErrorNotice
      title={error ? t(`error.${error.code}`) : t('chat.failed')}
      message={error?.message ?? message}
      hint={error?.hint}
      onRetry={onRetry}
      actions={
        error?.code === 'MODEL_MISSING' && (
          <Button size="s" onClick={onOpenModels}>
            {t('error.openModels')}
          </Button>
        )
      }
    />
  )
}

function Timing({ answer }: { answer: Answer }) {
  const { t, locale } = useI18n()
  const { timings } = answer
  const seconds = (ms: number) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: 1, minimumFractionDigits: 1 }).format(
      ms / 1000,
    )
  if (!timings.total_ms) return null
  return (
    <span
      className={styles.timing}
      title={t('chat.timingDetail', {
        retrieval: Math.round(timings.retrieval_ms),
        first: seconds(timings.first_token_ms ?? timings.total_ms),
        total: seconds(timings.total_ms),
        rate: Math.round(timings.tokens_per_second ?? 0),
      })}
    >
      {t('chat.timing', { seconds: seconds(timings.total_ms) })}
    </span>
  )
}

const COPIED_MS = 1_600

function CopyAnswer({ text, citations }: { text: string; citations: readonly Citation[] }) {
  const i18n = useI18n()
  const { t } = i18n
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    const sources = citations.map((citation) =>
      [`[${citation.n}] ${citation.title}`, placeLabel(i18n, citation), citation.path]
        .filter(Boolean)
        .join(', '),
    )
    await navigator.clipboard.writeText([text, sources.join('\n')].filter(Boolean).join('\n\n'))
    setCopied(true)
    setTimeout(() => setCopied(false), COPIED_MS)
  }
  return (
    <IconButton
      size="s"
      label={copied ? t('common.copied') : t('chat.copyAnswer')}
      icon={copied ? <Check size={15} /> : <Copy size={15} />}
      onClick={() => void copy()}
    />
  )
}
