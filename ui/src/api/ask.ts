/** A question, and what happens until its answer is there. */
import { readEvents } from '../lib/sse'
import type { Api } from './client'
import { ApiError } from './errors'
import type {
  ErrorBody,
  QueryRequest,
  QueryResponse,
  QueryRetrieved,
  QueryRevised,
  QueryStarted,
  QueryToken,
} from './types'

/**
 * In this order: one `started`, one or two `retrieved`, any number of `token`, at most one
 * `revised` (which replaces all text so far), then `done`. Failures are thrown.
 */
export type AnswerEvent =
  | ({ type: 'started' } & QueryStarted)
  | ({ type: 'retrieved' } & QueryRetrieved)
  | ({ type: 'token' } & QueryToken)
  | ({ type: 'revised' } & QueryRevised)
  | { type: 'done'; response: QueryResponse }

export async function* ask(
  api: Api,
  request: QueryRequest,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent, void, undefined> {
  const response = await api.query(request, signal)
  if (!response.body) throw new ApiError('UNREACHABLE', 'The answer has no body.')
  for await (const { name, data } of readEvents(response.body)) {
    const payload: unknown = JSON.parse(data)
    switch (name) {
      case 'started':
      case 'retrieved':
      case 'token':
      case 'revised':
        yield { type: name, ...(payload as object) } as AnswerEvent
        break
      case 'done':
        yield { type: 'done', response: payload as QueryResponse }
        return
      case 'error': {
        const error = payload as ErrorBody['error']
        throw new ApiError(error.code, error.message, error.hint)
      }
    }
  }
  throw new ApiError('UNREACHABLE', 'The answer ended in the middle.')
}
