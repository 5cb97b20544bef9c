/** What this device remembers, as React state. */
import { createContext, useCallback, useContext, useSyncExternalStore } from 'react'

import type { LocalState } from '../platform/types'

export interface ObservableState extends LocalState {
  subscribe(key: string, listener: () => void): () => void
}

/** The same state, telling those who read a key when it is written. */
export function observable(state: LocalState): ObservableState {
  const listeners = new Map<string, Set<() => void>>()
  return {
    read: (key) => state.read(key),
    write(key, value) {
      state.write(key, value)
      listeners.get(key)?.forEach((listener) => listener())
    },
    subscribe(key, listener) {
      const those = listeners.get(key) ?? new Set()
      listeners.set(key, those.add(listener))
      return () => those.delete(listener)
    },
  }
}

export const LocalStateContext = createContext<ObservableState | null>(null)

export function useLocalStore(): ObservableState {
  const state = useContext(LocalStateContext)
  if (!state) throw new Error('BUG: useLocalStore outside of LocalStateContext')
  return state
}

/** A remembered string; `undefined` forgets it. */
export function useRemembered(
  key: string,
): [string | undefined, (value: string | undefined) => void] {
  const state = useLocalStore()
  const subscribe = useCallback(
    (listener: () => void) => state.subscribe(key, listener),
    [state, key],
  )
  const value = useSyncExternalStore(subscribe, () => state.read(key))
  const write = useCallback(
    (next: string | undefined) => state.write(key, next),
    [state, key],
  )
  return [value, write]
}
