/**
 * `fetch` without a network: the window's requests reach the core's router through four commands.
 *
 * Long response bodies are pulled piece by piece, which gives order and back-pressure for
 * nothing. Request bodies are always turned into plain bytes first; a Blob must never get near a
 * custom scheme (see `multipart.ts`).
 */
import { encodeHead, decodePiece, decodeReply, type Raw, type RequestHead } from './framing'
import { encodeMultipart } from './multipart'

export type Invoke = (
  command: 'api_call' | 'api_read' | 'api_write' | 'api_cancel',
  args: Uint8Array<ArrayBuffer> | Record<string, unknown>,
  options?: { headers: Record<string, string> },
) => Promise<unknown>

/** A request body up to this size travels with its head; a longer one follows in pieces. */
const PIECE_BYTES = 1024 * 1024

/** Statuses whose response must not have a body, by the fetch standard. */
const BODILESS = new Set([101, 204, 205, 304])

type Body = (Uint8Array<ArrayBuffer> | Blob)[]

export interface Tunnel {
  fetch(input: string | Request, init?: RequestInit): Promise<Response>
  Request: typeof Request
}

export function openTunnel(invoke: Invoke, page: string): Tunnel {
  const bodies = new WeakMap<Request, BodyInit | null>()
  const signals = new WeakMap<Request, AbortSignal>()
  let count = 0

  /**
   * Remembers the body it was made with, which a request cannot be asked for, and the signal: a
   * request's own one follows it only as long as the request is not collected (undici).
   */
  class TunnelRequest extends Request {
    constructor(input: RequestInfo | URL, init?: RequestInit) {
      const body = init?.body ?? null
      // The body is left out for the parent: it is sent from the map, and copying it costs.
      super(input, body === null ? init : { ...init, body: undefined })
      if (body !== null) bodies.set(this, body)
      else if (input instanceof Request) bodies.set(this, bodies.get(input) ?? null)
      const parent = input instanceof Request ? signals.get(input) : undefined
      const signal = init?.signal ?? parent
      if (signal) signals.set(this, signal)
    }
  }

  async function call(input: string | Request, init?: RequestInit): Promise<Response> {
    const request = input instanceof TunnelRequest && !init ? input : new TunnelRequest(input, init)
    const signal = signals.get(request) ?? request.signal
    signal.throwIfAborted()

    const url = new URL(request.url)
    const headers = [...request.headers]
    const given = bodies.get(request) ?? null
    const { body, contentType } = toBody(given, `docent-${page}-${count}`)
    if (contentType && !request.headers.has('content-type')) {
      headers.push(['content-type', contentType])
    }

    const id = `${page}-${(count += 1)}`
    const head: RequestHead = {
      id,
      method: request.method,
      path: url.pathname + url.search,
      headers,
    }
    const cancel = () => void invoke('api_cancel', { id }).catch(() => undefined)
    signal.addEventListener('abort', cancel, { once: true })
    try {
      const reply = await aborting(signal, send(head, body, signal))
      const { head: responseHead, body: inline } = decodeReply(reply as Raw)
      const empty = BODILESS.has(responseHead.status) || request.method === 'HEAD'
      const pulled = responseHead.body === 'pull' && !empty
      if (!pulled) signal.removeEventListener('abort', cancel)
      return new Response(empty ? null : pulled ? pull(id, signal, cancel) : inline, {
        status: responseHead.status,
        headers: responseHead.headers,
      })
    } catch (error) {
      signal.removeEventListener('abort', cancel)
      if (signal.aborted) throw signal.reason
      throw error instanceof Error ? error : new TypeError(String(error))
    }
  }

  async function send(head: RequestHead, body: Body, signal: AbortSignal): Promise<unknown> {
    const size = body.reduce((sum, part) => sum + sizeOf(part), 0)
    if (size <= PIECE_BYTES) {
      const bytes = await collect(body, size)
      signal.throwIfAborted()
      return invoke('api_call', bytes, {
        headers: { 'x-api-head': encodeHead(head) },
      })
    }
    const reply = invoke('api_call', new Uint8Array(), {
      headers: { 'x-api-head': encodeHead({ ...head, body: 'stream' }) },
    })
    // The router may answer (too large, not allowed) before it has read everything; then the
    // reply says so, and what the writer met is of no interest.
    await Promise.race([reply, write(head.id, body)]).catch(() => undefined)
    return reply
  }

  async function write(id: string, body: Body): Promise<void> {
    let sent = 0
    const size = body.reduce((sum, part) => sum + sizeOf(part), 0)
    for (const part of body) {
      for (let start = 0; start < sizeOf(part); start += PIECE_BYTES) {
        const piece = part.slice(start, Math.min(start + PIECE_BYTES, sizeOf(part)))
        const bytes =
          piece instanceof Uint8Array ? piece : new Uint8Array(await piece.arrayBuffer())
        sent += bytes.byteLength
        await invoke('api_write', bytes, {
          headers: { 'x-api-id': id, 'x-api-last': sent === size ? '1' : '0' },
        })
      }
    }
  }

  function pull(id: string, signal: AbortSignal, cancel: () => void): ReadableStream<Uint8Array> {
    let done = false
    return new ReadableStream<Uint8Array>(
      {
        start(controller) {
          signal.addEventListener('abort', () => !done && controller.error(signal.reason), {
            once: true,
          })
        },
        async pull(controller) {
          const piece = decodePiece((await invoke('api_read', { id })) as Raw)
          if (signal.aborted) return
          if (piece.kind === 'data') return controller.enqueue(piece.bytes)
          done = true
          signal.removeEventListener('abort', cancel)
          if (piece.kind === 'end') controller.close()
          else controller.error(new TypeError(piece.message || 'The connection was lost.'))
        },
        cancel() {
          done = true
          signal.removeEventListener('abort', cancel)
          cancel()
        },
      },
      { highWaterMark: 0 },
    )
  }

  return { fetch: call, Request: TunnelRequest }
}

function toBody(given: BodyInit | null, boundary: string): { body: Body; contentType?: string } {
  if (given === null) return { body: [] }
  if (typeof given === 'string') {
    return { body: [new TextEncoder().encode(given)], contentType: 'text/plain;charset=UTF-8' }
  }
  if (given instanceof FormData) {
    const { parts, contentType } = encodeMultipart(given, boundary)
    return { body: parts, contentType }
  }
  if (given instanceof URLSearchParams) {
    return {
      body: [new TextEncoder().encode(given.toString())],
      contentType: 'application/x-www-form-urlencoded;charset=UTF-8',
    }
  }
  if (given instanceof Blob) return { body: [given], ...(given.type && { contentType: given.type }) }
  if (given instanceof ArrayBuffer) return { body: [new Uint8Array(given)] }
  if (ArrayBuffer.isView(given)) {
    const { buffer, byteOffset, byteLength } = given
    return { body: [new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)] }
  }
  throw new TypeError('The tunnel cannot send a stream as a request body.')
}

function sizeOf(part: Uint8Array | Blob): number {
  return part instanceof Uint8Array ? part.byteLength : part.size
}

async function collect(body: Body, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const joined = new Uint8Array(size)
  let at = 0
  for (const part of body) {
    const bytes = part instanceof Uint8Array ? part : new Uint8Array(await part.arrayBuffer())
    joined.set(bytes, at)
    at += bytes.byteLength
  }
  return joined
}

/** Settles like `promise`, or rejects with the signal's reason as soon as it is aborted. */
function aborting<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
