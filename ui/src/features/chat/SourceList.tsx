import { ChevronRight } from 'lucide-react'

import type { Citation } from '../../api/types'
import { quoteFrom } from '../../lib/citations'
import { useI18n } from '../../lib/i18n'
import { targetOf, usePassagePanel } from '../../lib/passage'
import { folderOf } from '../../lib/paths'
import { headingsBeside, placeLabel } from '../../lib/place'
import { splitTitle } from '../../lib/titles'
import styles from './SourceList.module.css'

/** The passages that an answer stands on, as footnotes; what else was read is folded away. */
export function SourceList({
  answer,
  used,
  others,
}: {
  answer: string
  used: readonly Citation[]
  others: readonly Citation[]
}) {
  const { t } = useI18n()
  const { open } = usePassagePanel()
  const openAt = (list: readonly Citation[], index: number) =>
    open(
      list.map((citation) => targetOf(citation, true, quoteFrom(answer, citation.text))),
      index,
    )
  return (
    <div className={styles.sources} role="group" aria-label={t('sources.heading')}>
      <h3 className={styles.heading}>{t('sources.heading')}</h3>
      <ol className={styles.list}>
        {used.map((citation, index) => (
          <SourceItem
            key={citation.n}
            citation={citation}
            number={citation.n}
            label={t('sources.open', { n: citation.n, title: citation.title })}
            onOpen={() => openAt(used, index)}
          />
        ))}
      </ol>
      {others.length > 0 && (
        <details className={styles.more}>
          <summary>
            <ChevronRight size={14} aria-hidden />
            {t('sources.alsoRead', { count: others.length })}
          </summary>
          <ol className={styles.list}>
            {others.map((citation, index) => (
              <SourceItem
                key={citation.n}
                citation={citation}
                label={t('sources.openUnnumbered', { title: citation.title })}
                onOpen={() => openAt(others, index)}
              />
            ))}
          </ol>
        </details>
      )}
    </div>
  )
}

/** The closest passages of a question that the documents don't answer. */
export function NearestList({
  hint,
  passages,
}: {
  hint: string
  passages: readonly Citation[]
}) {
  const { t } = useI18n()
  const { open } = usePassagePanel()
  return (
    <div className={styles.sources} role="group" aria-label={hint}>
      <p className={styles.hint}>{hint}</p>
      <ol className={styles.list}>
        {passages.map((passage, index) => (
          <SourceItem
            key={`${passage.document_id}-${passage.chunk}`}
            citation={passage}
            label={t('sources.openUnnumbered', { title: passage.title })}
            onOpen={() =>
              open(
                passages.map((each) => targetOf(each, false)),
                index,
              )
            }
          />
        ))}
      </ol>
    </div>
  )
}

interface SourceItemProps {
  citation: Citation
  /** Only what supports the answer has a number. */
  number?: number
  label: string
  onOpen: () => void
}

function SourceItem({ citation, number, label, onOpen }: SourceItemProps) {
  const i18n = useI18n()
  const { t } = i18n
  const { document, headings: all } = splitTitle(citation.title)
  const headings = headingsBeside(all, citation.place)
  const place = placeLabel(i18n, citation)
  return (
    <li className={styles.source}>
      <span className={number === undefined ? styles.dot : styles.number} aria-hidden>
        {number}
      </span>
      <div className={styles.body}>
        <p className={styles.line}>
          <button type="button" className={styles.title} aria-label={label} onClick={onOpen}>
            {document}
          </button>
          {place !== null && <span className={styles.page}>{place}</span>}
          {headings.length > 0 && (
            <span className={styles.section} title={headings.join(' › ')}>
              {headings.at(-1)}
            </span>
          )}
        </p>
        <p className={styles.snippet}>{citation.text || t('passage.removed')}</p>
        {folderOf(citation.path) && (
          <p className={styles.path} title={citation.path}>
            <bdi>{folderOf(citation.path)}</bdi>
          </p>
        )}
      </div>
    </li>
  )
}
