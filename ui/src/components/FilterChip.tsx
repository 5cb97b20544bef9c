import { classes } from '../lib/classes'
import { useI18n } from '../lib/i18n'
import styles from './FilterChip.module.css'

interface FilterChipProps {
  active: boolean
  label: string
  count: number
  tone?: 'danger' | undefined
  onClick: () => void
}

/** One way to narrow a list, with how much it would leave. */
export function FilterChip({ active, label, count, tone, onClick }: FilterChipProps) {
  const { number } = useI18n()
  return (
    <button
      type="button"
      className={classes(styles.chip, active && styles.active, tone && styles[tone])}
      aria-pressed={active}
      onClick={onClick}
    >
      {label} <span className={styles.count}>{number(count)}</span>
    </button>
  )
}
