import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useEffect, useRef, useState, type KeyboardEvent } from 'react'

/** Of a row, in CSS pixels. */
export const ROW_PX = 58

/** Rows before the end at which the next page is asked for. */
const FETCH_AHEAD = 60

/**
 * A long list of rows of one height, of which only those in view exist. One row is in the tab order;
 * the arrow keys, Page Up and Down, Home and End move between rows. Rows carry `data-index`.
 * @param onKey another key on a row itself; `false` leaves it to others.
 */
export function useRows<T extends { id: string }>(
  list: readonly T[],
  onKey: (key: string, item: T) => boolean,
  onReachEnd?: () => void,
) {
  const scroller = useRef<HTMLDivElement>(null)
  const [current, setCurrent] = useState(0)
  const rows = useVirtualizer({
    count: list.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
    getItemKey: (index) => list[index]?.id ?? index,
  })
  const items = rows.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (last >= list.length - FETCH_AHEAD) onReachEnd?.()
  }, [last, list.length, onReachEnd])

  const focusRow = (index: number) => {
    const next = Math.max(0, Math.min(list.length - 1, index))
    setCurrent(next)
    rows.scrollToIndex(next)
    requestAnimationFrame(() =>
      scroller.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus(),
    )
  }
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-index]')
    // Keys inside of a row's own controls are theirs.
    if (!row || row !== event.target) return
    const index = Number(row.dataset['index'])
    const item = list[index]
    const page = Math.floor((scroller.current?.clientHeight ?? 0) / ROW_PX)
    const moves: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: list.length - 1,
    }
    const to = moves[event.key]
    if (to !== undefined) focusRow(to)
    else if (!item || !onKey(event.key, item)) return
    event.preventDefault()
  }
  const toTop = useCallback(() => {
    setCurrent(0)
    scroller.current?.scrollTo({ top: 0 })
  }, [])
  return {
    scroller,
    items,
    /** Of all rows, in CSS pixels. */
    height: rows.getTotalSize(),
    onKeyDown,
    /** The row in the tab order. */
    current: Math.min(current, list.length - 1),
    setCurrent,
    toTop,
  }
}
