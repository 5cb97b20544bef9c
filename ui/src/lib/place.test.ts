import { describe, expect, it } from 'vitest'

import { createI18n } from './i18n'
import { headingsBeside, placeLabel, type Place } from './place'

const cells = (sheet: string | null, range: string | null): Place => ({
  kind: 'cells',
  sheet,
  range,
  first_row: 5,
  last_row: 12,
})

describe('placeLabel', () => {
  it.each<[Place, string, string]>([
    [{ kind: 'pages', first: 3, last: 3 }, 'page 3', '3. stranica'],
    [{ kind: 'pages', first: 3, last: 4 }, 'pages 3–4', '3. – 4. stranica'],
    [{ kind: 'slides', first: 7, last: 7 }, 'slide 7', '7. slajd'],
    [{ kind: 'slides', first: 7, last: 9 }, 'slides 7–9', '7. – 9. slajd'],
    [cells('Plaće', 'A5:F12'), 'Plaće!A5:F12', 'Plaće!A5:F12'],
    [cells("Ana's 2026", 'A5:F12'), "'Ana''s 2026'!A5:F12", "'Ana''s 2026'!A5:F12"],
    [cells('Plaće', null), 'Plaće', 'Plaće'],
    [cells(null, 'A5:F12'), 'rows 5–12', '5. – 12. redak'],
    [{ kind: 'message' }, 'message', 'poruka'],
    [{ kind: 'attachment', name: 'a.docx' }, 'attachment a.docx', 'prilog a.docx'],
  ])('%j', (place, english, croatian) => {
    expect(placeLabel(createI18n('en'), { place })).toBe(english)
    expect(placeLabel(createI18n('hr'), { place })).toBe(croatian)
  })

  it('falls back on the page, and on nothing', () => {
    expect(placeLabel(createI18n('en'), { place: null, page: 2 })).toBe('page 2')
    expect(placeLabel(createI18n('en'), { page: null })).toBeNull()
  })
})

it('headings do not repeat the place', () => {
  expect(headingsBeside(['Slide 3: Plan', 'Notes'], { kind: 'slides', first: 3, last: 3 })).toEqual([
    'Plan',
    'Notes',
  ])
  expect(headingsBeside(['Slide 3'], { kind: 'slides', first: 3, last: 3 })).toEqual([])
  expect(headingsBeside(['Sheet: Plaće', 'Ime | Iznos'], cells('Plaće', 'A5:F12'))).toEqual([
    'Ime | Iznos',
  ])
  expect(
    headingsBeside(['Ponuda', 'Attachment: a.docx', 'Uvod'], { kind: 'attachment', name: 'a.docx' }),
  ).toEqual(['Ponuda', 'Uvod'])
  expect(headingsBeside(['Uvod'], null)).toEqual(['Uvod'])
})
