import type { LocalState } from '../types'

const PREFIX = 'docent:'

/** localStorage, or memory where the browser refuses it (private windows, full quota). */
export function openLocalStorageState(): LocalState {
  const memory = new Map<string, string>()
  return {
    read(key) {
      try {
        return window.localStorage.getItem(PREFIX + key) ?? memory.get(key)
      } catch {
        return memory.get(key)
      }
    },
    write(key, value) {
      try {
        if (value === undefined) window.localStorage.removeItem(PREFIX + key)
        else window.localStorage.setItem(PREFIX + key, value)
        memory.delete(key)
      } catch {
        if (value === undefined) memory.delete(key)
        else memory.set(key, value)
      }
    },
  }
}
