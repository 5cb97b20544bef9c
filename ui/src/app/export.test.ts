// @vitest-environment jsdom
/** The exported list, from the core's bytes to the file's, in both hosts. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import { createApi } from '../api/client'
import { openPlatform } from '../platform'

/** Excel takes a CSV file for UTF-8 when it begins with these three. */
const MARK = [0xef, 0xbb, 0xbf]
const LIST = 'record,path\r\ndocument,/spisi/žaba.pdf\r\n'
const FILE = [...MARK, ...new TextEncoder().encode(LIST)]

const exportList = async () => {
  const platform = await openPlatform()
  const text = await createApi(platform, 'http://window.test').jobs.export('w', 'csv')
  return { platform, text }
}

beforeEach(() => vi.spyOn(console, 'warn').mockImplementation(() => {}))
afterEach(() => vi.unstubAllGlobals())

it('is saved by a browser byte for byte', async () => {
  vi.stubGlobal('fetch', async () => new Response(Uint8Array.from(FILE)))
  const files: Blob[] = []
  vi.stubGlobal(
    'URL',
    Object.assign(URL, {
      createObjectURL: (file: Blob) => `blob:${files.push(file)}`,
      revokeObjectURL: () => {},
    }),
  )
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(() => {})
  const { platform, text } = await exportList()
  expect(platform.kind).toBe('browser')
  await platform.saveText('a.csv', text)
  const read = new FileReader()
  const done = new Promise((resolve) => (read.onload = resolve))
  read.readAsArrayBuffer(files[0] as Blob)
  await done
  expect([...new Uint8Array(read.result as ArrayBuffer)]).toEqual(FILE)
})

it('is given to the desktop’s own dialog byte for byte', async () => {
  const saved: string[] = []
  const invoke = async (command: string, args: { text: string }) => {
    switch (command) {
      case 'api_call': {
        const head = JSON.stringify({ status: 200, headers: [], body: 'inline' })
        const reply = new Uint8Array(4 + head.length + FILE.length)
        new DataView(reply.buffer).setUint32(0, head.length, true)
        reply.set(new TextEncoder().encode(head), 4)
        reply.set(FILE, 4 + head.length)
        return [...reply]
      }
      case 'save_text':
        // What is not bytes crosses over as JSON.
        saved.push((JSON.parse(JSON.stringify(args)) as { text: string }).text)
        return true
      default:
        throw new Error(`no ${command} here`)
    }
  }
  vi.stubGlobal('__TAURI_INTERNALS__', { invoke })
  const { platform, text } = await exportList()
  expect(platform.kind).toBe('desktop')
  expect(await platform.saveText('a.csv', text)).toBe(true)
  expect([...new TextEncoder().encode(saved[0])]).toEqual(FILE)
})
