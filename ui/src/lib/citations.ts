/** `[n]` in the text of an answer: finding it, and making it an element of the rendered page. */

export type Run = { kind: 'text'; text: string } | { kind: 'citation'; n: number }

/** `[3]`, and the looser `[1, 3]` and `[1][3]` that small models write. */
const CITATION = /\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]/g

/**
 * Divides text at its citations. A number that no passage has stays text, so that nothing can be
 * clicked that leads nowhere.
 */
export function splitCitations(text: string, exists: (n: number) => boolean): Run[] {
  const runs: Run[] = []
  let end = 0
  for (const match of text.matchAll(CITATION)) {
    const numbers = (match[1] as string).split(/[,;]/).map(Number)
    if (!numbers.every(exists)) continue
    if (match.index > end) runs.push({ kind: 'text', text: text.slice(end, match.index) })
    for (const n of numbers) runs.push({ kind: 'citation', n })
    end = match.index + match[0].length
  }
  if (end < text.length) runs.push({ kind: 'text', text: text.slice(end) })
  return runs
}

/**
 * The text without a citation that has only begun to arrive: tokens split `[12]` anywhere, and a
 * bracket that turns into a button under the reader's eyes is restless.
 */
export function withoutOpenCitation(text: string): string {
  return text.replace(/\s?\[(?:\d{1,3}(?:\s*[,;]\s*\d{0,3})*)?$/, '')
}

/** Quotation marks of both languages, in pairs as they are written. */
const QUOTED = /[„“"«»]([^„“”"«»]{12,})[”“"»«]/g

/** The longest thing that an answer quotes word for word from a passage. */
export function quoteFrom(answer: string, passage: string): string | undefined {
  const within = squeeze(passage)
  const quotes = [...answer.matchAll(QUOTED)]
    .map((match) => squeeze((match[1] as string).replace(/\s?\[\d+\]/g, '')))
    .filter((quote) => within.includes(quote))
  return quotes.sort((a, b) => b.length - a.length)[0]
}

/** White space does not distinguish texts: it is what formats disagree about. */
export function squeeze(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}

interface Node {
  type: string
  value?: string
  tagName?: string
  properties?: Record<string, unknown>
  children?: Node[]
}

/** Elements whose text is quoted as it is. */
const VERBATIM = new Set(['code', 'pre', 'a', 'kbd', 'samp'])

/** What a citation is kept on one line with: the word that it stands behind, and a stop after. */
const WORD_BEFORE = /(\S{1,40})\s*$/
const STOP_AFTER = /^[.,;:!?)\]”"’]+/
const NARROW_NO_BREAK_SPACE = '\u202f'

/** The runs as nodes, citations in groups that do not break. */
function toNodes(runs: readonly Run[]): Node[] {
  const nodes: Node[] = []
  let group: Node[] | null = null
  runs.forEach((run, at) => {
    if (run.kind === 'citation') {
      group ??= []
      group.push({ type: 'element', tagName: 'citation-ref', properties: { n: run.n }, children: [] })
      return
    }
    let { text } = run
    if (group) {
      const stop = STOP_AFTER.exec(text)?.[0] ?? ''
      if (stop) group.push({ type: 'text', value: stop })
      nodes.push(citationGroup(group))
      group = null
      text = text.slice(stop.length)
    }
    const word = runs[at + 1] && WORD_BEFORE.exec(text)
    if (word) {
      const spaced = word[0] !== word[1]
      group = [{ type: 'text', value: `${word[1]}${spaced ? NARROW_NO_BREAK_SPACE : ''}` }]
      text = text.slice(0, word.index)
    }
    if (text) nodes.push({ type: 'text', value: text })
  })
  if (group) nodes.push(citationGroup(group))
  return nodes
}

function citationGroup(children: Node[]): Node {
  return { type: 'element', tagName: 'span', properties: { className: 'citation-group' }, children }
}

/** A rehype plugin that makes `<citation-ref n>` of citations, in text and never in code. */
export function rehypeCitations({ exists }: { exists: (n: number) => boolean }) {
  const visit = (node: Node) => {
    if (!node.children || (node.tagName && VERBATIM.has(node.tagName))) return
    node.children = node.children.flatMap((child): Node[] => {
      if (child.type !== 'text' || !child.value?.includes('[')) {
        visit(child)
        return [child]
      }
      return toNodes(splitCitations(child.value, exists))
    })
  }
  return (tree: Node) => visit(tree)
}
