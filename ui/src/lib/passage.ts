/**
 * The document that is open beside the page, at a passage. Features open it without knowing the
 * panel, and the panel shows it without knowing who asked.
 */
import { createContext, useContext } from 'react'

import type { Place } from './place'

/** In fractions of the page's width and height, origin at the top left; pages count from 1. */
export interface PageBox {
  page: number
  left: number
  top: number
  right: number
  bottom: number
}

export interface PassageTarget {
  documentId: string
  title: string
  path: string
  /** Nothing is marked without a passage: the document opens at its beginning. */
  passage?: {
    n?: number
    start: number
    end: number
    /** As it was when it was cited, to tell whether the document has changed since. */
    text: string
    /** What the answer quotes of it, word for word. */
    quote?: string
    page: number | null
    place: Place | null
    boxes: readonly PageBox[]
  }
}

export interface PassagePanelState {
  /** Passages that belong together, for stepping through them. */
  readonly targets: readonly PassageTarget[]
  readonly index: number
  /** Counts up with every opening, so that opening the same passage again scrolls to it again. */
  readonly opened: number
}

export interface PassagePanel {
  readonly state: PassagePanelState | null
  open(targets: readonly PassageTarget[], index?: number): void
  close(): void
}

export const PassageContext = createContext<PassagePanel | null>(null)

export function usePassagePanel(): PassagePanel {
  const panel = useContext(PassageContext)
  if (!panel) throw new Error('BUG: usePassagePanel outside of PassageContext')
  return panel
}

/** What a citation of an answer and a hit of a search have in common. */
interface Cited {
  n: number
  document_id: string
  title: string
  path: string
  text: string
  span: { start: number; end: number }
  page?: number | null
  place?: Place | null
  boxes: readonly PageBox[]
}

export function targetOf(citation: Cited, numbered = true, quote?: string): PassageTarget {
  return {
    documentId: citation.document_id,
    title: citation.title,
    path: citation.path,
    passage: {
      ...(numbered && { n: citation.n }),
      start: citation.span.start,
      end: citation.span.end,
      text: citation.text,
      ...(quote && { quote }),
      page: citation.page ?? null,
      place: citation.place ?? null,
      boxes: citation.boxes,
    },
  }
}
