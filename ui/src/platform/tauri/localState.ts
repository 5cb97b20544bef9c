import Database from '@tauri-apps/plugin-sql'

import type { LocalState } from '../types'

/** Long enough to gather the key strokes of a word, short enough to survive a closing window. */
const WRITE_DELAY_MS = 250

/**
 * The table `state(key, value)` of `ui.db`, whose migrations belong to the shell. All of it is
 * read at start; a database that cannot be opened costs the memory of the window, not the window.
 */
export async function openSqlState(): Promise<LocalState> {
  const values = new Map<string, string>()
  let database: Database | null = null
  try {
    database = await Database.load('sqlite:ui.db')
    const rows = await database.select<{ key: string; value: string }[]>(
      'SELECT key, value FROM state',
    )
    for (const { key, value } of rows) values.set(key, value)
  } catch (error) {
    console.warn('The window does not remember its state this time:', error)
  }

  const dirty = new Set<string>()
  let timer: ReturnType<typeof setTimeout> | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    for (const key of dirty) {
      const value = values.get(key)
      const written =
        value === undefined
          ? database?.execute('DELETE FROM state WHERE key = $1', [key])
          : database?.execute(
              'INSERT INTO state (key, value) VALUES ($1, $2) ' +
                'ON CONFLICT (key) DO UPDATE SET value = excluded.value',
              [key, value],
            )
      written?.catch((error: unknown) => console.warn('State not written:', key, error))
    }
    dirty.clear()
  }
  window.addEventListener('pagehide', flush)

  return {
    read: (key) => values.get(key),
    write(key, value) {
      if (value === undefined) values.delete(key)
      else values.set(key, value)
      dirty.add(key)
      timer ??= setTimeout(flush, WRITE_DELAY_MS)
    },
  }
}
