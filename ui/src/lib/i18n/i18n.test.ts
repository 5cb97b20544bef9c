import { describe, expect, it } from 'vitest'

import type { Plural } from './catalogue'
import { CATALOGUES, createI18n, systemLocale } from './index'

type Entries = [string, string | Plural][]

const entries = (locale: 'en' | 'hr') => Object.entries(CATALOGUES[locale]) as Entries

function placeholders(message: string | Plural): string[] {
  const text = typeof message === 'string' ? message : message.other
  return [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string).sort()
}

describe('the catalogues', () => {
  it('have the same keys', () => {
    expect(entries('hr').map(([key]) => key).sort()).toEqual(
      entries('en').map(([key]) => key).sort(),
    )
  })

  it.each(entries('en'))('translate %s with the same placeholders', (key, english) => {
    const croatian = CATALOGUES.hr[key as keyof typeof CATALOGUES.hr]
    expect(placeholders(croatian)).toEqual(placeholders(english))
  })

  it.each(['en', 'hr'] as const)('have every plural form that %s needs', (locale) => {
    const needed = new Intl.PluralRules(locale).resolvedOptions().pluralCategories
    for (const [key, message] of entries(locale)) {
      if (typeof message === 'string') {
        expect(message.trim(), key).not.toBe('')
      } else {
        expect(Object.keys(message).sort(), key).toEqual([...needed].sort())
        expect(new Set(Object.values(message).map(placeholders).map(String)).size, key).toBe(1)
      }
    }
  })
})

describe('createI18n', () => {
  it('chooses the plural form by the language', () => {
    const { t } = createI18n('hr')
    const said = [1, 2, 5, 11, 21, 22, 1000].map((count) => t('documents.count', { count }))
    expect(said).toEqual([
      '1 dokument',
      '2 dokumenta',
      '5 dokumenata',
      '11 dokumenata',
      '21 dokument',
      '22 dokumenta',
      '1.000 dokumenata',
    ])
  })

  it('agrees with every number that it says', () => {
    const { t } = createI18n('hr')
    const left = (count: number) => t('embedder.progress', { done: 1, count })
    expect([1, 21, 22, 25].map(left)).toEqual([
      '1 od 1 odlomka',
      '1 od 21 odlomka',
      '1 od 22 odlomka',
      '1 od 25 odlomaka',
    ])
    expect(t('chat.stillReading', { done: 1, count: 31 })).toContain('1 od 31 dokumenta.')
    expect(t('jobs.retried', { count: 6 })).toBe('Ponovno se pokušava: 6 datoteka.')
    const advice = (count: number) => t('advice.too_big', { count })
    expect([1, 13].map(advice)).toEqual([
      'Podijelite ga na manje datoteke.',
      'Podijelite ih na manje datoteke.',
    ])
  })

  it('fills in text as it is, also when it looks like a placeholder or a pattern', () => {
    const { t } = createI18n('en')
    expect(t('workspace.deleteTitle', { name: '{name} $& $1' })).toBe('Delete “{name} $& $1”?')
  })

  it('shows sizes and ages', () => {
    const { bytes, ago } = createI18n('en')
    expect([0, 999, 1000, 9_949, 9_950, 1_117_320_736].map(bytes)).toEqual([
      '0\u00a0B',
      '999\u00a0B',
      '1.0\u00a0kB',
      '9.9\u00a0kB',
      '10\u00a0kB',
      '1.1\u00a0GB',
    ])
    const now = 1_000_000_000
    expect(ago(now - 3 * 60_000, now)).toBe('3 minutes ago')
    expect(ago(now + 60_000, now), 'a clock that runs behind').toBe('now')
  })
})

describe('systemLocale', () => {
  it('takes the first language that there is', () => {
    expect(systemLocale(['de-DE', 'hr-HR', 'en-US'])).toBe('hr')
    expect(systemLocale(['bs-Latn-BA'])).toBe('hr')
    expect(systemLocale(['de'])).toBe('en')
    expect(systemLocale([])).toBe('en')
  })
})
