// @vitest-environment jsdom
import { QueryClient } from '@tanstack/react-query'
import { act, cleanup, render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { createApi } from '../api/client'
import { LiveAnswers } from '../features/chat/live'
import { observable } from '../lib/localState'
import { testIds } from '../lib/testids'
import type { Platform } from '../platform'
import { App } from './App'
import { createAppRouter } from './router'

const counts = {
  queued: 0,
  reading: 0,
  words: 0,
  ready: 2,
  failed: 0,
  skipped: 0,
  chunks: 2,
  embedded_chunks: 2,
}
const model = { model: 'm', state: 'idle', message: null }
const documents = [1, 2].map((n) => ({
  id: `d${n}`,
  title: `Spis ${n}`,
  path: `/spisi/${n}.txt`,
  format: 'text',
  status: 'ready',
  problem: null,
  reason: null,
  origin: 'file',
  language: 'hr',
  size_bytes: 1,
  chunk_count: 1,
  embedded_count: 1,
  content_hash: 'h',
}))

/** What the core answers, by the ends of paths. */
const ANSWERS: [RegExp, unknown][] = [
  [/\/status$/, { data_dir: '/d', ready: true, version: '0', embedder: model, generator: model }],
  [
    /\/workspaces$/,
    [
      { id: 'w', name: 'Ured', counts },
      { id: 'p', name: 'Privatno', counts },
    ],
  ],
  [/\/(folders|chats|problems|models)$/, []],
  [/\/documents$/, { items: documents, next_cursor: null, counts }],
  [/\/documents\/d1\/text$/, { title: 'Spis 1', format: 'text', text: 'Tekst.', blocks: [] }],
  [/\/documents\/d1$/, documents[0]],
  [
    /\/jobs$/,
    {
      items: [],
      next_cursor: null,
      counts: { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0 },
      progress: { files_total: 0, paused: false },
    },
  ],
]

function open(width: number) {
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: width <= Number(/max-width: (\d+)px/.exec(query)?.[1] ?? 0),
    addEventListener: () => {},
    removeEventListener: () => {},
  }))
  window.location.hash = '#/w/w/documents'
  const platform = {
    kind: 'browser',
    folderPicker: 'path',
    Request,
    fetch: async (request: Request) => {
      const { pathname } = new URL(request.url)
      if (pathname.endsWith('/events')) return new Response(new ReadableStream())
      const found = ANSWERS.find(([path]) => path.test(pathname))
      if (!found) return new Response('{}', { status: 404 })
      return new Response(JSON.stringify(found[1]), {
        headers: { 'content-type': 'application/json' },
      })
    },
    onFileDrop: () => () => {},
    notify: () => {},
  } as unknown as Platform
  const api = createApi(platform, 'http://window.test')
  const cache = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity } } })
  const remembered = new Map([['locale', 'en']])
  render(
    <App
      platform={platform}
      api={api}
      cache={cache}
      live={new LiveAnswers(api, cache)}
      state={observable({ read: (key) => remembered.get(key), write: () => {} })}
      router={createAppRouter()}
    />,
  )
  // The first page of a run takes its time.
  return screen.findAllByTestId(testIds.documentRow, undefined, { timeout: 20_000 })
}

beforeEach(() => {
  for (const side of ['clientWidth', 'clientHeight'] as const) {
    Object.defineProperty(Element.prototype, side, { configurable: true, get: () => 600 })
  }
  Element.prototype.scrollTo = () => undefined
  window.scrollTo = () => undefined
  Element.prototype.scrollIntoView = () => undefined
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      observe() {}
      disconnect() {}
    },
  )
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
      unobserve() {}
      disconnect() {}
    },
  )
})
afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

const isInert = () => document.getElementById('content')?.hasAttribute('inert')

describe('the sidebar of a narrow window', () => {
  it('takes the focus, and what lies below it takes none until it closes', async () => {
    await open(520)
    const button = screen.getByRole('button', { name: 'Open the sidebar' })
    await userEvent.click(button)
    const sidebar = screen.getByRole('navigation', { name: 'Main' }).parentElement as HTMLElement
    expect(document.activeElement).toBe(sidebar)
    expect(isInert()).toBe(true)
    await userEvent.keyboard('{Tab}')
    expect(document.activeElement).toBe(screen.getByTestId(testIds.workspaceSwitcher))
    await userEvent.keyboard('{Escape}')
    expect(isInert()).toBe(false)
    expect(document.activeElement).toBe(button)
  })

  it('goes when another page is chosen', async () => {
    await open(520)
    await userEvent.click(screen.getByRole('button', { name: 'Open the sidebar' }))
    await userEvent.click(screen.getByRole('link', { name: 'Find passages' }))
    await screen.findByRole('heading', { name: 'Find passages' })
    await waitFor(() => expect(isInert()).toBe(false))
    expect(screen.queryByRole('button', { name: 'Close the sidebar' })).toBeNull()
  })
})

describe('the document beside the page', () => {
  it.each([
    [520, true],
    [1000, true],
    [1280, false],
  ])('at %i px keeps the page from the keyboard: %s', async (width, covers) => {
    const [first] = await open(width)
    act(() => first?.focus())
    await userEvent.keyboard('{Enter}')
    const panel = await screen.findByTestId(testIds.passagePanel)
    await waitFor(() => expect(panel.contains(document.activeElement)).toBe(true))
    expect(isInert()).toBe(covers)
    await userEvent.keyboard('{Escape}')
    await waitFor(() => expect(screen.queryByTestId(testIds.passagePanel)).toBeNull())
    expect(isInert()).toBe(false)
    expect(document.activeElement, 'back where it was opened').toBe(first)
  })
})

describe('the keys of the window', () => {
  it('wait while a dialog is open', async () => {
    await open(1280)
    await userEvent.keyboard('{Control>}k{/Control}')
    expect(screen.getByRole('combobox', { name: 'Find a workspace' })).toBeTruthy()
    await userEvent.keyboard('{Control>}k{/Control}')
    expect(screen.queryByRole('combobox', { name: 'Find a workspace' })).toBeNull()

    await userEvent.click(screen.getByRole('button', { name: 'Settings' }))
    const dialog = await screen.findByRole('dialog', { name: 'Settings' })
    const taken: boolean[] = []
    const listen = (event: KeyboardEvent) => event.key.length === 1 && taken.push(event.defaultPrevented)
    document.defaultView?.addEventListener('keydown', listen)
    await userEvent.keyboard('{Control>}k{/Control}{Alt>}n{/Alt}')
    document.defaultView?.removeEventListener('keydown', listen)
    expect(screen.queryByRole('combobox', { name: 'Find a workspace' })).toBeNull()
    expect(window.location.hash).toBe('#/w/w/documents')
    expect(taken, 'nor does the browser get them').toEqual([true, true])
    expect(within(dialog).getByRole('tab', { name: 'General' })).toBeTruthy()
  })
})
