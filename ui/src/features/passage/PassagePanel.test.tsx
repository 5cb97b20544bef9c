// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, cleanup, render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Api } from '../../api/client'
import { ApiContext, keys } from '../../api/queries'
import type { Document, DocumentText } from '../../api/types'
import { Toasts } from '../../components/Toasts'
import { I18nProvider, type Locale } from '../../lib/i18n'
import { NoticesProvider } from '../../lib/notices'
import type { PassageTarget } from '../../lib/passage'
import { testIds } from '../../lib/testids'
import { PassagePanel } from './PassagePanel'

const known = (more: Partial<Document> = {}): Document => ({
  id: 'd',
  workspace_id: 'w',
  title: 'Ugovor',
  path: '/spisi/ugovor.pdf',
  format: 'text',
  status: 'ready',
  problem: null,
  reason: null,
  chunk_count: 1,
  embedded_count: 1,
  content_hash: 'h',
  created_at: 0,
  updated_at: 0,
  folder_id: null,
  language: 'hr',
  modified_at: 0,
  origin: 'file',
  page_count: null,
  size_bytes: 10,
  ...more,
})

const textOf = (text: string): DocumentText => ({
  title: 'Ugovor',
  format: 'text',
  text,
  blocks: [{ kind: 'paragraph', level: 0, start: 0, end: text.length }],
})

const cited: PassageTarget = {
  documentId: 'd',
  title: 'Ugovor',
  path: '/spisi/ugovor.pdf',
  passage: { start: 5, end: 16, text: 'druga riječ', page: 1, place: null, boxes: [] },
}

function show(document: Document, text: string, locale: Locale = 'en') {
  const core = { document, text }
  const documents = {
    get: vi.fn(async () => core.document),
    text: vi.fn(async () => textOf(core.text)),
    chunks: vi.fn(async () => []),
    range: vi.fn(async () => new Response()),
    retry: vi.fn(async () => undefined),
  }
  const cache = new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: Infinity } },
  })
  const showing = (open: boolean) => (
    <I18nProvider locale={locale}>
      <ApiContext value={{ documents } as unknown as Api}>
        <QueryClientProvider client={cache}>
          <NoticesProvider>
            {open && (
              <PassagePanel
                workspace="w"
                state={{ targets: [cited], index: 0, opened: 1 }}
                onStep={() => {}}
                onClose={() => {}}
              />
            )}
            <Toasts />
          </NoticesProvider>
        </QueryClientProvider>
      </ApiContext>
    </I18nProvider>
  )
  const { rerender } = render(showing(true))
  return {
    core,
    documents,
    open: (open: boolean) => rerender(showing(open)),
    tell: () => act(() => cache.invalidateQueries({ queryKey: keys.document('w', 'd') })),
  }
}

beforeEach(() => {
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      observe() {}
      disconnect() {}
    },
  )
  Element.prototype.scrollIntoView = () => undefined
  Element.prototype.scrollTo = () => undefined
})

afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

describe('a document whose file is gone', () => {
  const gone = known({
    status: 'failed',
    problem: 'unreachable',
    reason: 'The file is gone. What was read of it is kept.',
    format: 'pdf',
  })

  it('shows the text that is kept, with its mark, and why there is no more', async () => {
    const { documents } = show(gone, 'prva druga riječ')
    expect((await screen.findByTestId(testIds.passageMark)).textContent).toBe('druga riječ')
    const notice = screen.getByRole('alert')
    expect(notice.textContent).toContain('The file is gone.')
    await userEvent.click(within(notice).getByRole('button', { name: 'Read again' }))
    expect(documents.retry).toHaveBeenCalledExactlyOnceWith('w', 'd')
    expect(documents.range, 'the file itself is not asked for').not.toHaveBeenCalled()
  })

  it('has its facts instead when nothing was read of it', async () => {
    const { documents } = show({ ...gone, chunk_count: 0 }, '')
    await screen.findByText('Where it is')
    expect(documents.text).not.toHaveBeenCalled()
  })

  it('is advised on in the language of the window', async () => {
    show({ ...gone, chunk_count: 0 }, '', 'hr')
    await screen.findByText(/^Provjerite je li na mjestu/)
    expect(screen.getByText('The file is gone. What was read of it is kept.').lang).toBe('en')
  })
})

describe('the text of a document', () => {
  const waiting = known({
    problem: 'partly_scanned',
    reason: 'Their text is recognised when all other files have been read.',
  })

  it('is asked for again when a second reading has found more of the same content', async () => {
    const { core, tell } = show(waiting, 'prva druga riječ')
    await screen.findByText('druga riječ')
    core.document = known()
    core.text = 'umetnuto prva druga riječ'
    await tell()
    await screen.findByText('umetnuto prva', { exact: false })
    expect(screen.getByTestId(testIds.passageMark).textContent).toBe('druga riječ')
  })

  it('is asked for again by whoever opens it, though nothing tells the readings apart', async () => {
    const { core, open } = show(known(), 'prva druga riječ')
    await screen.findByText('druga riječ')
    open(false)
    core.text = 'umetnuto prva druga riječ'
    open(true)
    await screen.findByText('umetnuto prva', { exact: false })
  })

  it('stays while its passages are embedded', async () => {
    const { core, tell, documents } = show(
      known({ status: 'words', embedded_count: 0 }),
      'prva druga riječ',
    )
    await screen.findByText('druga riječ')
    core.document = known({ updated_at: 9 })
    await tell()
    await waitFor(() => expect(documents.get).toHaveBeenCalledTimes(2))
    expect(documents.text).toHaveBeenCalledTimes(1)
  })
})

it('says when the path cannot be copied', async () => {
  const user = userEvent.setup()
  vi.spyOn(navigator.clipboard, 'writeText').mockRejectedValue(new DOMException('no'))
  show(known(), 'prva druga riječ')
  await user.click(await screen.findByRole('button', { name: 'Copy the path: /spisi/ugovor.pdf' }))
  await screen.findByText('The path could not be copied. It is:')
})
