import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef, useState } from 'react'

import { queries, useApi } from '../../api/queries'
import { withoutOpenCitation } from '../../lib/citations'
import { useI18n } from '../../lib/i18n'
import { spoken, wholeSentences } from '../../lib/sentences'
import { fileName } from '../../lib/paths'
import { splitTitle } from '../../lib/titles'
import { testIds } from '../../lib/testids'
import type { LiveAnswer } from './live'
import { FailureNotice, GrowingText, QuestionView } from './MessageView'
import styles from './LiveTurn.module.css'

interface LiveTurnProps {
  answer: LiveAnswer
  onAskAgain: () => void
  onOpenModels: () => void
}

/** A question and what there is of its answer. */
export function LiveTurn({ answer, onAskAgain, onOpenModels }: LiveTurnProps) {
  const { text, phase } = answer
  const status = phase === 'failed' ? 'failed' : text ? 'streaming' : 'pending'
  return (
    <>
      <QuestionView text={answer.question} />
      <article
        className={styles.answer}
        aria-busy={phase !== 'failed'}
        data-testid={testIds.messageAssistant}
        data-status={status}
        data-refused={false}
      >
        {text && <GrowingText text={withoutOpenCitation(text)} />}
        {phase === 'failed' ? (
          <FailureNotice error={answer.error} onRetry={onAskAgain} onOpenModels={onOpenModels} />
        ) : (
          <PhaseLine answer={answer} />
        )}
        <Announcer text={text} />
      </article>
    </>
  )
}

function PhaseLine({ answer }: { answer: LiveAnswer }) {
  const { t } = useI18n()
  const { phase, passages } = answer
  const titles = [
    ...new Set(passages.map(({ title, path }) => splitTitle(title).document || fileName(path))),
  ]
  const status = useQuery({
    ...queries.status(useApi()),
    // Loading a model says nothing by itself, and is what a first answer waits for.
    refetchInterval: phase === 'reading' ? 2_000 : false,
  })
  const loading = phase === 'reading' && status.data?.generator.state === 'loading'
  const label = {
    searching: t('chat.searching'),
    widening: t('chat.widening'),
    reading: t('chat.reading', { count: passages.length }),
    writing: t('chat.writing'),
    stopping: t('chat.stopping'),
    failed: '',
  }[phase]
  return (
    <div className={styles.phase} role="status">
      <span className={styles.pulse} aria-hidden />
      <span>{loading ? t('footer.modelLoading') : label}</span>
      {phase === 'reading' && titles.length > 0 && (
        <span className={styles.titles}>{titles.join(' · ')}</span>
      )}
    </div>
  )
}

/** Reads the answer out sentence by sentence to those who listen to it. */
function Announcer({ text }: { text: string }) {
  const said = useRef('')
  const [sentences, setSentences] = useState<readonly string[]>([])
  useEffect(() => {
    const whole = spoken(wholeSentences(text))
    if (whole.length <= said.current.length) return
    // Text that was replaced is not read out a second time from its beginning.
    const fresh = whole.startsWith(said.current) ? whole.slice(said.current.length) : ''
    said.current = whole
    if (fresh.trim()) setSentences((before) => [...before, fresh.trim()])
  }, [text])
  return (
    <div className="visually-hidden" aria-live="polite" aria-relevant="additions">
      {sentences.map((sentence, index) => (
        <p key={index}>{sentence}</p>
      ))}
    </div>
  )
}
