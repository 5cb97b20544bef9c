import { describe, expect, it } from 'vitest'

import { readEvents, type ServerEvent } from './sse'

/** A body that arrives in the given pieces, cut at bytes and not at characters. */
function bodyOf(pieces: Uint8Array[], onCancel?: () => void): ReadableStream<Uint8Array> {
  const waiting = [...pieces]
  return new ReadableStream({
    pull(controller) {
      const piece = waiting.shift()
      if (piece) controller.enqueue(piece)
      else controller.close()
    },
    cancel: () => onCancel?.(),
  })
}

async function all(body: ReadableStream<Uint8Array>): Promise<ServerEvent[]> {
  const events: ServerEvent[] = []
  for await (const event of readEvents(body)) events.push(event)
  return events
}

const TEXT = ': hello\n\nevent: token\ndata: {"text":"žaba 😀"}\n\nevent: done\ndata: a\ndata: b\n\n'
const EVENTS = [
  { name: 'token', data: '{"text":"žaba 😀"}' },
  { name: 'done', data: 'a\nb' },
]

describe('readEvents', () => {
  it('reads events however the bytes are cut', async () => {
    const bytes = new TextEncoder().encode(TEXT)
    for (const size of [1, 2, 3, 7, bytes.length]) {
      const pieces = []
      for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size))
      expect(await all(bodyOf(pieces)), `pieces of ${size}`).toEqual(EVENTS)
    }
  })

  it('drops an event that the end cut off', async () => {
    const bytes = new TextEncoder().encode(`${TEXT}event: token\ndata: half`)
    expect(await all(bodyOf([bytes]))).toEqual(EVENTS)
  })

  it('cancels the body when the reader has enough', async () => {
    let cancelled = false
    const endless = Array.from({ length: 9 }, () => new TextEncoder().encode(TEXT))
    const body = bodyOf(endless, () => (cancelled = true))
    for await (const event of readEvents(body)) {
      expect(event.name).toBe('token')
      break
    }
    expect(cancelled).toBe(true)
  })
})
