import { QueryClient, QueryObserver } from '@tanstack/react-query'
import { expect, it, vi } from 'vitest'

import { followChanges } from './changes'
import type { Api } from './client'
import { ApiError } from './errors'
import { keys } from './queries'

it('asks again for all that is shown whenever the stream opens, also the first time', async () => {
  let tries = 0
  const stop = new AbortController()
  const events = async () => {
    tries += 1
    if (tries === 1) throw new ApiError('UNREACHABLE', 'not yet')
    return new Response(new ReadableStream())
  }
  const cache = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } })
  const queryFn = vi.fn(async () => [])
  const observer = new QueryObserver(cache, { queryKey: keys.workspaces(), queryFn })
  const unsubscribe = observer.subscribe(() => {})
  await vi.waitFor(() => expect(queryFn).toHaveBeenCalledTimes(1))
  const connection: boolean[] = []
  const follow = followChanges(
    { events } as unknown as Api,
    cache,
    stop.signal,
    (connected) => connection.push(connected),
    () => {},
  )
  // What changed between the first failure and now was told to nobody.
  await vi.waitFor(() => expect(queryFn).toHaveBeenCalledTimes(2), 5_000)
  expect(connection).toEqual([false, true])
  stop.abort()
  unsubscribe()
  void follow
})
