/** Texts, numbers and dates in the chosen language. */
import { createContext, useContext, useMemo, type ReactNode } from 'react'

import type { Catalogue, Key, Locale, Plural, Values } from './catalogue'
import { en } from './en'
import { hr } from './hr'

export type { Key, Locale } from './catalogue'

export const CATALOGUES: Record<Locale, Catalogue> = { en, hr }

export interface I18n {
  readonly locale: Locale
  t<K extends Key>(key: K, ...values: Values<K>): string
  number(value: number): string
  percent(fraction: number): string
  /** A size in decimal units, as file managers show it. */
  bytes(size: number): string
  /** “3 minutes ago”; a clock that runs behind never yields the future. */
  ago(at: number, now?: number): string
  /** “24 November”. */
  day(at: number): string
}

export function createI18n(locale: Locale): I18n {
  const catalogue = CATALOGUES[locale]
  const plurals = new Intl.PluralRules(locale)
  const numbers = new Intl.NumberFormat(locale)
  const percents = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 })
  const days = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'long' })
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })

  const fill = (text: string, values: Record<string, string | number> | undefined) =>
    text.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values?.[name]
      if (value === undefined) return whole
      return typeof value === 'number' ? numbers.format(value) : value
    })

  return {
    locale,
    t(key, ...rest) {
      const message: string | Plural = catalogue[key]
      const values = rest[0] as Record<string, string | number> | undefined
      if (typeof message === 'string') return fill(message, values)
      const form = plurals.select(Number(values?.['count'] ?? 0))
      return fill((form !== 'zero' && message[form]) || message.other, values)
    },
    number: (value) => numbers.format(value),
    percent: (fraction) => percents.format(fraction),
    bytes(size) {
      const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const
      let value = size
      let unit = 0
      while (value >= 999.5 && unit < units.length - 1) {
        value /= 1000
        unit += 1
      }
      const digits = unit > 0 && value < 9.95 ? 1 : 0
      const shown = new Intl.NumberFormat(locale, {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      }).format(value)
      return `${shown}\u00a0${units[unit]}`
    },
    day: (at) => days.format(at),
    ago(at, now = Date.now()) {
      const seconds = Math.min(0, (at - now) / 1000)
      if (seconds > -60) return relative.format(0, 'second')
      if (seconds > -3600) return relative.format(Math.trunc(seconds / 60), 'minute')
      if (seconds > -86_400) return relative.format(Math.trunc(seconds / 3600), 'hour')
      return relative.format(Math.trunc(seconds / 86_400), 'day')
    },
  }
}

/** The first of the system's languages that there is a catalogue for. */
export function systemLocale(languages: readonly string[] = navigator.languages): Locale {
  for (const language of languages) {
    const base = language.toLowerCase().split('-')[0]
    // Readers of the neighbouring standards read Croatian.
    if (base === 'hr' || base === 'bs' || base === 'sh') return 'hr'
    if (base === 'en') return 'en'
  }
  return 'en'
}

const I18nContext = createContext<I18n | null>(null)

export function I18nProvider({ locale, children }: { locale: Locale; children: ReactNode }) {
  const i18n = useMemo(() => createI18n(locale), [locale])
  return <I18nContext value={i18n}>{children}</I18nContext>
}

export function useI18n(): I18n {
  const i18n = useContext(I18nContext)
  if (!i18n) throw new Error('BUG: useI18n outside of I18nProvider')
  return i18n
}
