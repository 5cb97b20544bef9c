import { X } from 'lucide-react'
import { Dialog as Radix, VisuallyHidden } from 'radix-ui'
import type { ReactNode } from 'react'

import { classes } from '../lib/classes'
import { useI18n } from '../lib/i18n'
import { IconButton } from './Button'
import { useFocusBack } from './focus'
import styles from './Dialog.module.css'

interface DialogProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: string
  /** Read with the title; shown below it unless the title is hidden. */
  description?: string
  hideTitle?: boolean
  wide?: boolean
  children: ReactNode
}

/** A window in front of the page, with the focus kept inside and given back afterwards. */
export function Dialog({
  open,
  onOpenChange,
  title,
  description,
  hideTitle,
  wide,
  children,
}: DialogProps) {
  const { t } = useI18n()
  const focusBack = useFocusBack(open)
  const heading = (
    <>
      <Radix.Title className={styles.title}>{title}</Radix.Title>
      {description && (
        <Radix.Description className={styles.description}>{description}</Radix.Description>
      )}
    </>
  )
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      <Radix.Portal>
        <Radix.Overlay className={styles.scrim} />
        <Radix.Content
          className={classes(styles.dialog, wide && styles.wide)}
          data-modal
          {...focusBack}
          {...(!description && { 'aria-describedby': undefined })}
        >
          {hideTitle ? (
            <VisuallyHidden.Root>{heading}</VisuallyHidden.Root>
          ) : (
            <header className={styles.header}>
              <div>{heading}</div>
              <Radix.Close asChild>
                <IconButton label={t('common.close')} icon={<X size={18} />} />
              </Radix.Close>
            </header>
          )}
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

export function DialogActions({ children }: { children: ReactNode }) {
  return <div className={styles.actions}>{children}</div>
}
