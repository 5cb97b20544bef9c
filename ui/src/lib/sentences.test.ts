import { describe, expect, it } from 'vitest'

import { spoken, wholeSentences } from './sentences'

describe('wholeSentences', () => {
  it.each([
    ['Da. Ne', 'Da.'],
    ['Da [1]. Ne', 'Da [1].'],
    ['Rekao je „da.” I', 'Rekao je „da.”'],
    ['Prvi redak\nDrugi', 'Prvi redak\n'],
    ['Bez kraja', ''],
    ['Na kraju.', ''],
  ])('of %j is %j', (text, whole) => expect(wholeSentences(text)).toBe(whole))
})

describe('spoken', () => {
  it('reads no marks out', () => {
    expect(spoken('**Da**, prema `pravilniku` [1][2].')).toBe('Da, prema pravilniku.')
  })
})
