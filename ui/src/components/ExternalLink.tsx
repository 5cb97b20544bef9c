import { Popover } from 'radix-ui'
import type { ReactNode } from 'react'

import { useI18n } from '../lib/i18n'
import { useNotices } from '../lib/notices'
import { useOpenExternal } from '../lib/external'
import { Button } from './Button'
import styles from './ExternalLink.module.css'

/** A link out of the application: the first click shows the whole host, the second one goes. */
export function ExternalLink({ href, children }: { href: string; children: ReactNode }) {
  const { t } = useI18n()
  const notices = useNotices()
  const openExternal = useOpenExternal()
  const url = parse(href)
  if (!url) return <>{children}</>

  const copy = () => navigator.clipboard.writeText(url.href)
  const open = () =>
    openExternal(url.href).catch(() => {
      void copy()
      notices.warn(t('link.failed'))
    })
  return (
    <Popover.Root>
      <Popover.Trigger className={styles.link} title={url.href}>
        {children}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content className={styles.popover} sideOffset={6} collisionPadding={12}>
          <p className={styles.label}>{t('link.opens')}</p>
          <p className={styles.host}>{url.host || url.pathname}</p>
          <p className={styles.address}>{url.href}</p>
          <div className={styles.actions}>
            <Popover.Close asChild>
              <Button size="s" onClick={() => void copy()}>
                {t('link.copy')}
              </Button>
            </Popover.Close>
            <Popover.Close asChild>
              <Button size="s" look="primary" onClick={() => void open()}>
                {t('link.open')}
              </Button>
            </Popover.Close>
          </div>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}

/** Web and mail addresses; anything else, and what is no address at all, is no link. */
function parse(href: string): URL | null {
  try {
    const url = new URL(href)
    return ['https:', 'http:', 'mailto:'].includes(url.protocol) ? url : null
  } catch {
    return null
  }
}
