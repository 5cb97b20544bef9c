/** The desktop window as the host: the in-process tunnel, real paths, `ui.db`. */
import { invoke } from '@tauri-apps/api/core'
import { getCurrentWebview } from '@tauri-apps/api/webview'
import { open } from '@tauri-apps/plugin-dialog'

import type { FileDropEvent, Picked, Platform } from '../types'
import { openSqlState } from './localState'
import { openTunnel } from './tunnel'

export async function openPlatform(): Promise<Platform> {
  const tunnel = openTunnel(
    (command, args, options) => invoke(command, args, options),
    crypto.randomUUID(),
  )
  return {
    kind: 'desktop',
    fetch: tunnel.fetch,
    Request: tunnel.Request,
    pickFiles: () => pick({ directory: false }),
    pickFolder: () => pick({ directory: true }),
    folderPicker: 'path',
    onFileDrop: listenForFileDrops,
    localState: await openSqlState(),
    notify: (title, body) => void invoke<void>('notify', { title, body }).catch(() => {}),
    saveText: (name, text) => invoke<boolean>('save_text', { name, text }),
    openExternal: (url) => invoke<void>('open_external', { url }),
  }
}

async function pick({ directory }: { directory: boolean }): Promise<Picked | null> {
  const picked = await open({ directory, multiple: true })
  return picked && picked.length > 0 ? { kind: 'paths', paths: picked } : null
}

function listenForFileDrops(listener: (event: FileDropEvent) => void): () => void {
  const listening = getCurrentWebview().onDragDropEvent(({ payload }) => {
    switch (payload.type) {
      case 'enter':
        return listener({ type: 'over' })
      case 'leave':
        return listener({ type: 'leave' })
      case 'drop':
        listener({ type: 'leave' })
        if (payload.paths.length > 0) {
          listener({ type: 'drop', dropped: { kind: 'paths', paths: payload.paths } })
        }
    }
  })
  return () => void listening.then((unlisten) => unlisten())
}
