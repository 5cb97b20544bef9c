/** Server-sent events out of a response body, over any transport. */
import { createParser } from 'eventsource-parser'

export interface ServerEvent {
  name: string
  data: string
}

/**
 * Yields events as they arrive. Leaving the loop early cancels the body. A body that ends in the
 * middle of an event drops that event, as the standard says.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerEvent, void, undefined> {
  const ready: ServerEvent[] = []
  const parser = createParser({
    onEvent: (event) => ready.push({ name: event.event ?? 'message', data: event.data }),
  })
  const decoder = new TextDecoder()
  // A reader, because not every webview can iterate over a stream.
  const reader = body.getReader()
  let ended = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) {
        ended = true
        return
      }
      parser.feed(decoder.decode(value, { stream: true }))
      while (ready.length > 0) yield ready.shift() as ServerEvent
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined)
  }
}
