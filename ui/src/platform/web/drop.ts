/** Files dropped on a browser page, folders read out of the drop entry by entry. */
import type { FileDropEvent } from '../types'

/** More than this in one drop is a mistake (somebody's home folder): the rest is left out. */
const MAX_DROPPED_FILES = 5_000

export function listenForFileDrops(listener: (event: FileDropEvent) => void): () => void {
  const stop = new AbortController()
  const options = { signal: stop.signal }
  // `dragenter` and `dragleave` fire for every element crossed; the depth tells the window's edge.
  let depth = 0

  window.addEventListener(
    'dragenter',
    (event) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      depth += 1
      if (depth === 1) listener({ type: 'over' })
    },
    options,
  )
  window.addEventListener(
    'dragover',
    (event) => {
      if (carriesFiles(event)) event.preventDefault()
    },
    options,
  )
  window.addEventListener(
    'dragleave',
    (event) => {
      if (!carriesFiles(event)) return
      depth = Math.max(0, depth - 1)
      if (depth === 0) listener({ type: 'leave' })
    },
    options,
  )
  window.addEventListener(
    'drop',
    (event) => {
      if (!carriesFiles(event) || !event.dataTransfer) return
      event.preventDefault()
      depth = 0
      listener({ type: 'leave' })
      void readDrop(event.dataTransfer).then((files) => {
        if (files.length > 0) listener({ type: 'drop', dropped: { kind: 'files', files } })
      })
    },
    options,
  )
  return () => stop.abort()
}

function carriesFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes('Files') ?? false
}

async function readDrop(transfer: DataTransfer): Promise<File[]> {
  // Both lists are emptied when the event handler returns, so they are read before any await.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry())
  const plain = [...transfer.files]
  if (!entries.some((entry) => entry?.isDirectory)) return plain

  const files: File[] = []
  const waiting = entries.filter((entry) => entry !== null)
  while (waiting.length > 0 && files.length < MAX_DROPPED_FILES) {
    const entry = waiting.shift()
    if (!entry || entry.name.startsWith('.')) continue
    if (isFile(entry)) files.push(await new Promise((done, fail) => entry.file(done, fail)))
    else if (isDirectory(entry)) waiting.push(...(await readDirectory(entry)))
  }
  return files
}

async function readDirectory(directory: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = directory.createReader()
  const found: FileSystemEntry[] = []
  for (;;) {
    // A reader gives at most a hundred entries a call, and an empty list at the end.
    const batch = await new Promise<FileSystemEntry[]>((done, fail) =>
      reader.readEntries(done, fail),
    )
    if (batch.length === 0) return found
    found.push(...batch)
  }
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile
}

function isDirectory(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory
}
