import type { Citation } from '../../api/types'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import { splitTitle } from '../../lib/titles'
import styles from './CitationButton.module.css'

/** A citation of an answer that is still being written. */
export function PendingCitation({ n }: { n: number }) {
  return <span className={styles.citation}>{n}</span>
}

export function CitationButton({ citation, onOpen }: { citation: Citation; onOpen: () => void }) {
  const { t } = useI18n()
  const { n, page } = citation
  const { document, headings } = splitTitle(citation.title)
  const title = [document, headings.at(-1)].filter(Boolean).join(', ')
  const label = t('citation.label', { n, title })
  const place = page ? `${title}, ${t('sources.page', { page })}` : title
  return (
    <button
      type="button"
      className={styles.citation}
      aria-label={label}
      title={place}
      onClick={onOpen}
      data-testid={testIds.citation(n)}
    >
      {n}
    </button>
  )
}
