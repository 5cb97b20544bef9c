import { AlertDialog } from 'radix-ui'

import { useI18n } from '../lib/i18n'
import { Button } from './Button'
import dialog from './Dialog.module.css'
import { useFocusBack } from './focus'

interface ConfirmDialogProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: string
  body: string
  /** What the button does, as a verb. */
  action: string
  dangerous?: boolean
  onConfirm: () => void
}

/** Asks before something that cannot be taken back. The safe button has the focus. */
export function ConfirmDialog({
  open,
  onOpenChange,
  title,
  body,
  action,
  dangerous = true,
  onConfirm,
}: ConfirmDialogProps) {
  const { t } = useI18n()
  const focusBack = useFocusBack(open)
  return (
    <AlertDialog.Root open={open} onOpenChange={onOpenChange}>
      <AlertDialog.Portal>
        <AlertDialog.Overlay className={dialog.scrim} />
        <AlertDialog.Content className={dialog.dialog} data-modal {...focusBack}>
          <AlertDialog.Title className={dialog.title}>{title}</AlertDialog.Title>
          <AlertDialog.Description className={dialog.description}>{body}</AlertDialog.Description>
          <div className={dialog.actions}>
            <AlertDialog.Cancel asChild>
              <Button>{t('common.cancel')}</Button>
            </AlertDialog.Cancel>
            <AlertDialog.Action asChild>
              <Button look={dangerous ? 'danger' : 'primary'} onClick={onConfirm}>
                {action}
              </Button>
            </AlertDialog.Action>
          </div>
        </AlertDialog.Content>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  )
}
