import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'

import { queries, useApi } from '../api/queries'
import type { Status, Workspace } from '../api/types'
import { Progress } from '../components/Progress'
import { documentsIn } from '../lib/counts'
import { useI18n } from '../lib/i18n'
import { useConnected } from './connection'
import styles from './StatusFooter.module.css'

/** What Docent is doing: how far the reading is, and whether the model is awake. */
export function StatusFooter({
  workspace,
  onOpenModels,
}: {
  workspace: Workspace
  onOpenModels: () => void
}) {
  const { t, percent } = useI18n()
  const api = useApi()
  const connected = useConnected()
  const status = useQuery(queries.status(api))
  const paused = useQuery(queries.jobs(api, workspace.id)).data?.progress.paused ?? false

  const { queued, reading, words, ready, failed, chunks, embedded_chunks } = workspace.counts
  const total = documentsIn(workspace.counts)
  const unread = queued + reading
  const done = total - unread
  const meaning = chunks > 0 ? embedded_chunks / chunks : 1
  const state = modelState(status.data)
  return (
    <div className={styles.status}>
      <Link
        to="/w/$workspace/jobs"
        params={{ workspace: workspace.id }}
        search={unread === 0 && words === 0 && failed > 0 ? { show: 'dead' } : {}}
        className={styles.work}
        title={t('jobs.open')}
      >
        {paused && unread + words > 0 ? (
          <span>{t('footer.paused', { count: unread + words })}</span>
        ) : unread > 0 ? (
          <div className={styles.busy}>
            <span>{t('footer.reading', { done, total })}</span>
            <Progress label={t('status.reading')} done={done} total={total} />
          </div>
        ) : words > 0 ? (
          <div className={styles.busy}>
            <span>{t('footer.meaning', { percent: percent(meaning) })}</span>
            <Progress label={t('stage.embedding')} done={embedded_chunks} total={chunks} />
          </div>
        ) : (
          <span>
            {total === 0 ? t('footer.empty') : t('footer.ready', { count: ready })}
            {failed > 0 && (
              <span className={styles.failed}> · {t('footer.failed', { count: failed })}</span>
            )}
          </span>
        )}
      </Link>
      <button type="button" className={styles.model} onClick={onOpenModels}>
        <span className={styles.dot} data-state={connected ? state : 'failed'} aria-hidden />
        {!connected
          ? t('footer.offline')
          : {
              missing: t('footer.modelMissing'),
              loading: t('footer.modelLoading'),
              ready: t('footer.modelReady'),
              idle: t('footer.modelIdle'),
              failed: t('footer.modelFailed'),
            }[state]}
      </button>
    </div>
  )
}

/** Of the two models, the state that stands more in the way of an answer. */
function modelState(status: Status | undefined) {
  const states = status ? [status.generator.state, status.embedder.state] : []
  for (const state of ['missing', 'failed', 'loading'] as const) {
    if (states.includes(state)) return state
  }
  return status?.generator.state ?? 'idle'
}
