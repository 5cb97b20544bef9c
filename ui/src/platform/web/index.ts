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
    openExternal: async (url) => {
      window.open(url, '_blank', 'noopener,noreferrer')
    },
  }
}
