import { describe, expect, it } from 'vitest'

import { CodePointIndex } from './codepoints'

describe('CodePointIndex', () => {
  it.each(['', 'plain', 'Čvor i žaba', '😀', 'a😀b😀😀c', '👨‍👩‍👧 obitelj', 'x'.repeat(50) + '𝕏y'])(
    'agrees with an iteration over %j',
    (text) => {
      const index = new CodePointIndex(text)
      let utf16 = 0
      let scalar = 0
      for (const character of text) {
        expect(index.toUtf16(scalar)).toBe(utf16)
        utf16 += character.length
        scalar += 1
      }
      expect(index.toUtf16(scalar)).toBe(text.length)
    },
  )

  it('holds offsets from elsewhere within the text', () => {
    const index = new CodePointIndex('a😀b')
    expect(index.toUtf16(99)).toBe(4)
    expect(index.toUtf16(-1)).toBe(0)
  })

  it('counts a lone surrogate as one character', () => {
    expect(new CodePointIndex('\ud83dx').toUtf16(2)).toBe(2)
  })
})
