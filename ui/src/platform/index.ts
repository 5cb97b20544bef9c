/** Chooses the host once, at start; the other host's code is never loaded. */
import { createContext, useContext } from 'react'

import type { Platform } from './types'

export type { FileDropEvent, LocalState, Picked, Platform } from './types'

export async function openPlatform(): Promise<Platform> {
  const host =
    '__TAURI_INTERNALS__' in window ? await import('./tauri/index') : await import('./web/index')
  return host.openPlatform()
}

export const PlatformContext = createContext<Platform | null>(null)

export function usePlatform(): Platform {
  const platform = useContext(PlatformContext)
  if (!platform) throw new Error('BUG: usePlatform outside of PlatformContext')
  return platform
}
