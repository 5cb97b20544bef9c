/** Short messages about what was just done, at the bottom of the window. */
import { createContext, useCallback, useContext, useMemo, useRef, useState, type ReactNode } from 'react'

export interface Notice {
  id: number
  kind: 'info' | 'error'
  text: string
  details?: readonly string[]
  action?: NoticeAction
}

/** Where a notice leads. */
export interface NoticeAction {
  label: string
  onChoose: () => void
}

/** The same object for the life of the window. */
export interface Notices {
  say(text: string, details?: readonly string[], action?: NoticeAction): void
  warn(text: string, details?: readonly string[]): void
  dismiss(id: number): void
}

/** Long enough to read a sentence; a message with details or an error waits to be dismissed. */
const SHOWN_MS = 5_000
/** Long enough to reach for what it leads to. */
const SHOWN_WITH_ACTION_MS = 15_000
const MOST_SHOWN = 3

const NoticesContext = createContext<Notices | null>(null)
const NoticeListContext = createContext<readonly Notice[]>([])

export function NoticesProvider({ children }: { children: ReactNode }) {
  const [list, setList] = useState<readonly Notice[]>([])
  const next = useRef(0)

  const dismiss = useCallback((id: number) => {
    setList((shown) => shown.filter((notice) => notice.id !== id))
  }, [])
  const add = useCallback(
    (
      kind: Notice['kind'],
      text: string,
      details?: readonly string[],
      action?: NoticeAction,
    ) => {
      const id = (next.current += 1)
      const notice: Notice = { id, kind, text, ...(details && { details }), ...(action && { action }) }
      setList((shown) => [...shown, notice].slice(-MOST_SHOWN))
      const shownMs = action ? SHOWN_WITH_ACTION_MS : SHOWN_MS
      if (kind === 'info' && !details?.length) setTimeout(() => dismiss(id), shownMs)
    },
    [dismiss],
  )
  const notices = useMemo<Notices>(
    () => ({
      say: (text, details, action) => add('info', text, details, action),
      warn: (text, details) => add('error', text, details),
      dismiss,
    }),
    [add, dismiss],
  )
  return (
    <NoticesContext value={notices}>
      <NoticeListContext value={list}>{children}</NoticeListContext>
    </NoticesContext>
  )
}

export function useNoticeList(): readonly Notice[] {
  return useContext(NoticeListContext)
}

export function useNotices(): Notices {
  const notices = useContext(NoticesContext)
  if (!notices) throw new Error('BUG: useNotices outside of NoticesProvider')
  return notices
}
