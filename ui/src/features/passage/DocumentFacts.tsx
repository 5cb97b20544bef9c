import type { Document } from '../../api/types'
import { Notice } from '../../components/Notice'
import { useI18n } from '../../lib/i18n'
import styles from './DocumentFacts.module.css'

/** What is known of a document that has no text to show. */
export function DocumentFacts({ document }: { document: Document }) {
  const { t, bytes } = useI18n()
  return (
    <div className={styles.facts}>
      <Notice
        kind={document.status === 'failed' ? 'error' : 'caution'}
        title={t(`status.${document.status}`)}
      >
        {document.reason}
      </Notice>
      <dl className={styles.list}>
        <dt>{t('documents.path')}</dt>
        <dd>{document.path}</dd>
        <dt>{t('documents.size')}</dt>
        <dd>{bytes(document.size_bytes)}</dd>
      </dl>
    </div>
  )
}
