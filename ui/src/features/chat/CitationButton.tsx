import type { Citation } from '../../api/types'
import { useI18n } from '../../lib/i18n'
import { headingsBeside, placeLabel } from '../../lib/place'
import { testIds } from '../../lib/testids'
import { splitTitle } from '../../lib/titles'
import styles from './CitationButton.module.css'

/** A citation of an answer that is still being written. */
export function PendingCitation({ n }: { n: number }) {
  return <span className={styles.citation}>{n}</span>
}

export function CitationButton({ citation, onOpen }: { citation: Citation; onOpen: () => void }) {
  const i18n = useI18n()
  const { t } = i18n
  const { n } = citation
  const { document, headings } = splitTitle(citation.title)
  const title = [document, headingsBeside(headings, citation.place).at(-1)].filter(Boolean).join(', ')
  const label = t('citation.label', { n, title })
  const place = [title, placeLabel(i18n, citation)].filter(Boolean).join(', ')
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
