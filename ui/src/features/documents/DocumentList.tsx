/** Documents. Enter opens a row's document, Delete removes it. */
import { EllipsisVertical, FileText, RotateCcw, Trash2 } from 'lucide-react'
import { memo, useCallback, useEffect, useState } from 'react'

import { asApiError } from '../../api/errors'
import { keys, useApi, useInvalidate } from '../../api/queries'
import type { Document, Job } from '../../api/types'
import { IconButton } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { Menu, MenuItem } from '../../components/Menu'
import { Progress } from '../../components/Progress'
import { adviceOn } from '../../lib/advice'
import { classes } from '../../lib/classes'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import { usePassagePanel } from '../../lib/passage'
import { fileName, folderOf } from '../../lib/paths'
import { ROW_PX, useRows } from '../../lib/rows'
import { testIds } from '../../lib/testids'
import styles from './DocumentList.module.css'

interface DocumentListProps {
  workspace: string
  documents: readonly Document[]
  jobs: ReadonlyMap<string, Job>
  total: number
  /** The words that the list was narrowed by; others begin at the top again. */
  filter: string
  onReachEnd: () => void
}

/** What removing means for each way in which a document came. */
const REMOVE_BODY = {
  file: 'documents.removeBody',
  folder: 'documents.removeFolderBody',
  upload: 'documents.removeUploadBody',
} as const

export function DocumentList({
  workspace,
  documents,
  jobs,
  total,
  filter,
  onReachEnd,
}: DocumentListProps) {
  const { t } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const { open, state } = usePassagePanel()
  const shown = state?.targets[state.index]?.documentId
  const [removing, setRemoving] = useState<Document | null>(null)

  const openDocument = useCallback(
    ({ id, title, path }: Document) => open([{ documentId: id, title, path }]),
    [open],
  )
  const retry = useCallback(
    async (document: Document) => {
      try {
        await api.documents.retry(workspace, document.id)
      } catch (error) {
        notices.warn(asApiError(error).message)
      }
      invalidate(keys.documents(workspace), keys.jobs(workspace))
    },
    [api, workspace, notices, invalidate],
  )
  const remove = async (document: Document) => {
    try {
      await api.documents.remove(workspace, document.id)
      notices.say(t('documents.removed', { title: document.title }))
    } catch (error) {
      notices.warn(asApiError(error).message)
    }
    invalidate(keys.documents(workspace), keys.workspaces())
  }

  const onKey = (key: string, document: Document) => {
    if (key === 'Enter') openDocument(document)
    else if (key === 'Delete') setRemoving(document)
    else return false
    return true
  }
  const { grid, items, height, current, setCurrent, toTop } = useRows(documents, onKey, onReachEnd)
  useEffect(toTop, [filter, toTop])

  return (
    <>
      <div
        {...grid}
        className={styles.scroller}
        role="grid"
        aria-label={t('documents.list')}
        aria-rowcount={total}
      >
        <div role="rowgroup" style={{ height, position: 'relative' }}>
          {items.map((item) => {
            const document = documents[item.index]
            return (
              document && (
                <Row
                  key={item.key}
                  document={document}
                  job={jobs.get(document.id)}
                  index={item.index}
                  top={item.start}
                  open={document.id === shown}
                  current={item.index === current}
                  onFocus={setCurrent}
                  onOpen={openDocument}
                  onRetry={retry}
                  onRemove={setRemoving}
                />
              )
            )
          })}
        </div>
      </div>
      <ConfirmDialog
        open={removing !== null}
        onOpenChange={(open) => !open && setRemoving(null)}
        title={t('documents.removeTitle', { title: removing?.title ?? '' })}
        body={t(REMOVE_BODY[removing?.origin ?? 'file'])}
        action={t('common.remove')}
        onConfirm={() => removing && void remove(removing)}
      />
    </>
  )
}

interface RowProps {
  document: Document
  job: Job | undefined
  index: number
  top: number
  /** Whether it is the document in the panel. */
  open: boolean
  current: boolean
  onFocus: (id: string) => void
  onOpen: (document: Document) => void
  onRetry: (document: Document) => void
  onRemove: (document: Document) => void
}

const Row = memo(function Row({
  document,
  job,
  index,
  top,
  open,
  current,
  onFocus,
  onOpen,
  onRetry,
  onRemove,
}: RowProps) {
  const { t, bytes, locale } = useI18n()
  const { status, reason, problem } = document
  const name = fileName(document.path)
  const broken = status === 'failed' || status === 'skipped'
  const why = (locale !== 'en' && adviceOn(problem, t)) || reason
  return (
    <div
      role="row"
      aria-rowindex={index + 1}
      aria-current={open || undefined}
      className={classes(styles.row, open && styles.open)}
      style={{ height: ROW_PX, transform: `translateY(${top}px)` }}
      tabIndex={current ? 0 : -1}
      data-index={index}
      data-testid={testIds.documentRow}
      data-path={document.path}
      data-status={status}
      onFocus={() => onFocus(document.id)}
      onClick={() => onOpen(document)}
    >
      <span role="gridcell" className={styles.format} data-format={document.format ?? 'none'}>
        {extension(name)}
      </span>
      <span role="gridcell" className={styles.name}>
        <span className={styles.title} title={document.title}>
          {document.title}
        </span>
        {reason ? (
          <span
            className={classes(styles.second, status === 'failed' && styles.reason)}
            title={why ?? undefined}
          >
            {why}
          </span>
        ) : (
          <span className={styles.second} title={document.path}>
            {[document.title !== name && name, folderOf(document.path)]
              .filter(Boolean)
              .join(' · ')}
          </span>
        )}
      </span>
      <span role="gridcell" className={styles.language}>
        {document.language && document.language !== 'und' && t(`language.${document.language}`)}
      </span>
      <span role="gridcell" className={styles.size}>
        {bytes(document.size_bytes)}
      </span>
      <span
        role="gridcell"
        className={styles.status}
        data-testid={testIds.documentStatus}
        data-status={status}
      >
        <Status document={document} job={job} />
      </span>
      <span role="gridcell" onClick={(event) => event.stopPropagation()}>
        <Menu
          trigger={
            <IconButton
              size="s"
              label={t('documents.actions', { title: document.title })}
              icon={<EllipsisVertical size={16} />}
              tabIndex={current ? 0 : -1}
            />
          }
        >
          <MenuItem icon={<FileText size={15} />} onSelect={() => onOpen(document)}>
            {t('documents.open')}
          </MenuItem>
          <MenuItem
            icon={<RotateCcw size={15} />}
            disabled={!broken}
            onSelect={() => onRetry(document)}
          >
            {t('documents.retry')}
          </MenuItem>
          <MenuItem icon={<Trash2 size={15} />} dangerous onSelect={() => onRemove(document)}>
            {t('documents.remove')}
          </MenuItem>
        </Menu>
      </span>
    </div>
  )
})

function Status({ document, job }: { document: Document; job: Job | undefined }) {
  const { t, percent } = useI18n()
  const { status } = document
  if (status === 'words') {
    const done = document.embedded_count
    const part = document.chunk_count > 0 ? done / document.chunk_count : 0
    return (
      <>
        <span>{t('status.words')}</span>
        <span className={styles.detail}>{t('status.meaning', { percent: percent(part) })}</span>
        <Progress label={t('stage.embedding')} done={done} total={document.chunk_count} />
      </>
    )
  }
  if (status === 'reading') {
    const stage = job?.stage ? t(`stage.${job.stage}`) : t('status.reading')
    const done = job?.progress.done ?? 0
    const total = job?.progress.total ?? 0
    return (
      <>
        <span>{stage}</span>
        {total > 0 && (
          <span className={styles.detail}>{t('status.progress', { done, total })}</span>
        )}
        <Progress label={stage} done={done} total={total} />
      </>
    )
  }
  return (
    <span className={styles.settled}>
      <span className={styles.dot} data-status={status} aria-hidden />
      {t(`status.${status}`)}
    </span>
  )
}

/** Of a file's name, as the tag in front of it; at most four letters fit. */
function extension(name: string): string {
  const cut = name.lastIndexOf('.')
  const found = cut > 0 ? name.slice(cut + 1) : ''
  return found.length > 0 && found.length <= 4 ? found : '—'
}
