import { useQuery } from '@tanstack/react-query'
import { ArrowDown } from 'lucide-react'
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from 'react'

import { asApiError } from '../../api/errors'
import { queries, useApi } from '../../api/queries'
import type { Message, Workspace } from '../../api/types'
import { ErrorNotice } from '../../components/ErrorNotice'
import { documentsIn } from '../../lib/counts'
import { useI18n } from '../../lib/i18n'
import { Composer } from './Composer'
import { useLiveAnswer, useLiveAnswers } from './live'
import { LiveTurn } from './LiveTurn'
import { AnswerView, QuestionView } from './MessageView'
import styles from './ChatPage.module.css'

interface ChatPageProps {
  workspace: Workspace
  /** `null` begins a new chat with the first question. */
  chat: string | null
  onStarted: (chat: string) => void
  onOpenModels: () => void
  /** Shown instead of the invitation to ask while there is nothing to ask. */
  emptyWorkspace: ReactNode
  /** Below the field for the first question: what one should know before asking. */
  beforeAsking?: ReactNode
}

/** Nearer to the end than this, the page follows what is written. */
const FOLLOW_WITHIN_PX = 90

export function ChatPage({
  workspace,
  chat,
  onStarted,
  onOpenModels,
  emptyWorkspace,
  beforeAsking,
}: ChatPageProps) {
  const { t } = useI18n()
  const api = useApi()
  const live = useLiveAnswers()
  const answer = useLiveAnswer(workspace.id, chat)
  const stored = useQuery({
    ...queries.messages(api, workspace.id, chat ?? ''),
    enabled: chat !== null,
    // Only for an answer that another page began; those of this one arrive by themselves.
    refetchInterval: (query) =>
      !answer && query.state.data?.some((message) => message.status === 'streaming') ? 1_500 : false,
  })

  const messages = (stored.data ?? []).filter(
    ({ id }) => !answer || (id !== answer.userMessage && id !== answer.message),
  )
  const askQuestion = useCallback(
    (question: string) => void live.ask(workspace.id, chat, question, onStarted),
    [live, workspace.id, chat, onStarted],
  )
  const busy = answer !== null && answer.phase !== 'failed'
  const documents = workspace.counts
  const total = documentsIn(documents)
  const unread = documents.queued + documents.reading
  const fresh = messages.length === 0 && !answer

  const { scroller, following, toEnd } = useFollowing([messages.length, answer?.text, answer?.phase])
  useEffect(() => toEnd('instant'), [chat, stored.isSuccess, toEnd])
  useEffect(() => {
    if (answer?.askedAt) toEnd('smooth')
  }, [answer?.askedAt, toEnd])

  const composer = (
    <Composer
      draftKey={`draft:${workspace.id}:${chat ?? 'new'}`}
      placeholder={chat ? t('chat.placeholderFollowUp') : t('chat.placeholder')}
      busy={busy}
      stopping={answer?.phase === 'stopping'}
      onAsk={askQuestion}
      onStop={() => live.stop(workspace.id, chat)}
      note={
        unread > 0 && fresh
          ? t('chat.stillReading', { done: total - unread, count: total })
          : undefined
      }
    />
  )

  if (fresh && chat === null) {
    return (
      <div className={styles.fresh}>
        {total === 0 ? (
          emptyWorkspace
        ) : (
          <div className={styles.welcome}>
            <h1 className={styles.heading}>{t('chat.heading')}</h1>
            <p className={styles.scope}>
              {t('chat.scope', { count: total - documents.failed - documents.skipped, workspace: workspace.name })}
            </p>
            {composer}
            {beforeAsking}
          </div>
        )}
      </div>
    )
  }

  return (
    <div className={styles.page}>
      <h1 className="visually-hidden">{t('chat.conversation')}</h1>
      <div className={styles.scroller} ref={scroller} tabIndex={-1}>
        <div className={styles.column} role="log" aria-label={t('chat.conversation')} aria-live="off">
          {stored.isError && !stored.data && (
            <ErrorNotice
              title={t(`error.${asApiError(stored.error).code}`)}
              message={asApiError(stored.error).message}
              onRetry={() => void stored.refetch()}
            />
          )}
          {stored.isSuccess && fresh && <p className={styles.empty}>{t('chat.empty')}</p>}
          {messages.map((message, index) =>
            message.role === 'user' ? (
              <QuestionView key={message.id} text={message.content} />
            ) : (
              <AnswerView
                key={message.id}
                message={message}
                error={live.errorOf(message.id)}
                onAskAgain={busy ? undefined : () => askQuestion(questionBefore(messages, index))}
                onOpenModels={onOpenModels}
              />
            ),
          )}
          {answer && (
            <LiveTurn
              answer={answer}
              onAskAgain={() => {
                live.dismiss(workspace.id, chat)
                askQuestion(answer.question)
              }}
              onOpenModels={onOpenModels}
            />
          )}
        </div>
      </div>
      <div className={styles.dock}>
        {!following && (
          <button type="button" className={styles.jump} onClick={() => toEnd('smooth')}>
            <ArrowDown size={15} aria-hidden />
            {t('chat.jumpDown')}
          </button>
        )}
        <div className={styles.dockColumn}>{composer}</div>
      </div>
    </div>
  )
}

function questionBefore(messages: readonly Message[], index: number): string {
  for (let at = index - 1; at >= 0; at -= 1) {
    const message = messages[at]
    if (message?.role === 'user') return message.content
  }
  return ''
}

/** Keeps the end in view while one is there, and lets go as soon as one scrolls up. */
function useFollowing(changes: readonly unknown[]) {
  const scroller = useRef<HTMLDivElement>(null)
  const pinned = useRef(true)
  const [following, setFollowing] = useState(true)

  const toEnd = useCallback((behavior: 'instant' | 'smooth') => {
    pinned.current = true
    const element = scroller.current
    element?.scrollTo({ top: element.scrollHeight, behavior })
  }, [])

  useEffect(() => {
    const element = scroller.current
    if (!element) return
    const onScroll = () => {
      const rest = element.scrollHeight - element.scrollTop - element.clientHeight
      pinned.current = rest < FOLLOW_WITHIN_PX
      setFollowing(pinned.current)
    }
    element.addEventListener('scroll', onScroll, { passive: true })
    return () => element.removeEventListener('scroll', onScroll)
  })

  useLayoutEffect(() => {
    const element = scroller.current
    if (element && pinned.current) element.scrollTop = element.scrollHeight
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, changes)

  return { scroller, following, toEnd }
}
