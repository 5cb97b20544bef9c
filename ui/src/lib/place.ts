/** Where a passage stands, as its reader would say it. */
import type { I18n } from './i18n'

/** Pages, slides, rows and columns count from 1; the last one belongs to the passage. */
export type Place =
  | { kind: 'pages' | 'slides'; first: number; last: number }
  | {
      kind: 'cells'
      sheet: string | null
      range: string | null
      first_row: number
      last_row: number
    }
  | { kind: 'message' }
  | { kind: 'attachment'; name: string }

interface Placed {
  place?: Place | null
  /** All that answers of earlier versions say. */
  page?: number | null
}

/** `null` for documents that are one text, whose headings say enough. */
export function placeLabel({ t }: Pick<I18n, 't'>, { place, page }: Placed): string | null {
  if (!place) return page == null ? null : t('sources.page', { page })
  switch (place.kind) {
    case 'pages':
      return place.first === place.last
        ? t('sources.page', { page: place.first })
        : t('sources.pages', place)
    case 'slides':
      return place.first === place.last
        ? t('sources.slide', { slide: place.first })
        : t('sources.slides', place)
    case 'cells':
      if (place.sheet !== null) return place.range ? reference(place.sheet, place.range) : place.sheet
      return place.first_row === place.last_row
        ? t('sources.row', { row: place.first_row })
        : t('sources.rows', { first: place.first_row, last: place.last_row })
    case 'message':
      return t('sources.message')
    case 'attachment':
      return t('sources.attachment', { name: place.name })
  }
}

/** As spreadsheet programs write it, to be pasted into their box for names. */
function reference(sheet: string, range: string): string {
  const plain = /^[\p{L}\p{N}_]+$/u.test(sheet)
  return `${plain ? sheet : `'${sheet.replaceAll("'", "''")}'`}!${range}`
}

/** The headings above a passage without what its place says already. */
export function headingsBeside(
  headings: readonly string[],
  place: Place | null | undefined,
): readonly string[] {
  if (!place) return headings
  return headings.flatMap((heading) => {
    switch (place.kind) {
      case 'slides': {
        const rest = heading.replace(/^Slide \d+(: )?/, '')
        return rest ? [rest] : []
      }
      case 'cells':
        return heading === `Sheet: ${place.sheet}` ? [] : [heading]
      case 'attachment':
        return heading === `Attachment: ${place.name}` ? [] : [heading]
      case 'pages':
      case 'message':
        return [heading]
    }
  })
}
