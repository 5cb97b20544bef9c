/** Keeps the query cache true: the core says what kind of thing changed, the cache asks again. */
import type { QueryClient } from '@tanstack/react-query'

import { readEvents } from '../lib/sse'
import type { Api } from './client'
import { keys } from './queries'
import type { BatchEnded, Change, Topic } from './types'

/**
 * A long list costs more to fetch again than a short one, so each topic waits this long after
 * its first change and takes the others along. Progress shall still look alive.
 */
const GATHER_MS: Record<Topic, number> = {
  documents: 900,
  jobs: 400,
  workspaces: 600,
  chats: 100,
  folders: 200,
  models: 200,
  health: 200,
}

const RETRY_FIRST_MS = 500
const RETRY_MOST_MS = 10_000

/** Follows the change stream until `signal` is aborted, reconnecting with growing pauses. */
export async function followChanges(
  api: Api,
  cache: QueryClient,
  signal: AbortSignal,
  onConnection: (connected: boolean) => void,
  onBatch: (ended: BatchEnded) => void,
): Promise<void> {
  let pause = RETRY_FIRST_MS
  while (!signal.aborted) {
    try {
      const response = await api.events(signal)
      if (response.body) {
        onConnection(true)
        pause = RETRY_FIRST_MS
        // Whatever happened while nobody listened was missed, also before the first time.
        void cache.invalidateQueries()
        for await (const event of readEvents(response.body)) {
          if (event.name === 'change') gather(cache, JSON.parse(event.data) as Change)
          if (event.name === 'batch') onBatch(JSON.parse(event.data) as BatchEnded)
        }
      }
    } catch {
      // Unreachable for now; the loop tries again.
    }
    if (signal.aborted) return
    onConnection(false)
    await sleep(pause, signal)
    pause = Math.min(pause * 2, RETRY_MOST_MS)
  }
}

const gathering = new Set<string>()

function gather(cache: QueryClient, { topic, workspace_id }: Change) {
  const key = `${topic} ${workspace_id ?? ''}`
  if (gathering.has(key)) return
  gathering.add(key)
  setTimeout(() => {
    gathering.delete(key)
    for (const queryKey of affectedKeys(topic, workspace_id)) {
      void cache.invalidateQueries({ queryKey })
    }
  }, GATHER_MS[topic])
}

export function affectedKeys(topic: Topic, workspace: string | null): (readonly unknown[])[] {
  const within = (key: string) => (workspace ? [key, workspace] : [key])
  switch (topic) {
    case 'documents':
      return [within('documents'), within('document'), keys.workspaces()]
    case 'jobs':
      return [within('jobs')]
    case 'chats':
      return [within('chats'), within('messages')]
    case 'workspaces':
      return [keys.workspaces(), within('embedder')]
    case 'folders':
      return [within('folders')]
    case 'models':
      return [keys.models(), keys.status()]
    case 'health':
      return [keys.status()]
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
