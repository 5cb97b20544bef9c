import { describe, expect, it } from 'vitest'

import { quoteFrom, rehypeCitations, splitCitations, withoutOpenCitation } from './citations'

const upTo = (last: number) => (n: number) => n >= 1 && n <= last

describe('splitCitations', () => {
  it('finds single, joined and listed numbers', () => {
    expect(splitCitations('A [1], b [2][3]; c [1, 3].', upTo(3))).toEqual([
      { kind: 'text', text: 'A ' },
      { kind: 'citation', n: 1 },
      { kind: 'text', text: ', b ' },
      { kind: 'citation', n: 2 },
      { kind: 'citation', n: 3 },
      { kind: 'text', text: '; c ' },
      { kind: 'citation', n: 1 },
      { kind: 'citation', n: 3 },
      { kind: 'text', text: '.' },
    ])
  })

  it.each(['a[i]', '[0]', '[4]', '[1, 9]', '[]', '[1', '1]', '[ 1 ]', '[1234]', '[-1]', '[1.5]'])(
    'leaves %s as it is',
    (text) => expect(splitCitations(text, upTo(3))).toEqual([{ kind: 'text', text }]),
  )

  it('loses no character', () => {
    const text = 'Č [1] 😀[2] [7] kraj'
    const joined = splitCitations(text, upTo(2))
      .map((run) => (run.kind === 'text' ? run.text : `[${run.n}]`))
      .join('')
    expect(joined).toBe(text)
  })
})

describe('withoutOpenCitation', () => {
  it('shows a citation that comes in pieces only when it is whole', () => {
    const tokens = ['Tako', ' piše', ' [', '1', '2', ']', ' i', ' [1', ', ', '3', '].']
    const shown = tokens.map((_, last) => withoutOpenCitation(tokens.slice(0, last + 1).join('')))
    expect(shown).toEqual([
      'Tako',
      'Tako piše',
      'Tako piše',
      'Tako piše',
      'Tako piše',
      'Tako piše [12]',
      'Tako piše [12] i',
      'Tako piše [12] i',
      'Tako piše [12] i',
      'Tako piše [12] i',
      'Tako piše [12] i [1, 3].',
    ])
  })

  it('holds back nothing else', () => {
    for (const text of ['a [b', 'x[1] ', '- [ ] task', '[link](', 'array[index']) {
      expect(withoutOpenCitation(text)).toBe(text)
    }
  })
})

describe('quoteFrom', () => {
  it.each([
    'U dokumentima piše: „Radnik ima pravo na odmor.” [1]',
    'It says "Radnik ima pravo na odmor." [1].',
    'Piše »Radnik ima pravo na odmor. [1]«',
  ])('finds what %s quotes', (answer) => {
    expect(quoteFrom(answer, 'Uvod. Radnik ima\npravo na odmor. Kraj.')).toBe(
      'Radnik ima pravo na odmor.',
    )
  })

  it('takes nothing for a quotation that is not in the passage word for word', () => {
    expect(quoteFrom('„Radnik nema prava na odmor.” [1]', 'Radnik ima pravo.')).toBeUndefined()
    expect(quoteFrom('Radnik ima pravo. [1]', 'Radnik ima pravo.')).toBeUndefined()
  })
})

describe('rehypeCitations', () => {
  type Node = Parameters<ReturnType<typeof rehypeCitations>>[0]
  const text = (value: string): Node => ({ type: 'text', value })
  const element = (tagName: string, ...children: Node[]): Node => ({
    type: 'element',
    tagName,
    children,
  })

  it('makes elements of citations in text, and never in code or links', () => {
    const tree = element(
      'p',
      text('Da [1].'),
      element('strong', text('[2]')),
      element('code', text('a[1]')),
      element('pre', element('code', text('[1]'))),
      element('a', text('[1]')),
    )
    rehypeCitations({ exists: upTo(2) })(tree)
    const found = JSON.stringify(tree).match(/"citation-ref","properties":\{"n":\d\}/g)
    expect(found).toEqual([
      '"citation-ref","properties":{"n":1}',
      '"citation-ref","properties":{"n":2}',
    ])
  })

  it('keeps a citation with the word before it and the stop after it', () => {
    const tree = element('p', text('sljedeće godine [1][2]. Kraj[1] i [2]'))
    rehypeCitations({ exists: upTo(2) })(tree)
    const flat = (node: Node): string =>
      node.value ?? node.properties?.['n']?.toString() ?? (node.children ?? []).map(flat).join('')
    expect(tree.children?.map((node) => [node.tagName ?? 'text', flat(node)])).toEqual([
      ['text', 'sljedeće '],
      ['span', 'godine\u202f12.'],
      ['text', ' '],
      ['span', 'Kraj1'],
      ['text', ' '],
      ['span', 'i\u202f2'],
    ])
  })
})
