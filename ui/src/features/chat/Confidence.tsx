import { useI18n } from '../../lib/i18n'
import { classes } from '../../lib/classes'
import styles from './Confidence.module.css'

/** The calibrated chance that the documents answer the question, in three words. */
export function Confidence({ value }: { value: number }) {
  const { t, percent } = useI18n()
  const level = value >= 0.75 ? 'high' : value >= 0.45 ? 'medium' : 'low'
  const bars = { high: 3, medium: 2, low: 1 }[level]
  const detail = t('confidence.detail', { percent: percent(value) })
  return (
    <span
      className={styles.confidence}
      title={level === 'low' ? `${detail}. ${t('confidence.lowHint')}` : detail}
    >
      <span className={classes(styles.bars, styles[level])} aria-hidden>
        {[1, 2, 3].map((bar) => (
          <span key={bar} className={classes(styles.bar, bar <= bars && styles.on)} />
        ))}
      </span>
      {t(`confidence.${level}`)}
      <span className="visually-hidden">, {detail}</span>
    </span>
  )
}
