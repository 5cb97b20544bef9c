/**
 * The document beside the page, opened at a passage. A PDF is drawn page by page, a picture as it is,
 * everything else is shown as the text that was read from it, with the passage marked.
 */
import { useQuery } from '@tanstack/react-query'
import { ChevronLeft, ChevronRight, Copy, LocateFixed, Minus, Plus, X } from 'lucide-react'
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react'

import { asApiError } from '../../api/errors'
import { queries, useApi, type Reading } from '../../api/queries'
import { IconButton } from '../../components/Button'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Notice } from '../../components/Notice'
import { SegmentedControl } from '../../components/SegmentedControl'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import type { PassagePanelState, PassageTarget } from '../../lib/passage'
import { headingsBeside, placeLabel } from '../../lib/place'
import { testIds } from '../../lib/testids'
import { splitTitle } from '../../lib/titles'
import { ChunkView } from './ChunkView'
import { DocumentFacts, Reason, UnreadNotice } from './DocumentFacts'
import { locatePassage, locateQuote } from './locate'
import { PictureView } from './PictureView'
import { TextView } from './TextView'
import styles from './PassagePanel.module.css'

/** pdf.js is larger than the rest of the window together and needed for PDFs alone. */
const PdfView = lazy(() => import('./PdfView'))

interface PassagePanelProps {
  workspace: string
  state: PassagePanelState
  onStep: (index: number) => void
  onClose: () => void
}

/** Webviews draw no TIFF. */
const DRAWN_PICTURE = /\.(png|jpe?g)$/i

/** Of a document that is not known yet. */
const NOT_READ: Reading = { content_hash: null, chunk_count: 0, problem: null, reason: null }

const ZOOMS = [0.75, 1, 1.25, 1.5, 2, 2.5] as const

export function PassagePanel({ workspace, state, onStep, onClose }: PassagePanelProps) {
  const i18n = useI18n()
  const { t } = i18n
  const api = useApi()
  const notices = useNotices()
  const target = state.targets[state.index] as PassageTarget
  const panel = useRef<HTMLElement>(null)
  const [view, setView] = useState<'page' | 'text' | 'chunks'>('page')
  const [zoom, setZoom] = useState(1)
  const [brokenId, setBrokenId] = useState<string | null>(null)

  const document = useQuery(queries.document(api, workspace, target.documentId))
  const missed = document.data?.status === 'failed' || document.data?.status === 'skipped'
  const unread = missed && document.data?.chunk_count === 0
  // Of a file that is gone, or could not be read as it is now, there is the text of before alone.
  const isPdf = document.data?.format === 'pdf' && !missed
  const isPicture =
    document.data?.format === 'picture' && !missed && DRAWN_PICTURE.test(document.data.path)
  const showChunks = view === 'chunks' && document.isSuccess && !unread
  const hasPages = isPdf || isPicture
  const showPages = hasPages && view === 'page' && brokenId !== target.documentId
  const text = useQuery({
    ...queries.documentText(api, workspace, target.documentId, document.data ?? NOT_READ),
    enabled: document.isSuccess && !unread && !showPages && !showChunks,
  })

  useEffect(() => panel.current?.focus({ preventScroll: true }), [state.opened])

  const passage = target.passage
  const { document: title, headings: all } = splitTitle(target.title)
  const headings = headingsBeside(all, passage?.place)
  const located = useMemo(
    () => (text.data && passage ? locatePassage(text.data.text, passage) : null),
    [text.data, passage],
  )
  const quoted = useMemo(
    () =>
      text.data && located && passage?.quote
        ? locateQuote(text.data.text, located, passage.quote)
        : null,
    [text.data, located, passage],
  )
  const several = state.targets.length > 1
  const place = passage ? placeLabel(i18n, passage) : null
  const onOnePage = passage?.place?.kind === 'pages' && passage.place.first === passage.place.last

  const copyPath = async () => {
    try {
      await navigator.clipboard.writeText(target.path)
      notices.say(t('passage.pathCopied'))
    } catch {
      // Refused by the browser, or there is none: pages without a secure address have no clipboard.
      notices.warn(t('passage.pathNotCopied'), [target.path])
    }
  }

  return (
    <aside
      className={styles.panel}
      ref={panel}
      tabIndex={-1}
      aria-label={`${t('passage.panel')}: ${target.title}`}
      data-testid={testIds.passagePanel}
      data-document={target.documentId}
    >
      <header className={styles.header}>
        <div className={styles.heading}>
          {passage?.n !== undefined && <span className={styles.number}>{passage.n}</span>}
          <h2 className={styles.title} title={target.title}>
            {title}
            {headings.length > 0 && (
              <span className={styles.section}>{headings.join(' › ')}</span>
            )}
          </h2>
          {passage && (
            <span className={styles.group}>
              <IconButton
                size="s"
                label={t('passage.backToMark')}
                icon={<LocateFixed size={15} />}
                onClick={() => onStep(state.index)}
              />
            </span>
          )}
          {several && (
            <span className={styles.group}>
              <IconButton
                size="s"
                label={t('passage.previous')}
                icon={<ChevronLeft size={16} />}
                disabled={state.index === 0}
                onClick={() => onStep(state.index - 1)}
              />
              <IconButton
                size="s"
                label={t('passage.next')}
                icon={<ChevronRight size={16} />}
                disabled={state.index === state.targets.length - 1}
                onClick={() => onStep(state.index + 1)}
              />
            </span>
          )}
          <IconButton label={t('passage.close')} icon={<X size={18} />} onClick={onClose} />
        </div>
        <div className={styles.tools}>
          <button
            type="button"
            className={styles.path}
            title={`${target.path}\n${t('passage.copyPath')}`}
            aria-label={`${t('passage.copyPath')}: ${target.path}`}
            onClick={() => void copyPath()}
          >
            <bdi>{target.path}</bdi>
            <Copy size={12} aria-hidden />
          </button>
          {place && (
            <span className={styles.pageNumber} title={place}>
              {onOnePage && passage.page && document.data?.page_count
                ? t('passage.pageOf', { page: passage.page, total: document.data.page_count })
                : place}
            </span>
          )}
          {document.isSuccess && !unread && (
            <SegmentedControl
              label={t('passage.view')}
              value={showPages ? 'page' : showChunks ? 'chunks' : 'text'}
              onChange={setView}
              options={[
                ...(hasPages ? [{ value: 'page' as const, label: t('passage.page') }] : []),
                { value: 'text', label: t('passage.text') },
                { value: 'chunks', label: t('chunks.view') },
              ]}
            />
          )}
          {showPages && (
            <span className={styles.group}>
              <IconButton
                size="s"
                label={t('passage.zoomOut')}
                icon={<Minus size={15} />}
                disabled={zoom <= ZOOMS[0]}
                onClick={() => setZoom((now) => ZOOMS.findLast((each) => each < now) ?? now)}
              />
              <IconButton
                size="s"
                label={t('passage.zoomIn')}
                icon={<Plus size={15} />}
                disabled={zoom >= 2.5}
                onClick={() => setZoom((now) => ZOOMS.find((each) => each > now) ?? now)}
              />
            </span>
          )}
        </div>
      </header>

      {document.isError && (
        <div className={styles.message}>
          <ErrorNotice
            title={t('passage.loadFailed')}
            message={asApiError(document.error).message}
            hint={asApiError(document.error).hint}
            onRetry={() => void document.refetch()}
          />
          {passage && <Quoted text={passage.text} />}
        </div>
      )}
      {document.data && unread && <DocumentFacts workspace={workspace} document={document.data} />}
      {document.data && missed && !unread && (
        <div className={styles.message}>
          <UnreadNotice workspace={workspace} document={document.data} />
        </div>
      )}
      {document.data?.reason && !missed && (
        <div className={styles.message}>
          <Notice kind="caution" title={t('documents.warning')}>
            <Reason document={document.data} />
          </Notice>
        </div>
      )}
      {showPages && isPdf && (
        <Suspense fallback={<p className={styles.loading}>{t('common.loading')}</p>}>
          <PdfView
            key={target.documentId}
            workspace={workspace}
            documentId={target.documentId}
            contentHash={document.data?.content_hash ?? null}
            passage={passage}
            opened={state.opened}
            zoom={zoom}
            onBroken={() => setBrokenId(target.documentId)}
          />
        </Suspense>
      )}
      {showPages && isPicture && (
        <PictureView
          key={target.documentId}
          workspace={workspace}
          documentId={target.documentId}
          contentHash={document.data?.content_hash ?? null}
          passage={passage}
          opened={state.opened}
          zoom={zoom}
          onBroken={() => setBrokenId(target.documentId)}
        />
      )}
      {showChunks && (
        <ChunkView
          key={target.documentId}
          workspace={workspace}
          documentId={target.documentId}
          reading={document.data}
          passage={passage}
          opened={state.opened}
        />
      )}
      {!showPages && !showChunks && !unread && document.isSuccess && (
        <>
          {brokenId === target.documentId && (
            <div className={styles.message}>
              <Notice kind="caution" title={t('passage.pdfFailed')} />
            </div>
          )}
          {text.isPending && <p className={styles.loading}>{t('common.loading')}</p>}
          {text.isError && (
            <div className={styles.message}>
              <ErrorNotice
                title={t('passage.loadFailed')}
                message={asApiError(text.error).message}
                onRetry={() => void text.refetch()}
              />
              {passage && <Quoted text={passage.text} />}
            </div>
          )}
          {text.data && passage && !located && (
            <div className={styles.message}>
              <Notice kind="caution" title={t('passage.changed')} />
              <Quoted text={passage.text} />
            </div>
          )}
          {text.data && (
            <TextView
              key={`${target.documentId} ${text.data.text.length}`}
              document={text.data}
              mark={located}
              quote={quoted}
              opened={state.opened}
            />
          )}
        </>
      )}
    </aside>
  )
}

/** A passage as it was cited, when it cannot be shown in its place. */
function Quoted({ text }: { text: string }) {
  const { t } = useI18n()
  if (text === '') return <p className={styles.loading}>{t('passage.removed')}</p>
  return (
    <blockquote className={styles.quoted} data-testid={testIds.passageMark}>
      {text}
    </blockquote>
  )
}
