/**
 * What the application needs from its host, and the only place where that is written down.
 *
 * There are two hosts: the desktop window (`platform/tauri`, the only folder that may import
 * `@tauri-apps/*`) and a browser (`platform/web`). Nothing else asks which one it runs in; what
 * differs is a value here.
 */
export interface Platform {
  readonly kind: 'desktop' | 'browser'

  /**
   * `fetch` for paths under `/api/`. In the window it goes through the in-process tunnel, in a
   * browser it is the browser's own. Status, headers, streaming bodies, `AbortSignal` and thrown
   * errors (`AbortError`, `TypeError`) behave the same in both.
   */
  fetch(input: string | Request, init?: RequestInit): Promise<Response>

  /**
   * The `Request` to construct for `fetch`. The tunnel's remembers its body, because a `FormData`
   * that holds files cannot be read back from a request in every webview.
   */
  readonly Request: typeof Request

  /** Asks for files; `null` when the user changed their mind. */
  pickFiles(): Promise<Picked | null>

  /** Asks for a folder; `null` when the user changed their mind. */
  pickFolder(): Promise<Picked | null>

  /**
   * What `pickFolder` gives: the folder's path, which the core can go on watching, or copies of
   * the files below it. Where it gives copies, the user may also type a path.
   */
  readonly folderPicker: 'path' | 'copy'

  /** Calls back while files are dragged over the window; returns the end of the subscription. */
  onFileDrop(listener: (event: FileDropEvent) => void): () => void

  /** What this device remembers about the window. Never documents, never answers. */
  readonly localState: LocalState

  /**
   * Tells the user of something through the system, where that is allowed already; else nothing
   * happens. For what ended while they looked elsewhere. Never throws.
   */
  notify(title: string, body: string): void

  /**
   * Gives the user a text as a file of this name, at a place of their choice, in UTF-8; a byte
   * order mark in front of the text is written with it. `false` when they changed their mind.
   */
  saveText(name: string, text: string): Promise<boolean>

  /** Opens an address in the user's browser, on their click only. */
  openExternal(url: string): Promise<void>
}

/**
 * Files that the user pointed at: by path when the core can read them in place, else as bytes.
 * A picked folder comes as its path, or as the files below it.
 */
export type Picked =
  | { readonly kind: 'paths'; readonly paths: readonly string[] }
  | { readonly kind: 'files'; readonly files: readonly File[] }

export type FileDropEvent =
  | { readonly type: 'over' }
  | { readonly type: 'leave' }
  | { readonly type: 'drop'; readonly dropped: Picked }

/**
 * Small strings by key, read at once from memory and written behind. Losing the last write is
 * acceptable; failing to start because of it is not.
 */
export interface LocalState {
  read(key: string): string | undefined
  write(key: string, value: string | undefined): void
}
