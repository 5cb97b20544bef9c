import { describe, expect, it } from 'vitest'

import { layOut } from './blocks'
import { locatePassage, locateQuote } from './locate'

describe('locatePassage', () => {
  const text = '😀 Uvod.\n\nRadnik ima pravo\nna odmor. Kraj.'

  it('takes the span, counted in characters', () => {
    const passage = { start: 9, end: 35, text: 'Radnik ima pravo na odmor.' }
    const found = locatePassage(text, passage)
    expect(found && text.slice(found.start, found.end)).toBe('Radnik ima pravo\nna odmor.')
  })

  it('looks for the words when the document has changed', () => {
    const changed = `Novi uvod. ${text}`
    const found = locatePassage(changed, { start: 9, end: 35, text: 'Radnik ima pravo\nna odmor.' })
    expect(found && changed.slice(found.start, found.end)).toBe('Radnik ima pravo\nna odmor.')
  })

  it('marks nothing rather than the wrong place', () => {
    expect(locatePassage('a a', { start: 9, end: 10, text: 'a' })).toBeNull()
    expect(locatePassage(text, { start: 0, end: 4, text: 'nema ga' })).toBeNull()
    expect(locatePassage('', { start: 0, end: 0, text: '' })).toBeNull()
  })
})

describe('locateQuote', () => {
  it('finds a quotation across line ends, within the passage alone', () => {
    const text = 'Ima pravo (24). x\nIma  pravo\n(24). y'
    const found = locateQuote(text, { start: 18, end: text.length }, 'Ima pravo (24).')
    expect(found && text.slice(found.start, found.end)).toBe('Ima  pravo\n(24).')
    expect(locateQuote(text, { start: 0, end: 10 }, 'Ima pravo (24).')).toBeNull()
  })
})

describe('a quotation that could be elsewhere', () => {
  const text = 'Pumps last. | Pump | 60 | Čepovi [x] + y'
  const whole = { start: 0, end: text.length }
  const found = (quote: string) => {
    const range = locateQuote(text, whole, quote)
    return range && [range.start, text.slice(range.start, range.end)]
  }
  it('is marked as a whole word', () => expect(found('Pump')).toEqual([14, 'Pump']))
  it('is not a part of a word', () => expect(found('epovi')).toBeNull())
  it('is not marked twice', () => expect(found('|')).toBeNull())
  it('may hold signs', () => expect(found('[x] + y')).toEqual([33, '[x] + y']))
})

describe('layOut', () => {
  it('covers all text that has letters, in order', () => {
    const text = '# Naslov\n\nUvod 😀.\n\nBez bloka.\n\n- prva\n- druga\n'
    const block = (kind: 'heading' | 'paragraph' | 'list_item', part: string, level = 0) => {
      const start = [...text.slice(0, text.indexOf(part))].length
      return { kind, level, start, end: start + [...part].length }
    }
    const blocks = layOut({
      text,
      blocks: [
        block('list_item', 'druga'),
        block('heading', 'Naslov', 1),
        block('paragraph', 'Uvod 😀.'),
        block('list_item', 'prva'),
      ],
    })
    expect(blocks.map(({ kind, start, end }) => [kind, text.slice(start, end)])).toEqual([
      ['heading', 'Naslov'],
      ['paragraph', 'Uvod 😀.'],
      ['paragraph', 'Bez bloka.'],
      ['list_item', 'prva'],
      ['list_item', 'druga'],
    ])
  })

  it('divides a text without blocks into its paragraphs', () => {
    const text = '\n\nprvi\nredak\n\n\n  drugi  \n'
    const blocks = layOut({ text, blocks: [] })
    expect(blocks.map(({ start, end }) => text.slice(start, end))).toEqual(['prvi\nredak', 'drugi'])
  })
})
