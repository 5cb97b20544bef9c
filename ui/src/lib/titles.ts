/** The core names a passage by its document's title and the headings above it. */
const BETWEEN = ' > '

export interface PassageTitle {
  document: string
  /** Innermost last; empty for a document without headings. */
  headings: readonly string[]
}

export function splitTitle(title: string): PassageTitle {
  const [document = title, ...headings] = title.split(BETWEEN)
  // A first heading that repeats the title says nothing.
  return { document, headings: headings.filter((heading) => heading !== document) }
}
