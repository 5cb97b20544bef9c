// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, cleanup, render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeAll, expect, it, vi } from 'vitest'

import type { Api, DocumentFilter } from '../../api/client'
import { ApiError } from '../../api/errors'
import { ApiContext } from '../../api/queries'
import type { Document, DocumentCounts, ProblemCount, Workspace } from '../../api/types'
import { Toasts } from '../../components/Toasts'
import { I18nProvider } from '../../lib/i18n'
import { LocalStateContext, observable } from '../../lib/localState'
import { NoticesProvider } from '../../lib/notices'
import { PassageContext } from '../../lib/passage'
import { testIds } from '../../lib/testids'
import { PlatformContext, type Platform } from '../../platform'
import { DocumentsPage } from './DocumentsPage'

const counts: DocumentCounts = {
  queued: 0,
  reading: 0,
  words: 0,
  ready: 3,
  failed: 2,
  skipped: 0,
  chunks: 9,
  embedded_chunks: 9,
}
const workspace = { id: 'w', name: 'Ured', counts } as Workspace

const document_ = (n: number) =>
  ({
    id: `d${n}`,
    title: `Spis ${n}`,
    path: `/spisi/${n}.txt`,
    status: 'ready',
    problem: null,
    reason: null,
    origin: 'file',
    language: 'hr',
    size_bytes: 1,
    chunk_count: 3,
    embedded_count: 3,
  }) as Document

function show(problems: ProblemCount[] | ApiError = [], folders: [] | ApiError = []) {
  const core = { listed: [1, 2, 3].map(document_), problems, folders }
  const or = <T,>(value: T | ApiError): T => {
    if (value instanceof ApiError) throw value
    return value
  }
  const api = {
    documents: {
      list: vi.fn(async (_: string, _filter: DocumentFilter) => ({
        items: core.listed,
        next_cursor: null,
        counts,
      })),
      problems: vi.fn(async () => or(core.problems)),
      remove: vi.fn(async (_: string, id: string) => {
        core.listed = core.listed.filter((each) => each.id !== id)
      }),
    },
    folders: { list: vi.fn(async () => or(core.folders)) },
    jobs: { running: async () => ({ items: [], progress: { files_total: 0 } }) },
  }
  const cache = new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: Infinity } },
  })
  const state = new Map<string, string>()
  const localState = observable({
    read: (key) => state.get(key),
    write: (key, value) => void (value === undefined ? state.delete(key) : state.set(key, value)),
  })
  render(
    <I18nProvider locale="en">
      <PlatformContext value={{ folderPicker: 'path' } as unknown as Platform}>
        <LocalStateContext value={localState}>
          <ApiContext value={api as unknown as Api}>
            <QueryClientProvider client={cache}>
              <NoticesProvider>
                <PassageContext value={{ state: null, open: () => {}, close: () => {} }}>
                  <main tabIndex={-1}>
                    <DocumentsPage workspace={workspace} onOpenJobs={() => {}} />
                  </main>
                  <Toasts />
                </PassageContext>
              </NoticesProvider>
            </QueryClientProvider>
          </ApiContext>
        </LocalStateContext>
      </PlatformContext>
    </I18nProvider>,
  )
  return { core, api }
}

beforeAll(() => {
  for (const side of ['clientWidth', 'clientHeight'] as const) {
    Object.defineProperty(Element.prototype, side, { configurable: true, get: () => 600 })
  }
  Element.prototype.scrollTo = () => undefined
})
afterEach(cleanup)

const rows = () => screen.findAllByTestId(testIds.documentRow)
const focused = () => document.activeElement?.textContent

it('closes the problems when one is to be shown, and says which one it is', async () => {
  const { api } = show([
    { problem: 'too_big', documents: 2, searchable: 0 },
    { problem: 'empty', documents: 1, searchable: 0 },
  ])
  const summary = await screen.findByText('2 documents cannot be found, or not all of them')
  const section = summary.closest('details') as HTMLDetailsElement
  await userEvent.click(summary)
  await waitFor(() => expect(section.open).toBe(true))
  expect(screen.getByText('Split them into smaller files.')).toBeTruthy()
  expect(screen.getByText('There is nothing in it to read.'), 'of one alone').toBeTruthy()
  const [first] = within(section).getAllByRole('button', { name: 'Show' })
  await userEvent.click(first as HTMLElement)
  await waitFor(() => expect(section.open).toBe(false))
  expect(section.querySelector('summary')?.textContent).toContain('2 are too big')
  expect(document.activeElement?.tagName).toBe('SUMMARY')
  expect(api.documents.list.mock.lastCall?.[1]).toMatchObject({ problem: 'too_big' })
})

it('says what cannot be shown, and asks again', async () => {
  const failed = (what: string) => new ApiError('INTERNAL', `${what} could not be read.`, 'See the log.')
  const { core } = show(failed('Problems'), failed('Folders'))
  const folders = (await screen.findByText('The followed folders cannot be shown.')).closest(
    '[role=alert]',
  ) as HTMLElement
  const problems = (await screen.findByText('Which documents cannot be found is not known.')).closest(
    '[role=alert]',
  ) as HTMLElement
  expect(folders.textContent).toContain('Folders could not be read.See the log.')
  expect(problems.textContent).toContain('Problems could not be read.')
  core.folders = []
  core.problems = []
  for (const notice of [folders, problems]) {
    await userEvent.click(within(notice).getByRole('button', { name: 'Try again' }))
  }
  await waitFor(() => expect(screen.queryByRole('alert')).toBeNull())
})

it('clears the words that it looks for on Escape, and nothing else hears of it', async () => {
  const { api } = show()
  await rows()
  const heard = vi.fn()
  const listen = (event: KeyboardEvent) => heard(event.key, event.defaultPrevented)
  window.addEventListener('keydown', listen)
  const field = screen.getByRole('searchbox', { name: 'Find by name' }) as HTMLInputElement
  await userEvent.type(field, 'x')
  await waitFor(() => expect(api.documents.list.mock.lastCall?.[1]).toMatchObject({ query: 'x' }))
  await userEvent.keyboard('{Escape}')
  expect(field.value).toBe('')
  expect(document.activeElement).toBe(field)
  await userEvent.keyboard('{Escape}')
  expect(heard.mock.calls.filter(([key]) => key === 'Escape')).toEqual([
    ['Escape', true],
    ['Escape', false],
  ])
  window.removeEventListener('keydown', listen)
})

it('goes on at the next document when one is removed by keys', async () => {
  const { api } = show()
  const all = await rows()
  act(() => all[1]?.focus())
  await userEvent.keyboard('{Delete}')
  await screen.findByRole('alertdialog')
  await userEvent.keyboard('{Escape}')
  await waitFor(() => expect(focused()).toContain('Spis 2'))
  await userEvent.keyboard('{Delete}')
  await screen.findByRole('alertdialog')
  await userEvent.keyboard('{Tab}{Enter}')
  expect(api.documents.remove).toHaveBeenCalledExactlyOnceWith('w', 'd2')
  await waitFor(() => expect(screen.queryByText('Spis 2')).toBeNull())
  await waitFor(() => expect(focused()).toContain('Spis 3'))
})
