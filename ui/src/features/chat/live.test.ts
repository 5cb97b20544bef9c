import { QueryClient } from '@tanstack/react-query'
import { describe, expect, it, vi } from 'vitest'

import { createApi } from '../../api/client'
import { keys } from '../../api/queries'
import type { Message } from '../../api/types'
import { LiveAnswers } from './live'

/** However long a busy machine takes. */
const eventually = <T>(check: () => T) => vi.waitFor(check, { timeout: 30_000 })

const W = 'w1'
const STARTED = {
  query_id: 'm2',
  chat_id: 'c1',
  user_message_id: 'm1',
  message_id: 'm2',
  language_detected: 'hr',
}
const DONE = {
  answer: 'Da [1].',
  confidence: 0.9,
  sources: [],
  query_id: 'm2',
  language_detected: 'hr',
  citations: [],
  refused: false,
  nearest: [],
  interrupted: false,
  chat_id: 'c1',
  message_id: 'm2',
  timings: {},
}

/** A core whose answer is written by the test, event by event. */
function setUp() {
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined
  const asked: string[] = []
  const stored: Message[] = []
  const fetch = vi.fn(async (input: string | Request) => {
    const request = input as Request
    const path = new URL(request.url).pathname
    asked.push(`${request.method} ${path}`)
    if (path.endsWith('/query')) {
      const body = new ReadableStream<Uint8Array>({ start: (controller) => void (stream = controller) })
      request.signal.addEventListener('abort', () => stream?.error(request.signal.reason))
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    }
    if (path.endsWith('/messages')) return Response.json(stored)
    return new Response(null, { status: 204 })
  })
  const cache = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  const live = new LiveAnswers(createApi({ fetch, Request }, 'http://core.test'), cache)
  return {
    live,
    cache,
    asked,
    stored,
    fetch,
    send: (event: string, data: object) =>
      stream?.enqueue(new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)),
    end: () => stream?.close(),
    /** Resolves when the question has reached the core. */
    reached: () => eventually(() => expect(stream).toBeDefined()),
  }
}

const messagesOf = (cache: QueryClient) =>
  cache.getQueryData<Message[]>(keys.messages(W, 'c1'))?.map(({ role, content, status }) => [
    role,
    content,
    status,
  ])

describe('a first question', () => {
  it('becomes a chat, grows, is revised, and ends as two messages', async () => {
    const { live, cache, send, reached } = setUp()
    const started = vi.fn()
    const asking = live.ask(W, null, 'Smijem li?', started)
    expect(live.of(W, null)?.phase).toBe('searching')

    await reached()
    send('started', STARTED)
    await eventually(() => expect(live.of(W, 'c1')).not.toBeNull())
    expect(started).toHaveBeenCalledExactlyOnceWith('c1')
    expect(live.of(W, null), 'the empty page is free for another question').toBeNull()

    send('retrieved', { passages: [], stage: 'first' })
    send('token', { text: 'Mo' })
    send('token', { text: 'žda' })
    await eventually(() => expect(live.of(W, 'c1')?.text).toBe('Možda'))
    send('revised', { text: 'Da [1].' })
    await eventually(() => expect(live.of(W, 'c1')?.text).toBe('Da [1].'))
    send('done', DONE)
    await asking

    expect(live.of(W, 'c1')).toBeNull()
    expect(messagesOf(cache)).toEqual([
      ['user', 'Smijem li?', 'complete'],
      ['assistant', 'Da [1].', 'complete'],
    ])
  })
})

describe('stopping', () => {
  it('asks the core, which ends the answer and keeps its text', async () => {
    const { live, cache, asked, send, reached } = setUp()
    const asking = live.ask(W, 'c1', 'Smijem li?', () => undefined)
    await reached()
    send('started', STARTED)
    await eventually(() => expect(live.of(W, 'c1')?.message).toBe('m2'))
    live.stop(W, 'c1')
    live.stop(W, 'c1')
    expect(live.of(W, 'c1')?.phase).toBe('stopping')
    await eventually(() =>
      expect(asked.filter((each) => each.endsWith('/messages/m2/stop'))).toHaveLength(1),
    )
    send('done', { ...DONE, answer: 'Da', interrupted: true })
    await asking
    expect(messagesOf(cache)?.[1]).toEqual(['assistant', 'Da', 'interrupted'])
  })

  it('cuts the connection while there is no message yet', async () => {
    const { live, fetch } = setUp()
    const asking = live.ask(W, 'c1', 'Smijem li?', () => undefined)
    await eventually(() => expect(fetch).toHaveBeenCalled())
    live.stop(W, 'c1')
    await asking
    expect(live.of(W, 'c1')).toBeNull()
  })
})

describe('a failure', () => {
  it('before the answer began keeps the question, to be asked again', async () => {
    const { live, fetch } = setUp()
    fetch.mockImplementationOnce(async () =>
      Response.json(
        { error: { code: 'MODEL_MISSING', message: 'No model.', hint: 'Fetch it.' } },
        { status: 503 },
      ),
    )
    await live.ask(W, null, 'Smijem li?', () => undefined)
    const failed = live.of(W, null)
    expect(failed?.phase).toBe('failed')
    expect(failed?.error).toMatchObject({ code: 'MODEL_MISSING', hint: 'Fetch it.' })
    live.dismiss(W, null)
    expect(live.of(W, null)).toBeNull()
  })

  it('in the middle keeps its code beside the stored message', async () => {
    const { live, cache, stored, send, reached } = setUp()
    await cache.prefetchQuery({
      queryKey: keys.messages(W, 'c1'),
      queryFn: async () => [...stored],
    })
    const asking = live.ask(W, 'c1', 'Smijem li?', () => undefined)
    await reached()
    send('started', STARTED)
    await eventually(() => expect(live.of(W, 'c1')?.message).toBe('m2'))
    send('error', { code: 'INTERNAL', message: 'The model ended.', hint: null })
    await asking
    expect(live.errorOf('m2')?.code).toBe('INTERNAL')
    expect(live.of(W, 'c1')?.phase, 'nothing is stored, so it stays visible').toBe('failed')
  })

  it('of the connection is not taken for the end of the answer', async () => {
    const { live, send, end, reached } = setUp()
    const asking = live.ask(W, 'c1', 'Smijem li?', () => undefined)
    await reached()
    send('token', { text: 'Da' })
    await eventually(() => expect(live.of(W, 'c1')?.text).toBe('Da'))
    end()
    await asking
    expect(live.of(W, 'c1')?.error?.code).toBe('UNREACHABLE')
  })
})
