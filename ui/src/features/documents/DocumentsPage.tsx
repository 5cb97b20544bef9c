import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Search, X } from 'lucide-react'
import { useDeferredValue, useEffect, useMemo, useState } from 'react'

import type { DocumentSort } from '../../api/client'
import { asApiError } from '../../api/errors'
import { queries, useApi } from '../../api/queries'
import type { DocumentStatus, Job, Problem, Workspace } from '../../api/types'
import { Button, IconButton } from '../../components/Button'
import { EmptyState } from '../../components/EmptyState'
import { ErrorNotice } from '../../components/ErrorNotice'
import { FilterChip } from '../../components/FilterChip'
import { Progress } from '../../components/Progress'
import { documentsIn } from '../../lib/counts'
import { spoken } from '../../lib/durations'
import { useI18n } from '../../lib/i18n'
import { useRemembered } from '../../lib/localState'
import { AddButtons } from './AddButtons'
import { DocumentList } from './DocumentList'
import { FolderSection } from './FolderSection'
import { ProblemSection } from './ProblemSection'
import styles from './DocumentsPage.module.css'

const STATUSES = ['ready', 'words', 'reading', 'queued', 'failed', 'skipped'] as const
const SORTS: readonly DocumentSort[] = ['name', 'updated', 'status']

/** Pause after a key stroke before the list is asked for again. */
const TYPING_MS = 180

interface DocumentsPageProps {
  workspace: Workspace
  onOpenJobs: () => void
}

export function DocumentsPage({ workspace, onOpenJobs }: DocumentsPageProps) {
  const i18n = useI18n()
  const { t } = i18n
  const api = useApi()
  const [status, setStatus] = useState<DocumentStatus | undefined>()
  const [problem, setProblem] = useState<Problem | undefined>()
  const [query, setQuery] = useState('')
  const settled = useSettled(query.trim(), TYPING_MS)
  const [sort = 'name', setSort] = useRemembered('documents.sort')

  const list = useInfiniteQuery(
    queries.documents(api, workspace.id, {
      status,
      problem,
      query: settled || undefined,
      sort: SORTS.find((each) => each === sort) ?? 'name',
    }),
  )
  const jobs = useQuery(queries.jobs(api, workspace.id))
  const progress = jobs.data?.progress
  const running = useMemo(() => jobsByDocument(jobs.data?.items ?? []), [jobs.data])
  const documents = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  const shownDocuments = useDeferredValue(documents)

  const counts = list.data?.pages.at(-1)?.counts ?? workspace.counts
  const total = documentsIn(counts)
  // A filter that has become empty under one's eyes stays, so that the list does not jump.
  const show = (status?: DocumentStatus, problem?: Problem) => {
    setStatus(status)
    setProblem(problem)
  }
  const statuses = STATUSES.filter((each) => counts[each] > 0 || each === status)

  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <div className={styles.titles}>
          <h1 className={styles.title}>{t('documents.title')}</h1>
          {total > 0 && (
            <p className={styles.summary}>
              {t('documents.count', { count: total })} ·{' '}
              {t('documents.summary', {
                ready: counts.ready + counts.words,
                count: counts.chunks,
              })}
            </p>
          )}
        </div>
        <div className={styles.actions}>
          <AddButtons workspace={workspace.id} />
        </div>
      </header>

      {progress && progress.files_total > 0 && (
        <button type="button" className={styles.progress} onClick={onOpenJobs}>
          <span className={styles.figures}>
            <span>
              {t('jobs.files', { done: progress.files_read, count: progress.files_total })}
            </span>
            {progress.chunks_total > 0 && (
              <span>
                {t('jobs.passages', {
                  done: progress.chunks_done,
                  count: progress.chunks_total,
                })}
              </span>
            )}
            <span>
              {progress.paused
                ? t('jobs.leftPaused')
                : progress.eta_seconds !== null &&
                  t('jobs.left', { time: spoken(progress.eta_seconds, i18n) })}
            </span>
            <span className={styles.more}>{t('jobs.open')}</span>
          </span>
          <Progress
            label={t('jobs.filesRead')}
            done={progress.files_read}
            total={progress.files_total}
          />
        </button>
      )}

      <FolderSection workspace={workspace.id} jobs={jobs.data?.items ?? []} />

      <ProblemSection
        workspace={workspace.id}
        shown={problem}
        onShow={(each) => show(undefined, each === problem ? undefined : each)}
      />

      {(total > 0 || query !== '') && (
        <div className={styles.toolbar}>
          <div className={styles.filters} role="group" aria-label={t('documents.filter')}>
            <FilterChip
              active={!status && !problem}
              label={t('documents.all')}
              count={total}
              onClick={() => show()}
            />
            {statuses.map((each) => (
              <FilterChip
                key={each}
                active={status === each}
                label={t(`status.${each}`)}
                count={counts[each]}
                tone={each === 'failed' ? 'danger' : undefined}
                onClick={() => show(status === each ? undefined : each)}
              />
            ))}
          </div>
          <div className={styles.find}>
            <label className={styles.search}>
              <Search size={15} aria-hidden />
              <input
                type="search"
                value={query}
                onChange={(event) => setQuery(event.target.value)}
                onKeyDown={(event) => {
                  if (event.key !== 'Escape' || query === '') return
                  // The document beside the list stays open.
                  event.preventDefault()
                  setQuery('')
                }}
                placeholder={t('documents.search')}
                aria-label={t('documents.search')}
              />
              {query && (
                <IconButton
                  size="s"
                  label={t('documents.clearFilter')}
                  icon={<X size={14} />}
                  onClick={() => setQuery('')}
                />
              )}
            </label>
            <select
              className={styles.sort}
              value={sort}
              onChange={(event) => setSort(event.target.value)}
              aria-label={t('documents.sort')}
            >
              <option value="name">{t('documents.sortName')}</option>
              <option value="updated">{t('documents.sortUpdated')}</option>
              <option value="status">{t('documents.sortStatus')}</option>
            </select>
          </div>
        </div>
      )}

      <div className={styles.body}>
        {list.isError && documents.length === 0 && (
          <ErrorNotice
            title={t(`error.${asApiError(list.error).code}`)}
            message={asApiError(list.error).message}
            onRetry={() => void list.refetch()}
          />
        )}
        {list.isSuccess && total === 0 && (
          <EmptyState title={t('documents.none')}>{t('documents.noneHint')}</EmptyState>
        )}
        {list.isSuccess && total > 0 && documents.length === 0 && (
          <EmptyState
            title={t('documents.noMatch')}
            actions={
              <Button
                onClick={() => {
                  setQuery('')
                  show()
                }}
              >
                {t('documents.clearFilter')}
              </Button>
            }
          />
        )}
        {documents.length > 0 && (
          <DocumentList
            // Another list begins at its top.
            key={`${status} ${problem} ${sort}`}
            workspace={workspace.id}
            documents={shownDocuments}
            jobs={running}
            total={status ? counts[status] : settled || problem ? documents.length : total}
            filter={settled}
            onReachEnd={() => {
              if (list.hasNextPage && !list.isFetchingNextPage) void list.fetchNextPage()
            }}
          />
        )}
      </div>
    </div>
  )
}

function jobsByDocument(jobs: readonly Job[]): ReadonlyMap<string, Job> {
  const found = new Map<string, Job>()
  for (const job of jobs) {
    if (job.document_id && job.state === 'running') found.set(job.document_id, job)
  }
  return found
}

function useSettled<Value>(value: Value, ms: number): Value {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
