/** pdf.js over the API: the parts of a file that a page needs, fetched as ranges. */
import {
  GlobalWorkerOptions,
  PDFDataRangeTransport,
  getDocument,
  type PDFDocumentProxy,
} from 'pdfjs-dist/legacy/build/pdf.mjs'
// The legacy build carries what webviews of the last few years lack.
import workerUrl from 'pdfjs-dist/legacy/build/pdf.worker.min.mjs?url'

import type { Api } from '../../api/client'

GlobalWorkerOptions.workerSrc = workerUrl

/** Fewer round trips than pdf.js' own 64 KiB; a page of text takes one or two of these. */
const RANGE_BYTES = 256 * 1024

export interface OpenPdf {
  document: PDFDocumentProxy
  close(): void
}

export async function openPdf(
  api: Api,
  workspace: string,
  documentId: string,
  signal: AbortSignal,
): Promise<OpenPdf> {
  const first = await api.documents.range(workspace, documentId, 0, RANGE_BYTES - 1, signal)
  const start = new Uint8Array(await first.arrayBuffer())
  const length = lengthOf(first) ?? start.byteLength
  const aborts = new AbortController()

  class RangeTransport extends PDFDataRangeTransport {
    override requestDataRange(begin: number, end: number): void {
      api.documents
        .range(workspace, documentId, begin, end - 1, aborts.signal)
        .then((response) => response.arrayBuffer())
        .then((bytes) => this.onDataRange(begin, new Uint8Array(bytes)))
        // A range that never comes would leave the page waiting for ever.
        .catch(() => void task.destroy())
    }
    override abort(): void {
      aborts.abort()
    }
  }

  const whole = start.byteLength >= length
  const task = getDocument({
    ...(whole ? { data: start } : { range: new RangeTransport(length, start) }),
    rangeChunkSize: RANGE_BYTES,
    disableAutoFetch: true,
    disableStream: true,
    // Nothing in a document may run or be fetched from elsewhere.
    enableXfa: false,
    cMapUrl: new URL('/pdf/cmaps/', window.location.href).href,
    standardFontDataUrl: new URL('/pdf/standard_fonts/', window.location.href).href,
    wasmUrl: new URL('/pdf/wasm/', window.location.href).href,
    verbosity: 0,
  })
  signal.addEventListener('abort', () => void task.destroy(), { once: true })
  const document = await task.promise
  return {
    document,
    close() {
      aborts.abort()
      void task.destroy()
    },
  }
}

/** The whole file's length: from `Content-Range`, or the body's when the server sent it all. */
function lengthOf(response: Response): number | null {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
  return total === undefined ? null : Number(total)
}
