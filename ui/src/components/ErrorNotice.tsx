import type { ReactNode } from 'react'

import { useI18n } from '../lib/i18n'
import { Button } from './Button'
import { Notice } from './Notice'

interface ErrorNoticeProps {
  /** From the error's code, in the user's language. */
  title: string
  /** The core's own words. */
  message?: string | undefined
  hint?: string | null | undefined
  onRetry?: (() => void) | undefined
  actions?: ReactNode
}

export function ErrorNotice({ title, message, hint, onRetry, actions }: ErrorNoticeProps) {
  const { t } = useI18n()
  return (
    <Notice
      kind="error"
      title={title}
      actions={
        (onRetry || actions) && (
          <>
            {onRetry && (
              <Button size="s" onClick={onRetry}>
                {t('common.retry')}
              </Button>
            )}
            {actions}
          </>
        )
      }
    >
      {message && <p>{message}</p>}
      {hint && <p>{hint}</p>}
    </Notice>
  )
}
