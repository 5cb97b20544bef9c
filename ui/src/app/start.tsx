import { QueryClient } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'

import { createApi } from '../api/client'
import { ApiError } from '../api/errors'
import { LiveAnswers } from '../features/chat/live'
import { observable } from '../lib/localState'
import { openPlatform } from '../platform'
import { App } from './App'
import { createAppRouter } from './router'

/** Again only what may succeed by itself: the core's own refusals are final. */
const RETRIES = 2

export async function start(root: HTMLElement): Promise<void> {
  const platform = await openPlatform()
  const api = createApi(platform)
  const cache = new QueryClient({
    defaultOptions: {
      queries: {
        // The change stream says when something is stale.
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        // The core is on this machine; being offline means nothing to it.
        networkMode: 'always',
        retry: (count, error) =>
          count < RETRIES && error instanceof ApiError && error.code === 'UNREACHABLE',
      },
      mutations: { networkMode: 'always' },
    },
  })
  createRoot(root).render(
    <StrictMode>
      <App
        platform={platform}
        api={api}
        cache={cache}
        live={new LiveAnswers(api, cache)}
        state={observable(platform.localState)}
        router={createAppRouter()}
      />
    </StrictMode>,
  )
}
