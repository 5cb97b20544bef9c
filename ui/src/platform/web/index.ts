/** A browser as the host: plain fetch, uploads instead of paths, localStorage. */
import type { Platform } from '../types'
import { listenForFileDrops } from './drop'
import { openLocalStorageState } from './localState'
import { pickWithInput } from './pick'

export async function openPlatform(): Promise<Platform> {
  return {
    kind: 'browser',
    fetch: (input, init) => window.fetch(input, init),
    Request: window.Request,
    pickFiles: () => pickWithInput({ folder: false }),
    pickFolder: () => pickWithInput({ folder: true }),
    folderPicker: 'copy',
    onFileDrop: listenForFileDrops,
    localState: openLocalStorageState(),
    notify: (title, body) => {
      // Whoever has not allowed it is not asked.
      if ('Notification' in window && Notification.permission === 'granted') {
        new Notification(title, { body, tag: 'docent' })
      }
    },
    saveText: async (name, text) => {
      const address = URL.createObjectURL(new Blob([text]))
      const link = document.createElement('a')
      link.href = address
      link.download = name
      link.click()
      // The download has its own hold on the blob once it has begun.
      setTimeout(() => URL.revokeObjectURL(address), 10_000)
      return true
    },
    openExternal: async (url) => {
      window.open(url, '_blank', 'noopener,noreferrer')
    },
  }
}
