import { useQuery } from '@tanstack/react-query'
import { EllipsisVertical, FolderX, Folder as FolderIcon, ListFilter, RefreshCw } from 'lucide-react'
import { useState } from 'react'

import { asApiError } from '../../api/errors'
import { keys, queries, useApi, useInvalidate } from '../../api/queries'
import type { Folder, Job } from '../../api/types'
import { Button, IconButton } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Menu, MenuItem } from '../../components/Menu'
import { classes } from '../../lib/classes'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import styles from './FolderSection.module.css'
import { PatternsDialog } from './PatternsDialog'

/** The folders that the workspace follows, and what stands in the way of it. */
export function FolderSection({ workspace, jobs }: { workspace: string; jobs: readonly Job[] }) {
  const { t } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const folders = useQuery(queries.folders(api, workspace))
  const [asking, setAsking] = useState<{ folder: Folder; about: 'remove' | 'resume' } | null>(null)
  const [choosing, setChoosing] = useState<Folder | null>(null)
  if (folders.isError && !folders.data) {
    return (
      <div className={styles.unknown}>
        <ErrorNotice
          title={t('folders.unknown')}
          message={asApiError(folders.error).message}
          hint={asApiError(folders.error).hint}
          onRetry={() => void folders.refetch()}
        />
      </div>
    )
  }
  if (!folders.data || folders.data.length === 0) return null

  const scanning = new Set(
    jobs.flatMap(({ folder_id, state }) => (folder_id && state === 'running' ? [folder_id] : [])),
  )
  const act = async (action: Promise<void>) => {
    try {
      await action
    } catch (error) {
      notices.warn(asApiError(error).message)
    }
    invalidate(keys.folders(workspace), keys.documents(workspace), keys.workspaces())
  }
  const resuming = asking?.about === 'resume'
  return (
    <section className={styles.section} aria-label={t('folders.heading')}>
      <ul className={styles.list}>
        {attentionFirst(folders.data).map((folder) => (
          <FolderItem
            key={folder.id}
            folder={folder}
            scanning={folder.scanning || scanning.has(folder.id)}
            onChoose={() => setChoosing(folder)}
            onScan={() => void act(api.folders.scan(workspace, folder.id))}
            onResume={() => setAsking({ folder, about: 'resume' })}
            onRemove={() => setAsking({ folder, about: 'remove' })}
          />
        ))}
      </ul>
      <ConfirmDialog
        open={asking !== null}
        onOpenChange={(open) => !open && setAsking(null)}
        title={resuming ? t('folders.resumeTitle') : t('folders.removeTitle')}
        body={
          resuming
            ? t('folders.resumeBody')
            : t('folders.removeBody', { path: asking?.folder.path ?? '' })
        }
        action={resuming ? t('folders.resume') : t('folders.remove')}
        onConfirm={() => {
          if (!asking) return
          const { folder } = asking
          void act(
            resuming
              ? api.folders.resume(workspace, folder.id)
              : api.folders.remove(workspace, folder.id),
          )
        }}
      />
      {choosing && (
        <PatternsDialog
          key={choosing.id}
          folder={choosing}
          onClose={() => setChoosing(null)}
          onSubmit={async (patterns) => {
            await api.folders.choose(workspace, choosing.id, patterns)
            invalidate(keys.folders(workspace), keys.documents(workspace), keys.workspaces())
          }}
        />
      )}
    </section>
  )
}

/** What waits for the user is not to be scrolled for. */
function attentionFirst(folders: readonly Folder[]): Folder[] {
  const rank = { paused: 0, incomplete: 1, watching: 2 } as const
  return folders.toSorted((a, b) => rank[a.state] - rank[b.state])
}

interface FolderItemProps {
  folder: Folder
  scanning: boolean
  onChoose: () => void
  onScan: () => void
  onResume: () => void
  onRemove: () => void
}

const LEFT_OUT = ['excluded', 'not_included', 'hidden', 'temporary', 'special', 'removed'] as const

function FolderItem({ folder, scanning, onChoose, onScan, onResume, onRemove }: FolderItemProps) {
  const { t, ago } = useI18n()
  const polled = folder.watched_by === 'polling'
  const settled =
    folder.state === 'watching' && polled ? t('folders.polling') : t(`folders.${folder.state}`)
  const checked = folder.last_scan_at
    ? t('folders.lastScan', { when: ago(folder.last_scan_at) })
    : t('folders.never')
  const seen = folder.last_scan
  const leftOut = LEFT_OUT.flatMap((why) =>
    seen && seen[why] > 0 ? [t(`folders.leftOut.${why}`, { count: seen[why] })] : [],
  )
  const { include, exclude } = folder.patterns
  const notes = [
    seen && t('folders.files', { count: seen.files }),
    include.length > 0 && t('folders.only', { patterns: include.join(', ') }),
    exclude.length > 0 && t('folders.without', { patterns: exclude.join(', ') }),
    leftOut.length > 0 && t('folders.leftOut', { what: leftOut.join(', ') }),
  ].filter(Boolean)
  return (
    <li className={styles.folder}>
      <FolderIcon size={16} aria-hidden className={styles.icon} />
      <span className={styles.path} title={folder.path}>
        <bdi>{folder.path}</bdi>
      </span>
      <span className={styles.checked}>{checked}</span>
      <span className={classes(styles.state, folder.state !== 'watching' && styles.attention)}>
        {scanning ? t('folders.scanning') : settled}
      </span>
      <Menu
        trigger={
          <IconButton
            size="s"
            label={t('folders.actions', { path: folder.path })}
            icon={<EllipsisVertical size={16} />}
          />
        }
      >
        <MenuItem icon={<ListFilter size={15} />} onSelect={onChoose}>
          {t('folders.choose')}
        </MenuItem>
        <MenuItem icon={<RefreshCw size={15} />} disabled={scanning} onSelect={onScan}>
          {t('folders.scan')}
        </MenuItem>
        <MenuItem icon={<FolderX size={15} />} dangerous onSelect={onRemove}>
          {t('folders.remove')}
        </MenuItem>
      </Menu>
      {notes.length > 0 && <p className={styles.seen}>{notes.join(' · ')}</p>}
      {polled && folder.polling_reason && (
        <p className={styles.seen}>{t('folders.pollingWhy', { reason: folder.polling_reason })}</p>
      )}
      {folder.reason && <p className={styles.reason}>{folder.reason}</p>}
      {folder.state === 'paused' && (
        <div className={styles.choice}>
          <Button size="s" onClick={onResume}>
            {t('folders.resume')}
          </Button>
          <Button size="s" onClick={onRemove}>
            {t('folders.remove')}
          </Button>
        </div>
      )}
    </li>
  )
}
