import { useEffect, useState, type FormEvent, type ReactNode } from 'react'

import { useI18n } from '../lib/i18n'
import { Button } from './Button'
import { Dialog, DialogActions } from './Dialog'
import { TextField } from './TextField'

interface NameDialogProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: string
  description?: string
  label: string
  placeholder?: string
  initial?: string
  action: string
  /** Rejects with what is wrong; the dialog then stays and says it. */
  onSubmit: (name: string) => Promise<void>
  describeError: (error: unknown) => ReactNode
  inputTestId?: string
  submitTestId?: string
}

/** Asks for one line of text. */
export function NameDialog({
  open,
  onOpenChange,
  title,
  description,
  label,
  placeholder,
  initial = '',
  action,
  onSubmit,
  describeError,
  inputTestId,
  submitTestId,
}: NameDialogProps) {
  const { t } = useI18n()
  const [name, setName] = useState(initial)
  const [error, setError] = useState<ReactNode>(null)
  const [busy, setBusy] = useState(false)

  useEffect(() => {
    if (open) {
      setName(initial)
      setError(null)
    }
  }, [open, initial])

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy || !name.trim()) return
    setBusy(true)
    try {
      await onSubmit(name.trim())
      onOpenChange(false)
    } catch (failure) {
      setError(describeError(failure))
    } finally {
      setBusy(false)
    }
  }

  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title={title}
      {...(description && { description })}
    >
      <form onSubmit={submit}>
        <TextField
          label={label}
          value={name}
          onChange={setName}
          placeholder={placeholder}
          error={error}
          autoFocus
          data-testid={inputTestId}
        />
        <DialogActions>
          <Button onClick={() => onOpenChange(false)}>{t('common.cancel')}</Button>
          <Button
            type="submit"
            look="primary"
            disabled={busy || !name.trim()}
            data-testid={submitTestId}
          >
            {action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  )
}
