// @vitest-environment jsdom
/**
 * Where the window marks what the core cites. `tests/documents/citations.rs` writes what the API
 * gave for the documents of `tests/corpora/citations`, names that file in DOCENT_CITATIONS, and
 * judges the marks that are written beside it. On its own, this holds one passage of each kind.
 */
import { readFileSync, writeFileSync } from 'node:fs'

import { cleanup, render } from '@testing-library/react'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import { I18nProvider } from '../../lib/i18n'
import type { DocumentText } from '../../api/types'
import { locatePassage, locateQuote } from './locate'
import { TextView } from './TextView'

interface Case {
  document: DocumentText
  passage: { start: number; end: number; text: string }
  quote: string
}

interface Marks {
  /** What is marked as quoted; empty where nothing is. */
  quoted: string
  /** All that is marked, and what is shown above it. */
  passage: string
  before: string
}

beforeEach(() => {
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      observe() {}
      disconnect() {}
    },
  )
  Element.prototype.scrollIntoView = () => undefined
  Element.prototype.scrollTo = () => undefined
})

afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

function marksOf({ document, passage, quote }: Case): Marks {
  const located = locatePassage(document.text, passage)
  const quoted = located && locateQuote(document.text, located, quote)
  const { container, unmount } = render(
    <I18nProvider locale="en">
      <TextView document={document} mark={located} quote={quoted} opened={1} />
    </I18nProvider>,
  )
  const textOf = (selector: string) =>
    [...container.querySelectorAll(selector)].map((mark) => mark.textContent).join('')
  const first = container.querySelector('mark[data-quote]')
  const range = container.ownerDocument.createRange()
  range.setStart(container, 0)
  if (first) range.setEndBefore(first)
  const marks = {
    quoted: textOf('mark[data-quote]'),
    passage: textOf('mark'),
    before: first ? range.toString() : '',
  }
  unmount()
  return marks
}

it('marks a quotation in a cell of a row, and nothing else', () => {
  const text = 'Ime | Odjel\nAna | Prodaja\nIvo | Nabava'
  const document: DocumentText = {
    title: 'Plaće',
    format: 'csv',
    text,
    blocks: [
      { kind: 'table_row', level: 0, start: 0, end: 11 },
      { kind: 'table_row', level: 0, start: 12, end: 25 },
      { kind: 'table_row', level: 0, start: 26, end: 38 },
    ],
  }
  const passage = { start: 12, end: 38, text: text.slice(12) }
  expect(marksOf({ document, passage, quote: 'Nabava' })).toEqual({
    quoted: 'Nabava',
    passage: 'AnaProdajaIvoNabava',
    before: 'ImeOdjelAnaProdajaIvo',
  })
  expect(marksOf({ document, passage, quote: 'Odjel' }).quoted).toBe('')
})

it('scrolls to the mark of a short document when it opens', () => {
  const scrolled = vi.fn()
  Element.prototype.scrollIntoView = scrolled
  const text = 'prvi\n\ndrugi'
  render(
    <I18nProvider locale="en">
      <TextView
        document={{ title: 'a', format: 'text', text, blocks: [] }}
        mark={{ start: 6, end: 11 }}
        quote={null}
        opened={1}
      />
    </I18nProvider>,
  )
  expect(scrolled).toHaveBeenCalled()
})

const file = process.env['DOCENT_CITATIONS']

it.runIf(file)('writes the marks of the golden citations', () => {
  const cases = JSON.parse(readFileSync(file as string, 'utf8')) as Case[]
  expect(cases.length).toBeGreaterThan(0)
  writeFileSync(`${file as string}.marks`, JSON.stringify(cases.map(marksOf)))
})
