import { squeeze } from '../../lib/citations'
import { CodePointIndex } from '../../lib/codepoints'

export interface Range {
  start: number
  end: number
}

/**
 * Where a cited passage stands in the text, in UTF-16 offsets; `null` when it is not there any
 * more. The span is right as long as the document has not changed. If it has, the passage is
 * looked for by its words, and only a single match counts: a wrong mark is worse than none.
 */
export function locatePassage(
  text: string,
  passage: { start: number; end: number; text: string },
): Range | null {
  const index = new CodePointIndex(text)
  const start = index.toUtf16(passage.start)
  const end = index.toUtf16(passage.end)
  if (end > start && squeeze(text.slice(start, end)) === squeeze(passage.text)) {
    return { start, end }
  }
  const first = text.indexOf(passage.text)
  if (passage.text && first >= 0 && text.indexOf(passage.text, first + 1) < 0) {
    return { start: first, end: first + passage.text.length }
  }
  return null
}

/**
 * Where a quotation stands within a range, with white space as the text has it. Only whole words
 * and a single match count: the passage is marked in any case, and a wrong mark is worse than none.
 */
export function locateQuote(text: string, within: Range, quote: string): Range | null {
  const words = squeeze(quote)
    .split(' ')
    .map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'))
  const whole = (side: string) => (/[\p{L}\p{N}]/u.test(side) ? '[\\p{L}\\p{N}]' : '')
  const [before, after] = [whole([...quote.trim()][0] ?? ''), whole([...quote.trim()].at(-1) ?? '')]
  const pattern = `${before && `(?<!${before})`}${words.join('\\s+')}${after && `(?!${after})`}`
  const found = [...text.slice(within.start, within.end).matchAll(new RegExp(pattern, 'gu'))]
  const [only] = found
  if (!only || found.length > 1 || !only[0]) return null
  const start = within.start + only.index
  return { start, end: start + only[0].length }
}
