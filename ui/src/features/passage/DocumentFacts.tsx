import { asApiError } from '../../api/errors'
import { keys, useApi, useInvalidate } from '../../api/queries'
import type { Document } from '../../api/types'
import { Button } from '../../components/Button'
import { Notice } from '../../components/Notice'
import { adviceOn } from '../../lib/advice'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import styles from './DocumentFacts.module.css'

/** What is known of a document that has no text to show. */
export function DocumentFacts({
  workspace,
  document,
}: {
  workspace: string
  document: Document
}) {
  const { t, bytes } = useI18n()
  return (
    <div className={styles.facts}>
      <UnreadNotice workspace={workspace} document={document} />
      <dl className={styles.list}>
        <dt>{t('documents.path')}</dt>
        <dd>{document.path}</dd>
        <dt>{t('documents.size')}</dt>
        <dd>{bytes(document.size_bytes)}</dd>
      </dl>
    </div>
  )
}

/** Why a document was not read, or not as it is now, and the way to have it read. */
export function UnreadNotice({
  workspace,
  document,
}: {
  workspace: string
  document: Document
}) {
  const { t } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const retry = async () => {
    try {
      await api.documents.retry(workspace, document.id)
    } catch (error) {
      notices.warn(asApiError(error).message)
    }
    invalidate(keys.document(workspace, document.id), keys.documents(workspace))
  }
  return (
    <Notice
      kind={document.status === 'failed' ? 'error' : 'caution'}
      title={t(`status.${document.status}`)}
      actions={
        <Button size="s" onClick={() => void retry()}>
          {t('documents.retry')}
        </Button>
      }
    >
      <Reason document={document} />
    </Notice>
  )
}

/** The core's own words on a document; they are English, so other languages say it before. */
export function Reason({ document: { problem, reason } }: { document: Document }) {
  const { t, locale } = useI18n()
  const advice = locale === 'en' ? null : adviceOn(problem, t)
  return (
    <>
      {advice && <p>{advice}</p>}
      {reason && <p lang="en">{reason}</p>}
    </>
  )
}
