/** Jobs by their files. Enter opens a row's document, Delete cancels. */
import { RotateCcw, X } from 'lucide-react'
import { memo, useCallback, useEffect, type ReactNode, type RefObject } from 'react'

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
  /** Is kept at the row up to which the list is needed: in view, or with the focus. */
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
  const { grid, items, height, first, current, setCurrent } = useRows(jobs, onKey, onReachEnd)
  useEffect(() => {
    if (!firstSeen) return
    const focused = grid.ref.current?.contains(document.activeElement) ?? false
    firstSeen.current = focused ? Math.max(first, current) : first
  })
  return (
    <div
      {...grid}
      className={classes(styles.scroller, fixed && styles.fixed)}
      style={fixed ? { height: height + 1 } : undefined}
      role="grid"
      aria-label={label}
      aria-rowcount={total}
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
  onFocus: (id: string) => void
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
  const doing = useDoing(job)
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
      onFocus={() => onFocus(job.id)}
      onClick={() => onOpen(job)}
    >
      <span role="gridcell" className={styles.name}>
        <span className={styles.title} title={job.path}>
          {title}
        </span>
        <span className={classes(styles.second, job.state === 'dead' && styles.reason)} title={second}>
          {second}
        </span>
      </span>
      <span role="gridcell" className={styles.status} title={doing.texts.join(' · ')}>
        {doing.cell}
      </span>
      <span role="gridcell" onClick={(event) => event.stopPropagation()}>
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

/** What is done with a job, for its cell and in words. */
function useDoing(job: Job): { texts: string[]; cell: ReactNode } {
  const i18n = useI18n()
  const { t } = i18n
  const running = job.state === 'running'
  const { done, total } = job.progress
  const what = running
    ? t(`stage.${job.stage ?? FIRST_STAGE[job.kind]}`)
    : t(`jobs.kind.${job.kind}`)
  const far = [
    running && total !== null && t('status.progress', { done, total }),
    running && job.eta_seconds !== null && spoken(job.eta_seconds, i18n),
  ].filter((text) => text !== false)
  const attempt =
    job.attempts > 1 &&
    t('jobs.attempts', { attempt: job.attempts, attempts: job.max_attempts })
  return {
    texts: [what, ...far, ...(attempt ? [attempt] : [])],
    cell: (
      <>
        <span className={styles.what}>{what}</span>
        {far.length > 0 && <span className={styles.far}>{far.join(' · ')}</span>}
        {attempt && <span className={styles.attempt}>{attempt}</span>}
        {running && <Progress label={what} done={done} total={total ?? 0} />}
      </>
    ),
  }
}

function isActive({ state }: Job): boolean {
  return state === 'queued' || state === 'running'
}
