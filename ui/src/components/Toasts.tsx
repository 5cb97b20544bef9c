import { X } from 'lucide-react'

import { classes } from '../lib/classes'
import { useI18n } from '../lib/i18n'
import { useNoticeList, useNotices } from '../lib/notices'
import { IconButton } from './Button'
import styles from './Toasts.module.css'

export function Toasts() {
  const { t } = useI18n()
  const { dismiss } = useNotices()
  const list = useNoticeList()
  return (
    <div
      className={styles.stack}
      role="status"
      aria-live="polite"
      // They lie over dialogs and menus, which would take a click here for one beside them and close.
      onPointerDown={(event) => event.stopPropagation()}
    >
      {list.map((notice) => (
        <div
          key={notice.id}
          className={classes(styles.toast, notice.kind === 'error' && styles.error)}
        >
          <div className={styles.body}>
            <p>{notice.text}</p>
            {notice.details && notice.details.length > 0 && (
              <ul className={styles.details}>
                {notice.details.map((detail) => (
                  <li key={detail}>{detail}</li>
                ))}
              </ul>
            )}
            {notice.action && (
              <button
                type="button"
                className={styles.action}
                onClick={() => {
                  notice.action?.onChoose()
                  dismiss(notice.id)
                }}
              >
                {notice.action.label}
              </button>
            )}
          </div>
          <IconButton
            size="s"
            label={t('common.close')}
            icon={<X size={15} />}
            onClick={() => dismiss(notice.id)}
          />
        </div>
      ))}
    </div>
  )
}
