import { defaultRangeExtractor, useVirtualizer, type Range } from '@tanstack/react-virtual'
import {
  useCallback,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
  type FocusEvent,
  type KeyboardEvent,
} from 'react'

/** Of a row, in CSS pixels. */
export const ROW_PX = 58

/** Rows before the end at which the next page is asked for. */
const FETCH_AHEAD = 60

/**
 * A long list of rows of one height, of which only those in view exist, and the current one. That
 * one is in the tab order; the arrow keys, Page Up and Down, Home and End move between rows. Rows
 * carry `data-index`. The current row is followed by its id; when it leaves the list, the one in its
 * place takes over, and the focus with it.
 * @param onKey another key on a row itself; `false` leaves it to others.
 */
export function useRows<T extends { id: string }>(
  list: readonly T[],
  onKey: (key: string, item: T) => boolean,
  onReachEnd?: () => void,
) {
  const scroller = useRef<HTMLDivElement>(null)
  const [currentId, setCurrentId] = useState<string | null>(null)
  /** Where the current row was last. */
  const place = useRef(0)
  const found = currentId === null ? -1 : list.findIndex(({ id }) => id === currentId)
  const current = found >= 0 ? found : Math.max(0, Math.min(list.length - 1, place.current))

  const rows = useVirtualizer({
    count: list.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
    getItemKey: useCallback((index: number) => list[index]?.id ?? index, [list]),
    rangeExtractor: useCallback((range: Range) => withRow(range, current), [current]),
  })
  const items = rows.getVirtualItems()
  const first = rows.range?.startIndex ?? 0
  const last = rows.range?.endIndex ?? 0
  useEffect(() => {
    if (last >= list.length - FETCH_AHEAD) onReachEnd?.()
  }, [last, list.length, onReachEnd])

  const rowAt = (index: number) =>
    scroller.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)
  /** Whether the focus is in a row, or was until the row went. */
  const holdsFocus = useRef(false)
  const currentItem = list[current]?.id ?? null
  useLayoutEffect(() => {
    place.current = current
    if (currentId !== null && found < 0) setCurrentId(currentItem)
    if (holdsFocus.current && isLost(document.activeElement)) {
      rowAt(current)?.focus({ preventScroll: true })
    }
  })
  useEffect(
    () => () => {
      // With the last row the list goes.
      if (holdsFocus.current && isLost(document.activeElement)) {
        document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true })
      }
    },
    [],
  )

  const focusRow = (index: number) => {
    const next = Math.max(0, Math.min(list.length - 1, index))
    setCurrentId(list[next]?.id ?? null)
    rows.scrollToIndex(next)
    requestAnimationFrame(() => rowAt(next)?.focus())
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
  const onFocus = () => {
    holdsFocus.current = true
  }
  const onBlur = ({ target, relatedTarget }: FocusEvent) => {
    const within = relatedTarget instanceof Node && scroller.current?.contains(relatedTarget)
    // A window that loses the focus keeps its place; a row that goes is not left.
    if (!within && document.activeElement !== target && target.isConnected) {
      holdsFocus.current = false
    }
  }
  const toTop = useCallback(() => {
    place.current = 0
    setCurrentId(null)
    scroller.current?.scrollTo({ top: 0 })
  }, [])
  return {
    /** For the element that scrolls. */
    grid: { ref: scroller, onKeyDown, onFocus, onBlur },
    items,
    /** Of all rows, in CSS pixels. */
    height: rows.getTotalSize(),
    /** The row in the tab order. */
    current,
    setCurrent: setCurrentId,
    /** The first row in view. */
    first,
    toTop,
  }
}

/** The rows in view and around, with one more wherever it is. */
function withRow(range: Range, row: number): number[] {
  const shown = defaultRangeExtractor(range)
  if (row >= range.count || shown.includes(row)) return shown
  return [...shown, row].sort((a, b) => a - b)
}

function isLost(focused: Element | null): boolean {
  return focused === null || focused === document.body
}
