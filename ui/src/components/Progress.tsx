import { classes } from '../lib/classes'
import styles from './Progress.module.css'

interface ProgressProps {
  /** What is progressing, for screen readers. */
  label: string
  done: number
  /** 0 while unknown. */
  total: number
  className?: string | undefined
}

export function Progress({ label, done, total, className }: ProgressProps) {
  const known = total > 0
  const percent = known ? Math.min(100, (done / total) * 100) : 0
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? Math.round(percent) : undefined}
      className={classes(styles.track, !known && styles.unknown, className)}
    >
      <div className={styles.bar} style={known ? { width: `${percent}%` } : undefined} />
    </div>
  )
}
