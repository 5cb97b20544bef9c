/** What Docent is doing with the files: how far it is, what waits, what failed, and the brakes. */
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Download, Pause, Play, RotateCcw, X } from 'lucide-react'
import { useCallback, useDeferredValue, useMemo, useRef, useState } from 'react'

import { asApiError } from '../../api/errors'
import { keys, queries, useApi, useInvalidate } from '../../api/queries'
import type { JobCounts, JobList as Jobs, JobState, Workspace } from '../../api/types'
import { Button } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { EmptyState } from '../../components/EmptyState'
import { ErrorNotice } from '../../components/ErrorNotice'
import { FilterChip } from '../../components/FilterChip'
import { Menu, MenuItem } from '../../components/Menu'
import { Progress } from '../../components/Progress'
import { spoken } from '../../lib/durations'
import { useI18n, type I18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import { testIds } from '../../lib/testids'
import { usePlatform } from '../../platform'
import { JobList } from './JobList'
import { useFreshList } from './refresh'
import styles from './JobsPage.module.css'

/** What can be listed; what runs stands above the list. */
export const LISTED = ['queued', 'dead', 'cancelled', 'done'] as const
export type Listed = (typeof LISTED)[number]

interface JobsPageProps {
  workspace: Workspace
  shown: Listed
  onShow: (state: Listed) => void
}

export function JobsPage({ workspace, shown, onShow }: JobsPageProps) {
  const i18n = useI18n()
  const { t } = i18n
  const api = useApi()
  const platform = usePlatform()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const [asking, setAsking] = useState(false)
  const overview = useQuery(queries.jobs(api, workspace.id))
  const list = useInfiniteQuery(queries.jobList(api, workspace.id, shown))
  const counts = overview.data?.counts
  const firstSeen = useRef(0)
  useFreshList(workspace.id, shown, overview.dataUpdatedAt, firstSeen)
  const waitsFor = useWaiting(workspace.id, overview.data)
  const listed = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  const shownJobs = useDeferredValue(listed)

  const act = useCallback(
    async (action: () => Promise<unknown>) => {
      try {
        await action()
      } catch (error) {
        notices.warn(asApiError(error).message)
      }
      invalidate(
        keys.jobs(workspace.id),
        keys.jobList(workspace.id),
        keys.documents(workspace.id),
        keys.workspaces(),
      )
    },
    [notices, invalidate, workspace.id],
  )
  const cancel = useCallback(
    (job: string) => void act(() => api.jobs.cancel(workspace.id, job)),
    [act, api, workspace.id],
  )
  const retry = useCallback(
    (job: string) => void act(() => api.jobs.retry(workspace.id, job)),
    [act, api, workspace.id],
  )
  const save = (format: 'csv' | 'json') =>
    void act(async () => {
      const text = await api.jobs.export(workspace.id, format)
      const saved = await platform.saveText(`docent-${workspace.name}.${format}`, text)
      if (saved) notices.say(t('jobs.exported'))
    })

  const failed = overview.error ?? list.error
  const paused = overview.data?.progress.paused ?? false
  const over = shown === 'cancelled' ? 'cancelled' : 'dead'
  const busy = counts ? counts.queued + counts.running > 0 : false
  return (
    <div className={styles.page} data-testid={testIds.jobsPage}>
      <header className={styles.header}>
        <div className={styles.titles}>
          <h1 className={styles.title}>{t('jobs.title')}</h1>
          <p className={styles.state} role="status">
            {counts && (waitsFor ?? stateOf(paused, busy, i18n))}
          </p>
        </div>
        <div className={styles.actions}>
          {paused ? (
            <Button
              look="primary"
              icon={<Play size={15} aria-hidden />}
              onClick={() => void act(() => api.jobs.resume(workspace.id))}
            >
              {t('jobs.resume')}
            </Button>
          ) : (
            <Button
              icon={<Pause size={15} aria-hidden />}
              onClick={() => void act(() => api.jobs.pause(workspace.id))}
            >
              {t('jobs.pause')}
            </Button>
          )}
          <Button
            icon={<X size={15} aria-hidden />}
            disabled={!busy}
            onClick={() => setAsking(true)}
          >
            {t('jobs.cancelAll')}
          </Button>
          <Button
            icon={<RotateCcw size={15} aria-hidden />}
            disabled={!counts?.[over]}
            onClick={() =>
              void act(async () => {
                const { jobs } = await api.jobs.retryAll(workspace.id, over)
                notices.say(t('jobs.retried', { count: jobs }))
                onShow('queued')
              })
            }
          >
            {t(over === 'dead' ? 'jobs.retryFailed' : 'jobs.retryCancelled')}
          </Button>
          <Menu
            trigger={
              <Button icon={<Download size={15} aria-hidden />}>{t('jobs.export')}</Button>
            }
          >
            <MenuItem onSelect={() => save('csv')}>{t('jobs.exportCsv')}</MenuItem>
            <MenuItem onSelect={() => save('json')}>{t('jobs.exportJson')}</MenuItem>
          </Menu>
        </div>
      </header>

      {failed && !overview.data && (
        <div className={styles.notice}>
          <ErrorNotice
            title={t(`error.${asApiError(failed).code}`)}
            message={asApiError(failed).message}
            hint={asApiError(failed).hint}
            onRetry={() => {
              void overview.refetch()
              void list.refetch()
            }}
          />
        </div>
      )}
      {overview.data && <Overall overview={overview.data} />}
      {overview.data && overview.data.items.length > 0 && (
        <JobList
          key="running"
          label={t('jobs.runningList')}
          jobs={overview.data.items}
          total={overview.data.items.length}
          fixed
          onCancel={cancel}
          onRetry={retry}
        />
      )}
      {counts && (
        <div className={styles.filters} role="group" aria-label={t('jobs.filter')}>
          {LISTED.map((state) => (
            <FilterChip
              key={state}
              active={state === shown}
              label={t(`jobs.state.${state}`)}
              count={counts[state]}
              tone={state === 'dead' && counts.dead > 0 ? 'danger' : undefined}
              onClick={() => onShow(state)}
            />
          ))}
        </div>
      )}
      <div className={styles.body}>
        {list.isSuccess && listed.length === 0 && (
          <EmptyState title={t(`jobs.none.${shown}`)}>{t(`jobs.noneHint.${shown}`)}</EmptyState>
        )}
        {listed.length > 0 && (
          <JobList
            // Another list begins at its top.
            key={shown}
            label={t(`jobs.state.${shown}`)}
            jobs={shownJobs}
            total={Math.max(counts?.[shown] ?? 0, listed.length)}
            firstSeen={firstSeen}
            onCancel={cancel}
            onRetry={retry}
            onReachEnd={() => {
              if (list.hasNextPage && !list.isFetchingNextPage) void list.fetchNextPage()
            }}
          />
        )}
      </div>
      <ConfirmDialog
        open={asking}
        onOpenChange={setAsking}
        title={t('jobs.cancelAllTitle', { count: waiting(counts) })}
        body={t('jobs.cancelAllBody')}
        action={t('jobs.cancelAll')}
        onConfirm={() =>
          void act(async () => {
            const { jobs } = await api.jobs.cancelAll(workspace.id)
            notices.say(t('jobs.cancelled', { count: jobs }))
          })
        }
      />
    </div>
  )
}

function Overall({ overview }: { overview: Jobs }) {
  const i18n = useI18n()
  const { t } = i18n
  const { files_read, files_total, chunks_done, chunks_total, eta_seconds, paused } =
    overview.progress
  if (files_total === 0) return null
  const left = paused
    ? t('jobs.leftPaused')
    : eta_seconds === null
      ? t('jobs.leftUnknown')
      : t('jobs.left', { time: spoken(eta_seconds, i18n) })
  return (
    <section className={styles.overall} aria-label={t('jobs.overall')}>
      <div className={styles.figures}>
        <span className={styles.files}>
          {t('jobs.files', { done: files_read, count: files_total })}
        </span>
        {chunks_total > 0 && (
          <span>{t('jobs.passages', { done: chunks_done, count: chunks_total })}</span>
        )}
        <span className={styles.left}>{left}</span>
      </div>
      <Progress label={t('jobs.filesRead')} done={files_read} total={files_total} />
      {chunks_total > 0 && (
        <Progress label={t('stage.embedding')} done={chunks_done} total={chunks_total} />
      )}
    </section>
  )
}

function stateOf(paused: boolean, busy: boolean, { t }: I18n): string {
  if (paused) return t('jobs.paused')
  return busy ? t('jobs.working') : t('jobs.idle')
}

/**
 * What all that is left waits for; `null` while something is done, or nothing is left. What cannot
 * be done yet keeps its turn with the reason, and is taken up again and again with it.
 */
function useWaiting(workspace: string, overview: Jobs | undefined): string | null {
  const { t } = useI18n()
  const api = useApi()
  const stuck =
    overview !== undefined &&
    overview.counts.queued > 0 &&
    !overview.progress.paused &&
    overview.items.every(({ reason }) => reason !== null)
  const next = useQuery({ ...queries.nextJob(api, workspace), enabled: stuck }).data
  const embedder = useQuery(queries.status(api)).data?.embedder.state
  if (!stuck || !next?.reason) return null
  if (next.kind !== 'scan' && embedder === 'missing') return t('jobs.waitsForModel')
  return t('jobs.waits', { reason: next.reason })
}

function waiting(counts: JobCounts | undefined): number {
  return counts ? counts.queued + counts.running : 0
}

/** A state in the address, which anybody may have typed. */
export function listedState(text: unknown): Listed {
  return LISTED.find((state) => state === (text as JobState)) ?? 'queued'
}
