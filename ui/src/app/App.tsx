import { QueryClientProvider, type QueryClient } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { useLayoutEffect, useState, type ReactNode } from 'react'

import type { Api } from '../api/client'
import { ApiContext } from '../api/queries'
import { Toasts } from '../components/Toasts'
import { LiveAnswersContext, type LiveAnswers } from '../features/chat/live'
import { OpenExternalContext } from '../lib/external'
import { I18nProvider } from '../lib/i18n'
import { LocalStateContext, type ObservableState } from '../lib/localState'
import { NoticesProvider } from '../lib/notices'
import { PlatformContext, type Platform } from '../platform'
import { ConnectionContext } from './connection'
import { CrashScreen } from './CrashScreen'
import { Following } from './Following'
import type { AppRouter } from './router'
import { useLocale, useShownTheme } from './settings'

export interface Parts {
  platform: Platform
  api: Api
  cache: QueryClient
  live: LiveAnswers
  state: ObservableState
  router: AppRouter
}

export function App({ platform, api, cache, live, state, router }: Parts) {
  const [connected, setConnected] = useState(true)

  return (
    <PlatformContext value={platform}>
      <OpenExternalContext value={platform.openExternal}>
        <LocalStateContext value={state}>
          <ApiContext value={api}>
            <QueryClientProvider client={cache}>
              <LiveAnswersContext value={live}>
                <ConnectionContext value={connected}>
                  <Appearance>
                    <NoticesProvider>
                      <Following router={router} onConnection={setConnected} />
                      <CrashScreen>
                        <RouterProvider router={router} />
                        <Toasts />
                      </CrashScreen>
                    </NoticesProvider>
                  </Appearance>
                </ConnectionContext>
              </LiveAnswersContext>
            </QueryClientProvider>
          </ApiContext>
        </LocalStateContext>
      </OpenExternalContext>
    </PlatformContext>
  )
}

function Appearance({ children }: { children: ReactNode }) {
  const theme = useShownTheme()
  const locale = useLocale()
  useLayoutEffect(() => {
    document.documentElement.dataset['theme'] = theme
    document.documentElement.lang = locale
  }, [theme, locale])
  return <I18nProvider locale={locale}>{children}</I18nProvider>
}
