import { useQuery } from '@tanstack/react-query'
import { ChevronRight, TriangleAlert } from 'lucide-react'
import { useRef, useState } from 'react'

import { asApiError } from '../../api/errors'
import { queries, useApi } from '../../api/queries'
import type { Problem, ProblemCount } from '../../api/types'
import { Button } from '../../components/Button'
import { ErrorNotice } from '../../components/ErrorNotice'
import { useI18n } from '../../lib/i18n'
import styles from './ProblemSection.module.css'

/** There is nothing that could be done about these. */
const HARMLESS: readonly Problem[] = ['empty', 'unsupported']

interface ProblemSectionProps {
  workspace: string
  shown: Problem | undefined
  onShow: (problem: Problem) => void
}

/** What cannot be found, or not all of it, and what to do about it. */
export function ProblemSection({ workspace, shown, onShow }: ProblemSectionProps) {
  const { t } = useI18n()
  const api = useApi()
  const problems = useQuery(queries.problems(api, workspace))
  const [open, setOpen] = useState(false)
  const summary = useRef<HTMLElement>(null)
  if (problems.isError && !problems.data) {
    return (
      <div className={styles.unknown}>
        <ErrorNotice
          title={t('problems.unknown')}
          message={asApiError(problems.error).message}
          hint={asApiError(problems.error).hint}
          onRetry={() => void problems.refetch()}
        />
      </div>
    )
  }
  if (!problems.data || problems.data.length === 0) return null

  const inView = problems.data.find(({ problem }) => problem === shown)
  const grave = problems.data.filter(({ problem }) => !HARMLESS.includes(problem))
  const harmless = problems.data.filter(({ problem }) => HARMLESS.includes(problem))
  const title =
    grave.length > 0
      ? t('problems.title', { count: sum(grave) })
      : t('problems.leftOut', { count: sum(harmless) })
  return (
    <details
      className={styles.section}
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary className={styles.summary} ref={summary}>
        <ChevronRight size={15} aria-hidden className={styles.chevron} />
        {grave.length > 0 && <TriangleAlert size={15} aria-hidden className={styles.alert} />}
        <span>{title}</span>
        {inView && !open && (
          <span className={styles.inView}>
            {t(`problem.${inView.problem}`, { count: inView.documents })}
          </span>
        )}
      </summary>
      <ul className={styles.list}>
        {[...grave, ...harmless].map(({ problem, documents }) => (
          <li key={problem} className={styles.problem}>
            <span className={styles.about}>
              <span className={styles.name}>{t(`problem.${problem}`, { count: documents })}</span>
              <span className={styles.advice}>{t(`advice.${problem}`, { count: documents })}</span>
            </span>
            <Button
              size="s"
              aria-pressed={shown === problem}
              onClick={() => {
                onShow(problem)
                // What was asked for stands below.
                setOpen(false)
                summary.current?.focus()
              }}
            >
              {t('problems.show')}
            </Button>
          </li>
        ))}
      </ul>
    </details>
  )
}

/** A line for who is about to ask: not everything can be found. */
export function ProblemNote({ workspace, onOpen }: { workspace: string; onOpen: () => void }) {
  const { t } = useI18n()
  const api = useApi()
  const problems = useQuery(queries.problems(api, workspace))
  const grave = (problems.data ?? []).filter(({ problem }) => !HARMLESS.includes(problem))
  if (grave.length === 0) return null
  return (
    <button type="button" className={styles.note} onClick={onOpen}>
      <TriangleAlert size={14} aria-hidden className={styles.alert} />
      {t('problems.title', { count: sum(grave) })}
    </button>
  )
}

function sum(counts: readonly ProblemCount[]): number {
  return counts.reduce((total, { documents }) => total + documents, 0)
}
