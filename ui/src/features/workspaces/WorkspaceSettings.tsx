import { useState } from 'react'

import { asApiError } from '../../api/errors'
import { keys, useApi, useInvalidate } from '../../api/queries'
import type { Workspace } from '../../api/types'
import { Button } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { TextField } from '../../components/TextField'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import { EmbedderSettings } from './EmbedderSettings'
import styles from './WorkspaceSettings.module.css'

interface WorkspaceSettingsProps {
  workspace: Workspace
  onDeleted: () => void
}

export function WorkspaceSettings({ workspace, onDeleted }: WorkspaceSettingsProps) {
  const { t } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const [name, setName] = useState(workspace.name)
  const [error, setError] = useState<string | null>(null)
  const [deleting, setDeleting] = useState(false)

  const rename = async () => {
    try {
      await api.workspaces.rename(workspace.id, name.trim())
      setError(null)
    } catch (failure) {
      setError(asApiError(failure).message)
    }
    invalidate(keys.workspaces())
  }
  const remove = async () => {
    try {
      await api.workspaces.remove(workspace.id)
      onDeleted()
    } catch (failure) {
      notices.warn(asApiError(failure).message)
    }
    invalidate(keys.workspaces())
  }
  return (
    <div className={styles.settings}>
      <form
        className={styles.rename}
        onSubmit={(event) => {
          event.preventDefault()
          void rename()
        }}
      >
        <TextField label={t('workspace.name')} value={name} onChange={setName} error={error} />
        <Button type="submit" disabled={!name.trim() || name.trim() === workspace.name}>
          {t('common.rename')}
        </Button>
      </form>
      <EmbedderSettings workspace={workspace.id} />
      <Button className={styles.delete} onClick={() => setDeleting(true)}>
        {t('workspace.delete')}
      </Button>
      <ConfirmDialog
        open={deleting}
        onOpenChange={setDeleting}
        title={t('workspace.deleteTitle', { name: workspace.name })}
        body={t('workspace.deleteBody')}
        action={t('common.delete')}
        onConfirm={() => void remove()}
      />
    </div>
  )
}
