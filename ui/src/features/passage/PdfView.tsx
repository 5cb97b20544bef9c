import type { PDFPageProxy } from 'pdfjs-dist/legacy/build/pdf.mjs'
import { TextLayer } from 'pdfjs-dist/legacy/build/pdf.mjs'
import { useEffect, useLayoutEffect, useRef, useState } from 'react'

import { isAbort } from '../../api/errors'
import { useApi } from '../../api/queries'
import { useI18n } from '../../lib/i18n'
import type { PageBox, PassageTarget } from '../../lib/passage'
import { Marks, useScrollToMark } from './marks'
import { openPdf, type OpenPdf } from './pdf'
import styles from './PageView.module.css'

interface PdfViewProps {
  workspace: string
  documentId: string
  /** Opens the file again when it changes on disk. */
  contentHash: string | null
  passage: PassageTarget['passage']
  opened: number
  zoom: number
  onBroken: () => void
}

interface Size {
  width: number
  height: number
}

const MARGIN_PX = 18

export default function PdfView({
  workspace,
  documentId,
  contentHash,
  passage,
  opened,
  zoom,
  onBroken,
}: PdfViewProps) {
  const { t } = useI18n()
  const api = useApi()
  const scroller = useRef<HTMLDivElement>(null)
  const [pdf, setPdf] = useState<OpenPdf | null>(null)
  const [first, setFirst] = useState<Size | null>(null)
  const [width, setWidth] = useState(0)

  useEffect(() => {
    const abort = new AbortController()
    let open: OpenPdf | null = null
    const load = async () => {
      open = await openPdf(api, workspace, documentId, abort.signal)
      // The passage's page gives the size that pages are laid out by until they are drawn.
      const page = await open.document.getPage(
        Math.min(passage?.page ?? 1, open.document.numPages),
      )
      const { width, height } = page.getViewport({ scale: 1 })
      if (abort.signal.aborted) return
      setFirst({ width, height })
      setPdf(open)
    }
    load().catch((error: unknown) => {
      if (!abort.signal.aborted && !isAbort(error)) onBroken()
    })
    return () => {
      abort.abort()
      open?.close()
    }
    // The passage does not open the file again, and `onBroken` is an event.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [api, workspace, documentId, contentHash])

  useLayoutEffect(() => {
    const element = scroller.current
    if (!element) return
    const measure = () => setWidth(element.clientWidth - 2 * MARGIN_PX)
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    measure()
    return () => observer.disconnect()
  }, [])

  useScrollToMark(scroller, passage, opened, [pdf, width > 0, zoom])

  const shown = Math.max(0, width) * zoom
  return (
    <div className={styles.scroller} ref={scroller} tabIndex={0} role="document">
      {!pdf && <p className={styles.loading}>{t('common.loading')}</p>}
      {pdf && first && width > 0 && (
        <div className={styles.pages} style={{ width: shown + 2 * MARGIN_PX }}>
          {Array.from({ length: pdf.document.numPages }, (_, index) => (
            <Page
              key={index}
              pdf={pdf}
              number={index + 1}
              width={shown}
              expected={first}
              boxes={passage?.boxes.filter((each) => each.page === index + 1) ?? []}
              root={scroller}
            />
          ))}
        </div>
      )}
    </div>
  )
}

interface PageProps {
  pdf: OpenPdf
  number: number
  width: number
  expected: Size
  boxes: readonly PageBox[]
  root: React.RefObject<HTMLDivElement | null>
}

function Page({ pdf, number, width, expected, boxes, root }: PageProps) {
  const { t } = useI18n()
  const frame = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const layer = useRef<HTMLDivElement>(null)
  const [near, setNear] = useState(false)
  const [page, setPage] = useState<PDFPageProxy | null>(null)

  useEffect(() => {
    const element = frame.current
    if (!element) return
    const observer = new IntersectionObserver(
      (entries) => setNear(entries.some((entry) => entry.isIntersecting)),
      { root: root.current, rootMargin: '900px 0px' },
    )
    observer.observe(element)
    return () => observer.disconnect()
  }, [root])

  useEffect(() => {
    if (!near) return
    let current = true
    void pdf.document
      .getPage(number)
      .then((loaded) => current && setPage(loaded))
      .catch(() => undefined)
    return () => {
      current = false
    }
  }, [near, pdf, number])

  const viewport = page?.getViewport({ scale: 1 }) ?? expected
  const height = (width * viewport.height) / viewport.width

  useEffect(() => {
    const target = canvas.current
    const text = layer.current
    if (!page || !near || !target || !text) return
    const scale = width / page.getViewport({ scale: 1 }).width
    const sharp = Math.min(2, window.devicePixelRatio || 1)
    const drawn = page.getViewport({ scale: scale * sharp })
    target.width = Math.round(drawn.width)
    target.height = Math.round(drawn.height)
    const drawing = page.render({ canvas: target, viewport: drawn })
    drawing.promise.catch(() => undefined)

    // A reader instead of the page's own text content: that iterates over a stream, which
    // WebKitGTK cannot.
    text.replaceChildren()
    text.style.setProperty('--total-scale-factor', String(scale))
    const selectable = new TextLayer({
      textContentSource: page.streamTextContent(),
      container: text,
      viewport: page.getViewport({ scale }),
    })
    selectable.render().catch(() => undefined)
    return () => {
      drawing.cancel()
      selectable.cancel()
    }
  }, [page, near, width])

  return (
    <div
      ref={frame}
      className={styles.page}
      style={{ width, height }}
      data-page={number}
      role="region"
      aria-label={t('sources.page', { page: number })}
    >
      {near && (
        <>
          <canvas ref={canvas} className={styles.canvas} aria-hidden />
          <div ref={layer} className={styles.textLayer} />
        </>
      )}
      <Marks boxes={boxes} />
    </div>
  )
}
