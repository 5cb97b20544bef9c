import { useLayoutEffect, useMemo, useRef, useState, useEffect, type ReactNode } from 'react'

import type { DocumentText } from '../../api/types'
import { Button } from '../../components/Button'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import { layOut, type Block } from './blocks'
import type { Range } from './locate'
import styles from './TextView.module.css'

interface TextViewProps {
  document: DocumentText
  mark: Range | null
  /** The part of the mark that the answer quotes. */
  quote: Range | null
  opened: number
}

/**
 * Blocks shown at first around the passage, and added at a time. A book has tens of thousands; a
 * reader of a citation wants the pages around it.
 */
const BLOCKS_AROUND = 120

function around(marked: number, length: number): { from: number; to: number } {
  return {
    from: Math.max(0, marked - BLOCKS_AROUND),
    to: Math.min(length, marked + BLOCKS_AROUND),
  }
}

export function TextView({ document, mark, quote, opened }: TextViewProps) {
  const { t } = useI18n()
  const scroller = useRef<HTMLDivElement>(null)
  const end = useRef<HTMLDivElement>(null)
  const blocks = useMemo(() => layOut(document), [document])
  const marks = useMemo(() => ({ mark, quote }), [mark, quote])
  const marked = mark ? Math.max(0, blocks.findIndex((block) => block.end > mark.start)) : 0

  // There from the first render, or the mark would not be there yet when it is scrolled to.
  const [shown, setShown] = useState(() => around(marked, blocks.length))
  useLayoutEffect(() => setShown(around(marked, blocks.length)), [marked, blocks.length])

  useEffect(() => {
    const element =
      scroller.current?.querySelector('mark[data-quote]') ?? scroller.current?.querySelector('mark')
    if (element) element.scrollIntoView({ block: 'center', inline: 'nearest' })
    else scroller.current?.scrollTo({ top: 0 })
  }, [opened, shown.from, mark?.start, mark?.end, quote?.start])

  useEffect(() => {
    const element = end.current
    if (!element || shown.to >= blocks.length) return
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          setShown(({ from, to }) => ({ from, to: Math.min(blocks.length, to + BLOCKS_AROUND) }))
        }
      },
      { root: scroller.current, rootMargin: '800px' },
    )
    observer.observe(element)
    return () => observer.disconnect()
  }, [shown.to, blocks.length])

  const showEarlier = () =>
    setShown(({ from, to }) => ({ from: Math.max(0, from - BLOCKS_AROUND), to }))

  if (blocks.length === 0) return <p className={styles.nothing}>{t('passage.noText')}</p>
  return (
    <div className={styles.scroller} ref={scroller} tabIndex={0} role="document">
      <div className={styles.text}>
        {shown.from > 0 && (
          <Button size="s" onClick={showEarlier}>
            {t('passage.earlier')}
          </Button>
        )}
        {blocks.slice(shown.from, shown.to).map((block) => (
          <BlockView key={block.start} block={block} text={document.text} marks={marks} />
        ))}
        <div ref={end} />
      </div>
    </div>
  )
}

interface Marks {
  mark: Range | null
  quote: Range | null
}

interface BlockViewProps {
  block: Block
  text: string
  marks: Marks
}

/** The extractor begins an item with its indentation and its dash or number. */
function ListItem({ block, text, marks }: BlockViewProps) {
  const marker = /^( *)(- |\d+\. )?/.exec(text.slice(block.start, Math.min(block.end, block.start + 40)))
  const length = marker?.[0].length ?? 0
  const number = marker?.[2]?.startsWith('-') ? '' : marker?.[2]
  return (
    <p
      className={styles.item}
      style={{ marginLeft: `${((marker?.[1]?.length ?? 0) / 2) * 1.4}em` }}
      data-marker={marker?.[2] ? (number ? 'number' : 'dash') : 'none'}
    >
      {number && <span className={styles.number}>{number}</span>}
      {marked(text, { start: block.start + length, end: block.end }, marks)}
    </p>
  )
}

/** The extractor writes a bar between the cells of a row. */
function cellsOf(text: string, { start, end }: Range): Range[] {
  const cells: Range[] = []
  let from = start
  for (const bar of text.slice(start, end).matchAll(/ ?\| ?/g)) {
    cells.push({ start: from, end: start + bar.index })
    from = start + bar.index + bar[0].length
  }
  cells.push({ start: from, end })
  return cells
}

function BlockView({ block, text, marks }: BlockViewProps) {
  const content = marked(text, block, marks)
  switch (block.kind) {
    case 'heading':
      return (
        <p
          className={styles.heading}
          data-level={Math.min(4, block.level || 1)}
          role="heading"
          aria-level={Math.min(6, (block.level || 1) + 2)}
        >
          {content}
        </p>
      )
    case 'list_item':
      return <ListItem block={block} text={text} marks={marks} />
    case 'code':
      return <pre className={styles.code}>{content}</pre>
    case 'quote':
      return <blockquote className={styles.quote}>{content}</blockquote>
    case 'table_row':
      return (
        <p className={styles.row}>
          {cellsOf(text, block).map((cell) => (
            <span key={cell.start} className={styles.cell}>
              {marked(text, cell, marks)}
            </span>
          ))}
        </p>
      )
    case 'paragraph':
      return <p className={styles.paragraph}>{content}</p>
  }
}

/** The text of a range with what overlaps the passage marked, and what is quoted marked more. */
function marked(text: string, range: Range, { mark, quote }: Marks): ReactNode {
  const passage = overlap(range, mark)
  if (!passage || !text.slice(passage.start, passage.end).trim()) {
    return text.slice(range.start, range.end)
  }
  const part = overlap(passage, quote)
  const pieces: [Range, 'quote' | 'passage'][] = part
    ? [
        [{ start: passage.start, end: part.start }, 'passage'],
        [part, 'quote'],
        [{ start: part.end, end: passage.end }, 'passage'],
      ]
    : [[passage, 'passage']]
  return (
    <>
      {text.slice(range.start, passage.start)}
      {pieces.map(
        ([{ start, end }, kind]) =>
          end > start && (
            <mark
              key={start}
              data-testid={testIds.passageMark}
              data-quote={kind === 'quote' || undefined}
            >
              {text.slice(start, end)}
            </mark>
          ),
      )}
      {text.slice(passage.end, range.end)}
    </>
  )
}

function overlap(range: Range, other: Range | null): Range | null {
  if (!other) return null
  const start = Math.max(range.start, other.start)
  const end = Math.min(range.end, other.end)
  return start < end ? { start, end } : null
}
