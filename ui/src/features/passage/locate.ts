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

/** Where a quotation stands within a range, with white space as the text has it. */
export function locateQuote(text: string, within: Range, quote: string): Range | null {
  const words = squeeze(quote).split(' ').map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const found = new RegExp(words.join('\\s+')).exec(text.slice(within.start, within.end))
  if (!found) return null
  const start = within.start + found.index
  return { start, end: start + found[0].length }
}
