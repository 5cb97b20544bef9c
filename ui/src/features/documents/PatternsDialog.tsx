import { useState, type FormEvent } from 'react'

import { asApiError } from '../../api/errors'
import type { Folder, FolderPatterns } from '../../api/types'
import { Button } from '../../components/Button'
import { Dialog, DialogActions } from '../../components/Dialog'
import { TextArea } from '../../components/TextArea'
import { useI18n } from '../../lib/i18n'
import styles from './FolderSection.module.css'

interface PatternsDialogProps {
  folder: Folder
  onClose: () => void
  /** Rejects with what is wrong with a pattern; the dialog then stays and says it. */
  onSubmit: (patterns: FolderPatterns) => Promise<void>
}

/** Asks which files of a folder are read. */
export function PatternsDialog({ folder, onClose, onSubmit }: PatternsDialogProps) {
  const { t } = useI18n()
  const [include, setInclude] = useState(folder.patterns.include.join('\n'))
  const [exclude, setExclude] = useState(folder.patterns.exclude.join('\n'))
  const [error, setError] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    try {
      await onSubmit({ include: lines(include), exclude: lines(exclude) })
      onClose()
    } catch (failure) {
      setError(asApiError(failure).message)
    } finally {
      setBusy(false)
    }
  }

  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={t('folders.chooseTitle')}
      description={t('folders.chooseBody')}
    >
      <form onSubmit={submit} className={styles.patterns}>
        <TextArea
          label={t('folders.include')}
          hint={t('folders.includeHint')}
          rows={3}
          value={include}
          onChange={setInclude}
          autoFocus
        />
        <TextArea
          label={t('folders.exclude')}
          hint={t('folders.excludeHint')}
          rows={4}
          value={exclude}
          onChange={setExclude}
        />
        {error && (
          <p role="alert" className={styles.wrong}>
            {error}
          </p>
        )}
        <DialogActions>
          <Button onClick={onClose}>{t('common.cancel')}</Button>
          <Button type="submit" look="primary" disabled={busy}>
            {t('folders.chooseAction')}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}

/** A line that ends in a backslash and a blank names a blank, so only the other end is trimmed. */
function lines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trimStart().replace(/\r$/, ''))
    .filter((line) => line.trim() !== '')
}
