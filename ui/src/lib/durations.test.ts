import { expect, it } from 'vitest'

import { spoken } from './durations'
import { createI18n } from './i18n'

it('says times no more exactly than they are known', () => {
  const said = [0, 59, 60, 95, 3599, 3600, 5400, 90_000].map((s) => spoken(s, createI18n('en')))
  expect(said).toEqual([
    'less than a minute',
    'less than a minute',
    '1 min',
    '2 min',
    '1 h',
    '1 h',
    '1 h 30 min',
    '25 h',
  ])
  expect(spoken(10, createI18n('hr'))).toBe('manje od minute')
})
