import { CircleAlert, TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'

import { classes } from '../lib/classes'
import styles from './Notice.module.css'

interface NoticeProps {
  kind: 'error' | 'caution'
  title: string
  children?: ReactNode
  actions?: ReactNode
}

/** Something went wrong, or wants attention, at the place where it did. */
export function Notice({ kind, title, children, actions }: NoticeProps) {
  const Icon = kind === 'error' ? CircleAlert : TriangleAlert
  return (
    <div className={classes(styles.notice, styles[kind])} role={kind === 'error' ? 'alert' : 'note'}>
      <Icon size={17} aria-hidden className={styles.icon} />
      <div className={styles.body}>
        <p className={styles.title}>{title}</p>
        {children && <div className={styles.text}>{children}</div>}
        {actions && <div className={styles.actions}>{actions}</div>}
      </div>
    </div>
  )
}
