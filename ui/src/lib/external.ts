/** How a component opens an address without knowing the host that it runs in. */
import { createContext, useContext } from 'react'

export const OpenExternalContext = createContext<(url: string) => Promise<void>>(() =>
  Promise.reject(new Error('BUG: OpenExternalContext has no provider')),
)

export function useOpenExternal(): (url: string) => Promise<void> {
  return useContext(OpenExternalContext)
}
