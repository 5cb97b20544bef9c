import { createContext, useContext } from 'react'

/** Whether the change stream is open: without it the window may show what is no longer true. */
export const ConnectionContext = createContext(true)

export function useConnected(): boolean {
  return useContext(ConnectionContext)
}
