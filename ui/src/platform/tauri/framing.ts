/**
 * The bytes that the tunnel's commands exchange. The other side is the desktop shell's tunnel;
 * both are written to the same description, so a change here is a change there.
 *
 * - `api_call`: request body as raw bytes, header `x-api-head` = encodeURIComponent(JSON of
 *   {@link RequestHead}). Reply: `[u32 LE length of the head][head, JSON][body]`.
 * - `api_read` ({ id }): one piece of a long response body; its first byte says what it is.
 * - `api_write`: one piece of a long request body as raw bytes, headers `x-api-id`, `x-api-last`.
 * - `api_cancel` ({ id }).
 */

export interface RequestHead {
  /** Unique over page loads: the page's own UUID and a counter. */
  id: string
  method: string
  /** Path and query, beginning with `/api/`. */
  path: string
  headers: [string, string][]
  /** Present when the body follows in `api_write` pieces. */
  body?: 'stream'
}

export interface ResponseHead {
  status: number
  headers: [string, string][]
  /** `inline`: the body is in this reply; `pull`: it is read piece by piece. */
  body: 'inline' | 'pull'
}

export type Piece =
  | { kind: 'data'; bytes: Uint8Array<ArrayBuffer> }
  | { kind: 'end' }
  | { kind: 'error'; message: string }

/** What `invoke` gives for raw bytes: a buffer, or numbers when it had to fall back to text. */
export type Raw = ArrayBuffer | Uint8Array<ArrayBuffer> | number[]

export function toBytes(raw: Raw): Uint8Array<ArrayBuffer> {
  if (raw instanceof Uint8Array) return raw
  return raw instanceof ArrayBuffer ? new Uint8Array(raw) : Uint8Array.from(raw)
}

export function encodeHead(head: RequestHead): string {
  return encodeURIComponent(JSON.stringify(head))
}

export function decodeReply(raw: Raw): { head: ResponseHead; body: Uint8Array<ArrayBuffer> } {
  const bytes = toBytes(raw)
  if (bytes.byteLength < 4) throw new TypeError('The reply ended before its head.')
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
  if (bytes.byteLength < 4 + length) throw new TypeError('The reply ended within its head.')
  const head = JSON.parse(
    new TextDecoder().decode(bytes.subarray(4, 4 + length)),
  ) as ResponseHead
  return { head, body: bytes.subarray(4 + length) }
}

export function decodePiece(raw: Raw): Piece {
  const bytes = toBytes(raw)
  switch (bytes[0]) {
    case 0:
      return { kind: 'data', bytes: bytes.subarray(1) }
    case 1:
      return { kind: 'end' }
    case 2:
      return { kind: 'error', message: new TextDecoder().decode(bytes.subarray(1)) }
    default:
      return { kind: 'error', message: 'The reply has an unknown kind.' }
  }
}
