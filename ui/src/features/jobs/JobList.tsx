/** Jobs by their files. Enter opens a row's document, Delete cancels. */
import { RotateCcw, X } from 'lucide-react'
import { memo, useCallback, useEffect, type RefObject } from 'react'

import type { Job } from '../../api/types'
import { IconButton } from '../../components/Button'
import { Progress } from '../../components/Progress'
import { classes } from '../../lib/classes'
import { spoken } from '../../lib/durations'
import { useI18n } from '../../lib/i18n'
import { usePassagePanel } from '../../lib/passage'
import { fileName, folderOf } from '../../lib/paths'
import { ROW_PX, useRows } from '../../lib/rows'
import { testIds } from '../../lib/testids'
import styles from './JobList.module.css'

interface JobListProps {
  label: string
  jobs: readonly Job[]
  total: number
  /** As high as its few rows, instead of filling the page. */
  fixed?: boolean
  onCancel: (job: string) => void
  onRetry: (job: string) => void
  onReachEnd?: () => void
  /** Is kept at the first row in view. */
  firstSeen?: RefObject<number>
}

const FIRST_STAGE = { read: 'extracting', embed: 'embedding', scan: 'scanning' } as const

export function JobList({
  label,
  jobs,
  total,
  fixed = false,
  onCancel,
  onRetry,
  onReachEnd,
  firstSeen,
}: JobListProps) {
  const { open } = usePassagePanel()
  const openDocument = useCallback(
    ({ document_id, title, path }: Job) => {
      if (document_id) open([{ documentId: document_id, title: title ?? fileName(path), path }])
    },
    [open],
  )
  const onKey = (key: string, job: Job) => {
    if (key === 'Enter') openDocument(job)
    else if (key === 'Delete' && isActive(job)) onCancel(job.id)
    else return false
    return true
  }
  const { scroller, items, height, onKeyDown, current, setCurrent } = useRows(
    jobs,
    onKey,
    onReachEnd,
  )
  const first = items[0]?.index ?? 0
  useEffect(() => {
    if (firstSeen) firstSeen.current = first
  }, [first, firstSeen])
  return (
    <div
      ref={scroller}
      className={classes(styles.scroller, fixed && styles.fixed)}
      style={fixed ? { height: height + 1 } : undefined}
      role="table"
      aria-label={label}
      aria-rowcount={total}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup" style={{ height, position: 'relative' }}>
        {items.map((item) => {
          const job = jobs[item.index]
          return (
            job && (
              <Row
                key={item.key}
                job={job}
                index={item.index}
                top={item.start}
                current={item.index === current}
                onFocus={setCurrent}
                onOpen={openDocument}
                onCancel={onCancel}
                onRetry={onRetry}
              />
            )
          )
        })}
      </div>
    </div>
  )
}

interface RowProps {
  job: Job
  index: number
  top: number
  current: boolean
  onFocus: (index: number) => void
  onOpen: (job: Job) => void
  onCancel: (job: string) => void
  onRetry: (job: string) => void
}

const Row = memo(function Row({
  job,
  index,
  top,
  current,
  onFocus,
  onOpen,
  onCancel,
  onRetry,
}: RowProps) {
  const { t } = useI18n()
  const name = fileName(job.path)
  const title = job.title ?? name
  const second = job.reason ?? [title !== name && name, folderOf(job.path)].filter(Boolean).join(' · ')
  const active = isActive(job)
  const stopped = job.state === 'dead' || job.state === 'cancelled'
  const tabIndex = current ? 0 : -1
  return (
    <div
      role="row"
      aria-rowindex={index + 1}
      className={classes(styles.row, job.document_id !== null && styles.opens)}
      style={{ height: ROW_PX, transform: `translateY(${top}px)` }}
      tabIndex={tabIndex}
      data-index={index}
      data-testid={testIds.jobRow}
      data-state={job.state}
      onFocus={() => onFocus(index)}
      onClick={() => onOpen(job)}
    >
      <span role="cell" className={styles.name}>
        <span className={styles.title} title={job.path}>
          {title}
        </span>
        <span className={classes(styles.second, job.state === 'dead' && styles.reason)} title={second}>
          {second}
        </span>
      </span>
      <span role="cell" className={styles.status}>
        <Doing job={job} />
      </span>
      <span role="cell" onClick={(event) => event.stopPropagation()}>
        {active && (
          <IconButton
            size="s"
            label={t('jobs.cancelOne', { title })}
            icon={<X size={16} />}
            tabIndex={tabIndex}
            onClick={() => onCancel(job.id)}
          />
        )}
        {stopped && (
          <IconButton
            size="s"
            label={t('jobs.retryOne', { title })}
            icon={<RotateCcw size={15} />}
            tabIndex={tabIndex}
            onClick={() => onRetry(job.id)}
          />
        )}
      </span>
    </div>
  )
})

function Doing({ job }: { job: Job }) {
  const i18n = useI18n()
  const { t } = i18n
  const attempts =
    job.attempts > 1 &&
    t('jobs.attempts', { attempt: job.attempts, attempts: job.max_attempts })
  if (job.state !== 'running') {
    return (
      <>
        <span>{t(`jobs.kind.${job.kind}`)}</span>
        {attempts && <span className={styles.detail}>{attempts}</span>}
      </>
    )
  }
  const stage = t(`stage.${job.stage ?? FIRST_STAGE[job.kind]}`)
  const { done, total } = job.progress
  const details = [
    total !== null && t('status.progress', { done, total }),
    job.eta_seconds !== null && spoken(job.eta_seconds, i18n),
    attempts,
  ].filter(Boolean)
  return (
    <>
      <span>{stage}</span>
      <span className={styles.detail}>{details.join(' · ')}</span>
      <Progress label={stage} done={done} total={total ?? 0} />
    </>
  )
}

function isActive({ state }: Job): boolean {
  return state === 'queued' || state === 'running'
}
