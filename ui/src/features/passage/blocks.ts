import type { DocumentText, TextBlock } from '../../api/types'
import { CodePointIndex } from '../../lib/codepoints'

/** A block of a document in UTF-16 offsets. */
export interface Block {
  kind: TextBlock['kind']
  level: number
  start: number
  end: number
}

/**
 * The blocks of a document in order, without gaps that have text: what no block covers becomes a
 * paragraph, so that no passage is ever invisible.
 */
export function layOut({ text, blocks }: Pick<DocumentText, 'text' | 'blocks'>): Block[] {
  const index = new CodePointIndex(text)
  const sorted = blocks
    .map((block) => ({
      kind: block.kind,
      level: block.level,
      start: index.toUtf16(block.start),
      end: index.toUtf16(block.end),
    }))
    .sort((a, b) => a.start - b.start)

  const laidOut: Block[] = []
  let at = 0
  for (const block of sorted) {
    if (block.start > at) laidOut.push(...paragraphs(text, at, block.start))
    const start = Math.max(at, block.start)
    if (block.end > start) laidOut.push({ ...block, start })
    at = Math.max(at, block.end)
  }
  laidOut.push(...paragraphs(text, at, text.length))
  return laidOut
}

function paragraphs(text: string, from: number, to: number): Block[] {
  const found: Block[] = []
  const paragraph = /\S(?:[\s\S]*?\S)??(?=\s*\n\s*\n|\s*$)/g
  const slice = text.slice(from, to)
  for (const match of slice.matchAll(paragraph)) {
    // Bullets, hashes and rules between blocks: the blocks' own looks stand for them.
    if (!/[\p{L}\p{N}]/u.test(match[0])) continue
    const start = from + match.index
    found.push({ kind: 'paragraph', level: 0, start, end: start + match[0].length })
  }
  return found
}
