import { useQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef } from 'react'

import { asApiError } from '../../api/errors'
import { queries, useApi, type Reading } from '../../api/queries'
import type { Chunk } from '../../api/types'
import { ErrorNotice } from '../../components/ErrorNotice'
import { classes } from '../../lib/classes'
import { useI18n } from '../../lib/i18n'
import type { PassageTarget } from '../../lib/passage'
import styles from './ChunkView.module.css'

interface ChunkViewProps {
  workspace: string
  documentId: string
  reading: Reading
  /** The one that was cited. */
  passage: PassageTarget['passage']
  opened: number
}

/** Near the height of a chunk of usual size; each is measured when it is there. */
const CHUNK_PX = 260

/** The passages that a document was cut into, as they are searched and cited. */
export function ChunkView({ workspace, documentId, reading, passage, opened }: ChunkViewProps) {
  const { t } = useI18n()
  const api = useApi()
  const scroller = useRef<HTMLDivElement>(null)
  const chunks = useQuery(queries.chunks(api, workspace, documentId, reading))
  const count = chunks.data?.length ?? 0
  const rows = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => CHUNK_PX,
    overscan: 4,
    getItemKey: (index) => chunks.data?.[index]?.key ?? index,
  })
  const cited = chunks.data?.findIndex((chunk) => isCited(chunk, passage)) ?? -1
  useEffect(() => {
    if (cited >= 0) rows.scrollToIndex(cited, { align: 'start' })
  }, [cited, opened, rows])

  if (chunks.isPending) return <p className={styles.loading}>{t('common.loading')}</p>
  if (chunks.isError) {
    return (
      <div className={styles.loading}>
        <ErrorNotice
          title={t('passage.loadFailed')}
          message={asApiError(chunks.error).message}
          onRetry={() => void chunks.refetch()}
        />
      </div>
    )
  }
  return (
    <div className={styles.scroller} ref={scroller} tabIndex={0}>
      <p className={styles.count}>{t('chunks.count', { count })}</p>
      <ol className={styles.list} style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map((item) => {
          const chunk = chunks.data[item.index]
          return (
            chunk && (
              <li
                key={item.key}
                ref={rows.measureElement}
                data-index={item.index}
                className={styles.item}
                style={{ transform: `translateY(${item.start}px)` }}
                aria-setsize={count}
                aria-posinset={item.index + 1}
              >
                <ChunkCard chunk={chunk} cited={item.index === cited} />
              </li>
            )
          )
        })}
      </ol>
    </div>
  )
}

function ChunkCard({ chunk, cited }: { chunk: Chunk; cited: boolean }) {
  const { t } = useI18n()
  return (
    <article className={classes(styles.chunk, cited && styles.cited)}>
      <header className={styles.head}>
        <span className={styles.number}>{chunk.ordinal + 1}</span>
        <span className={styles.path}>{chunk.heading_path.join(' › ')}</span>
        <span className={styles.facts}>
          {chunk.page !== null && `${t('sources.page', { page: chunk.page })} · `}
          {t('chunks.tokens', { count: chunk.token_count })}
        </span>
      </header>
      <p className={styles.text}>{chunk.text}</p>
    </article>
  )
}

function isCited({ span }: Chunk, passage: PassageTarget['passage']): boolean {
  return passage !== undefined && span.start === passage.start && span.end === passage.end
}
