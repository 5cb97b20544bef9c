import { useEffect, useRef, useState } from 'react'

import { isAbort } from '../../api/errors'
import { useApi } from '../../api/queries'
import { useI18n } from '../../lib/i18n'
import type { PassageTarget } from '../../lib/passage'
import { Marks, useScrollToMark } from './marks'
import styles from './PageView.module.css'

interface PictureViewProps {
  workspace: string
  documentId: string
  /** Opens the file again when it changes on disk. */
  contentHash: string | null
  passage: PassageTarget['passage']
  opened: number
  zoom: number
  onBroken: () => void
}

/** More than any picture that is read; the server sends what there is. */
const WHOLE_FILE = 2 ** 31 - 1

/** A picture whose text was recognised, as wide as the panel at a zoom of 1. */
export function PictureView({
  workspace,
  documentId,
  contentHash,
  passage,
  opened,
  zoom,
  onBroken,
}: PictureViewProps) {
  const { t } = useI18n()
  const api = useApi()
  const scroller = useRef<HTMLDivElement>(null)
  const [url, setUrl] = useState<string | null>(null)
  const [drawn, setDrawn] = useState(false)

  useEffect(() => {
    const abort = new AbortController()
    let made: string | null = null
    const load = async () => {
      const file = await api.documents.range(workspace, documentId, 0, WHOLE_FILE, abort.signal)
      const blob = await file.blob()
      if (abort.signal.aborted) return
      made = URL.createObjectURL(blob)
      setUrl(made)
    }
    load().catch((error: unknown) => {
      if (!abort.signal.aborted && !isAbort(error)) onBroken()
    })
    return () => {
      abort.abort()
      setUrl(null)
      setDrawn(false)
      if (made) URL.revokeObjectURL(made)
    }
    // `onBroken` is an event.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [api, workspace, documentId, contentHash])

  useScrollToMark(scroller, passage, opened, [drawn, zoom])

  return (
    <div className={styles.scroller} ref={scroller} tabIndex={0} role="document">
      {!drawn && <p className={styles.loading}>{t('common.loading')}</p>}
      {url && (
        <div className={styles.pages}>
          <div className={styles.page} style={{ width: `${zoom * 94}%` }} data-page={1}>
            <img
              className={styles.canvas}
              src={url}
              alt={t('sources.page', { page: 1 })}
              onLoad={() => setDrawn(true)}
              onError={onBroken}
            />
            {drawn && <Marks boxes={passage?.boxes ?? []} />}
          </div>
        </div>
      )}
    </div>
  )
}
