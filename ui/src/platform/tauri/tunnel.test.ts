import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { describe, expect, it, vi } from 'vitest'

import { decodePiece, decodeReply, toBytes, type RequestHead, type ResponseHead } from './framing'
import { openTunnel, type Invoke } from './tunnel'

const URL_BASE = 'http://window.test'

function pack(head: ResponseHead, body: Uint8Array | string = ''): ArrayBuffer {
  const json = new TextEncoder().encode(JSON.stringify(head))
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const packed = new Uint8Array(4 + json.length + bytes.length)
  new DataView(packed.buffer).setUint32(0, json.length, true)
  packed.set(json, 4)
  packed.set(bytes, 4 + json.length)
  return packed.buffer
}

const piece = (kind: number, text = '') =>
  new Uint8Array([kind, ...new TextEncoder().encode(text)]).buffer

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

interface Call {
  command: string
  id?: string
  head?: RequestHead
  body?: Uint8Array
  last?: string
}

/** A core that records what it is asked, and answers as a test says. */
function fakeCore(answers: {
  call?: (head: RequestHead) => unknown
  read?: () => unknown
  write?: () => unknown
}) {
  const calls: Call[] = []
  const invoke: Invoke = async (command, args, options) => {
    const headers = options?.headers ?? {}
    switch (command) {
      case 'api_call': {
        const head = JSON.parse(decodeURIComponent(headers['x-api-head'] ?? '')) as RequestHead
        calls.push({ command, head, body: args as Uint8Array })
        return answers.call?.(head) ?? pack({ status: 204, headers: [], body: 'inline' })
      }
      case 'api_write':
        calls.push({
          command,
          id: headers['x-api-id'] ?? '',
          last: headers['x-api-last'] ?? '',
          body: (args as Uint8Array).slice(),
        })
        return answers.write?.()
      default:
        calls.push({ command, id: (args as { id: string }).id })
        return command === 'api_read' ? answers.read?.() : undefined
    }
  }
  return { calls, tunnel: openTunnel(invoke, 'page') }
}

describe('framing', () => {
  it('reads a reply given as a buffer, as a view into one, or as numbers', () => {
    const packed = pack({ status: 200, headers: [['a', 'b']], body: 'inline' }, 'žaba')
    const shifted = new Uint8Array(packed.byteLength + 3)
    shifted.set(new Uint8Array(packed), 3)
    for (const raw of [packed, shifted.subarray(3), [...new Uint8Array(packed)]]) {
      const { head, body } = decodeReply(raw)
      expect(head).toEqual({ status: 200, headers: [['a', 'b']], body: 'inline' })
      expect(new TextDecoder().decode(body)).toBe('žaba')
    }
  })

  it('refuses a reply that is cut off', () => {
    const packed = pack({ status: 200, headers: [], body: 'inline' })
    expect(() => decodeReply(packed.slice(0, 3))).toThrow(TypeError)
    expect(() => decodeReply(packed.slice(0, 10))).toThrow(TypeError)
  })

  it('tells the kinds of pieces apart', () => {
    expect(decodePiece(piece(0, 'x'))).toEqual({ kind: 'data', bytes: toBytes([120]) })
    expect(decodePiece(piece(1))).toEqual({ kind: 'end' })
    expect(decodePiece(piece(2, 'gone'))).toEqual({ kind: 'error', message: 'gone' })
    expect(decodePiece([]).kind).toBe('error')
    expect(decodePiece([9]).kind).toBe('error')
  })
})

describe('a call', () => {
  it('sends method, path, headers and body, and gives status, headers and body back', async () => {
    const { calls, tunnel } = fakeCore({
      call: () => pack({ status: 201, headers: [['x-a', 'z']], body: 'inline' }, '{"a":1}'),
    })
    const response = await tunnel.fetch(
      new tunnel.Request(`${URL_BASE}/api/v1/things?q=%C5%BE`, {
        method: 'POST',
        body: '{"name":"Čvor"}',
        headers: { 'content-type': 'application/json' },
      }),
    )
    expect(response.status).toBe(201)
    expect(response.headers.get('x-a')).toBe('z')
    expect(await response.json()).toEqual({ a: 1 })
    expect(calls).toHaveLength(1)
    expect(calls[0]?.head).toEqual({
      id: 'page-1',
      method: 'POST',
      path: '/api/v1/things?q=%C5%BE',
      headers: [['content-type', 'application/json']],
    })
    expect(new TextDecoder().decode(calls[0]?.body)).toBe('{"name":"Čvor"}')
  })

  it('never uses an id twice', async () => {
    const { calls, tunnel } = fakeCore({})
    await Promise.all([1, 2, 3].map(() => tunnel.fetch(`${URL_BASE}/api/v1/x`)))
    expect(new Set(calls.map((call) => call.head?.id)).size).toBe(3)
  })

  it.each([204, 205, 304])('gives no body for %d', async (status) => {
    const { tunnel } = fakeCore({ call: () => pack({ status, headers: [], body: 'inline' }) })
    const response = await tunnel.fetch(`${URL_BASE}/api/v1/x`)
    expect(response.status).toBe(status)
    expect(response.body).toBeNull()
  })

  it('rejects as fetch does when the core refuses', async () => {
    const { tunnel } = fakeCore({ call: () => Promise.reject('the window may only ask for /api/') })
    await expect(tunnel.fetch(`${URL_BASE}/other`)).rejects.toThrow(TypeError)
  })

  it('sends a form as bytes that it made itself', async () => {
    const { calls, tunnel } = fakeCore({})
    const form = new FormData()
    form.append('file', new File(['sadržaj'], 'a.txt'))
    await tunnel.fetch(new tunnel.Request(`${URL_BASE}/api/v1/x`, { method: 'POST', body: form }))
    const type = calls[0]?.head?.headers.find(([name]) => name === 'content-type')?.[1]
    const read = await new Response(new Uint8Array(calls[0]?.body ?? []), {
      headers: { 'content-type': type ?? '' },
    }).formData()
    expect(await (read.get('file') as File).text()).toBe('sadržaj')
  })

  it('sends a long body in pieces, the last one marked', async () => {
    const { calls, tunnel } = fakeCore({})
    const bytes = new Uint8Array(2.5 * 1024 * 1024).map((_, at) => at % 251)
    await tunnel.fetch(
      new tunnel.Request(`${URL_BASE}/api/v1/x`, { method: 'POST', body: new Blob([bytes]) }),
    )
    const [call, ...writes] = calls
    expect(call?.head?.body).toBe('stream')
    expect(call?.body).toHaveLength(0)
    expect(writes.map((write) => [write.command, write.id, write.last])).toEqual([
      ['api_write', 'page-1', '0'],
      ['api_write', 'page-1', '0'],
      ['api_write', 'page-1', '1'],
    ])
    const sent = await new Blob(writes.map((write) => new Uint8Array(write.body ?? []))).arrayBuffer()
    // Not `toEqual`: it takes seconds over millions of elements.
    expect(Buffer.compare(Buffer.from(sent), Buffer.from(bytes))).toBe(0)
  })

  it('takes the answer to a body that nobody reads to its end', async () => {
    const { tunnel } = fakeCore({
      call: () => pack({ status: 413, headers: [], body: 'inline' }, '{}'),
      write: () => Promise.reject('the request’s body is no longer read'),
    })
    const body = new Uint8Array(3 * 1024 * 1024)
    const response = await tunnel.fetch(
      new tunnel.Request(`${URL_BASE}/api/v1/x`, { method: 'POST', body }),
    )
    expect(response.status).toBe(413)
  })
})

describe('a long answer', () => {
  const pulled = () => pack({ status: 200, headers: [], body: 'pull' })

  it('is read piece by piece, and only as fast as somebody reads', async () => {
    const waiting = [piece(0, 'ab'), piece(0, 'c'), piece(1)]
    const { calls, tunnel } = fakeCore({ call: pulled, read: () => waiting.shift() })
    const response = await tunnel.fetch(`${URL_BASE}/api/v1/x`)
    await Promise.resolve()
    expect(calls.filter((call) => call.command === 'api_read')).toHaveLength(0)
    expect(await response.text()).toBe('abc')
    expect(calls.filter((call) => call.command === 'api_read')).toHaveLength(3)
    expect(calls.filter((call) => call.command === 'api_cancel')).toHaveLength(0)
  })

  it('fails where it broke off', async () => {
    const waiting = [piece(0, 'ab'), piece(2, 'the answer broke off')]
    const { tunnel } = fakeCore({ call: pulled, read: () => waiting.shift() })
    const response = await tunnel.fetch(`${URL_BASE}/api/v1/x`)
    await expect(response.text()).rejects.toThrow('the answer broke off')
  })

  it('is cancelled when its reader leaves', async () => {
    const { calls, tunnel } = fakeCore({ call: pulled, read: () => piece(0, 'ab') })
    const response = await tunnel.fetch(`${URL_BASE}/api/v1/x`)
    await response.body?.cancel()
    expect(calls.at(-1)).toEqual({ command: 'api_cancel', id: 'page-1' })
  })

  it('ends with the reason of the signal when it is aborted in the middle', async () => {
    let release: (() => void) | undefined
    const { calls, tunnel } = fakeCore({
      call: pulled,
      read: () => new Promise((resolve) => (release = () => resolve(piece(2, 'cancelled')))),
    })
    const abort = new AbortController()
    const response = await tunnel.fetch(`${URL_BASE}/api/v1/x`, { signal: abort.signal })
    const reading = response.text()
    abort.abort()
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
    expect(calls.some((call) => call.command === 'api_cancel')).toBe(true)
    release?.()
  })
})

describe('an abort before the answer', () => {
  it.each([
    ['at once', () => undefined],
    ['also after memory was collected', collectGarbage],
  ])('rejects and cancels %s', async (_, before) => {
    const { calls, tunnel } = fakeCore({ call: () => new Promise(() => undefined) })
    const abort = new AbortController()
    const asking = tunnel.fetch(`${URL_BASE}/api/v1/x`, { signal: abort.signal })
    await vi.waitFor(() => expect(calls).toHaveLength(1), { timeout: 30_000 })
    before()
    abort.abort()
    await expect(asking).rejects.toMatchObject({ name: 'AbortError' })
    expect(calls.at(-1)).toEqual({ command: 'api_cancel', id: 'page-1' })
  })

  it('asks for nothing when it came first', async () => {
    const { calls, tunnel } = fakeCore({})
    const signal = AbortSignal.abort()
    await expect(tunnel.fetch(`${URL_BASE}/api/v1/x`, { signal })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(calls).toHaveLength(0)
  })
})
