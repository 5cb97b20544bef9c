import { useQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'

import { asApiError } from '../api/errors'
import { queries, useApi } from '../api/queries'
import { ErrorNotice } from '../components/ErrorNotice'
import { useI18n } from '../lib/i18n'
import { FirstRun } from './FirstRun'
import { Mark } from './Mark'
import styles from './Gate.module.css'

/** Lets the pages in when there is something to show: a core that answers, and a workspace. */
export function Gate({ children }: { children: ReactNode }) {
  const { t } = useI18n()
  const api = useApi()
  const status = useQuery(queries.status(api))
  const workspaces = useQuery(queries.workspaces(api))
  const [entered, setEntered] = useState(false)

  const failure = [status, workspaces].find((query) => query.isError && !query.data)
  if (failure) {
    const { code, message, hint } = asApiError(failure.error)
    return (
      <div className={styles.center}>
        <Mark size={36} />
        <div className={styles.notice}>
          <ErrorNotice
            title={t(`error.${code}`)}
            message={message}
            hint={code === 'UNAUTHORIZED' ? t('error.unauthorizedHint') : hint}
            onRetry={() => {
              void status.refetch()
              void workspaces.refetch()
            }}
          />
        </div>
      </div>
    )
  }
  if (!status.data || !workspaces.data) {
    return (
      <div className={styles.center} role="status" aria-label={t('common.loading')}>
        <Mark size={36} className={styles.breathing} />
      </div>
    )
  }
  const missing =
    status.data.generator.state === 'missing' || status.data.embedder.state === 'missing'
  const empty = workspaces.data.length === 0
  if (empty || (missing && !entered)) {
    return (
      <FirstRun status={status.data} needsWorkspace={empty} onEnter={() => setEntered(true)} />
    )
  }
  return children
}
