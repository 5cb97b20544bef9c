import type { I18n } from './i18n'

/** A time as one says it: no more exact than it is known. */
export function spoken(seconds: number, { t }: Pick<I18n, 't'>): string {
  if (seconds < 60) return t('time.underMinute')
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return t('time.minutes', { minutes })
  const rest = minutes % 60
  const hours = Math.floor(minutes / 60)
  return rest === 0 ? t('time.hours', { hours }) : t('time.hoursMinutes', { hours, minutes: rest })
}
