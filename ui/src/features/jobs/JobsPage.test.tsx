// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, cleanup, render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import type { Api } from '../../api/client'
import { ApiError } from '../../api/errors'
import { ApiContext, keys } from '../../api/queries'
import type { Job, JobList, Workspace } from '../../api/types'
import { Toasts } from '../../components/Toasts'
import { I18nProvider } from '../../lib/i18n'
import { NoticesProvider } from '../../lib/notices'
import { PassageContext } from '../../lib/passage'
import { testIds } from '../../lib/testids'
import { PlatformContext, type Platform } from '../../platform'
import { JobsPage, type Listed } from './JobsPage'

const workspace = { id: 'w', name: 'Ured' } as Workspace

const job = (n: number, more: Partial<Job> = {}): Job => ({
  id: `j${n}`,
  workspace_id: 'w',
  kind: 'read',
  document_id: `d${n}`,
  folder_id: null,
  title: `Spis ${n}`,
  path: `/spisi/spis-${n}.pdf`,
  state: 'queued',
  stage: null,
  progress: { done: 0, total: null },
  eta_seconds: null,
  priority: 0,
  attempts: 0,
  max_attempts: 3,
  run_after: 0,
  reason: null,
  created_at: 0,
  updated_at: 0,
  ...more,
})

const page = (items: Job[], more: Partial<JobList> = {}): JobList => ({
  items,
  next_cursor: null,
  counts: { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0 },
  progress: {
    files_done: 0,
    files_read: 0,
    files_total: 0,
    files_failed: 0,
    chunks_done: 0,
    chunks_total: 0,
    eta_seconds: null,
    paused: false,
  },
  ...more,
})

/** What the core says, which a test may change as it goes on. */
interface Core {
  overview: JobList | ApiError
  listed: Partial<Record<Listed, Job[]>>
}

function show(overview: JobList | ApiError, listed: Job[] = [], shown: Listed = 'queued') {
  const core: Core = { overview, listed: { [shown]: listed } }
  const jobs = {
    running: vi.fn(async () => {
      if (core.overview instanceof ApiError) throw core.overview
      return core.overview
    }),
    list: vi.fn(async (_: string, { state }: { state: Listed; limit: number }) => {
      if (core.overview instanceof ApiError) throw core.overview
      return page(core.listed[state] ?? [])
    }),
    pause: vi.fn(async () => undefined),
    resume: vi.fn(async () => undefined),
    cancel: vi.fn(async () => undefined),
    retry: vi.fn(async () => undefined),
    cancelAll: vi.fn(async () => ({ jobs: 7 })),
    retryAll: vi.fn(async () => ({ jobs: 2 })),
    export: vi.fn(async () => 'record,path\r\n'),
  }
  const saveText = vi.fn(async () => true)
  const open = vi.fn()
  const onShow = vi.fn()
  // As the window has it: only events make anything stale.
  const cache = new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: Infinity } },
  })
  const status = async () => ({ embedder: { state: 'idle' } })
  const showing = (state: Listed | null) => (
    <I18nProvider locale="en">
      <PlatformContext value={{ saveText } as unknown as Platform}>
        <ApiContext value={{ jobs, status } as unknown as Api}>
          <QueryClientProvider client={cache}>
            <NoticesProvider>
              <PassageContext value={{ state: null, open, close: () => {} }}>
                <main tabIndex={-1}>
                  {state && <JobsPage workspace={workspace} shown={state} onShow={onShow} />}
                </main>
                <Toasts />
              </PassageContext>
            </NoticesProvider>
          </QueryClientProvider>
        </ApiContext>
      </PlatformContext>
    </I18nProvider>
  )
  const { rerender } = render(showing(shown))
  return {
    core,
    jobs,
    saveText,
    open,
    onShow,
    /** Another list, or (`null`) another page. */
    turnTo: (state: Listed | null) => rerender(showing(state)),
    /** As an event says that something has happened to jobs. */
    tell: () => act(() => cache.invalidateQueries({ queryKey: keys.jobs('w') })),
  }
}

beforeAll(() => {
  // Nothing is laid out here; the list wants to know how much of it is seen.
  for (const side of ['clientWidth', 'clientHeight'] as const) {
    Object.defineProperty(Element.prototype, side, { configurable: true, get: () => 600 })
  }
})
afterEach(cleanup)

const rows = () => screen.findAllByTestId(testIds.jobRow)

describe('the job list', () => {
  it('says how far the work is and how long it takes, by file', async () => {
    const running = job(1, {
      state: 'running',
      stage: 'extracting',
      progress: { done: 30, total: 90 },
      eta_seconds: 130,
      attempts: 2,
    })
    const { jobs } = show(
      page([running], {
        counts: { queued: 4999, running: 1, done: 12, dead: 0, cancelled: 0 },
        progress: {
          files_done: 2,
          files_read: 12,
          files_total: 5012,
          files_failed: 0,
          chunks_done: 40,
          chunks_total: 90,
          eta_seconds: 5400,
          paused: false,
        },
      }),
      [job(2), job(3)],
    )
    expect((await screen.findByText('12 of 5,012 files read')).textContent).toBeTruthy()
    expect(screen.getByText('Time left: 1 h 30 min')).toBeTruthy()
    await screen.findByText('Spis 2')
    const [first, second] = await rows()
    expect(first?.textContent).toContain('Spis 1')
    expect(first?.textContent).toContain('30 of 90 · 2 min')
    expect(first?.textContent).toContain('attempt 2 of 3')
    expect(
      within(first as HTMLElement).getByTitle('Reading · 30 of 90 · 2 min · attempt 2 of 3'),
      'all of it where it is cut off',
    ).toBeTruthy()
    expect(second?.textContent, 'no ids').not.toContain('j2')
    const waiting = screen.getByRole('button', { name: 'Waiting 4,999' })
    expect(waiting.getAttribute('aria-pressed')).toBe('true')
    await userEvent.click(screen.getByRole('button', { name: 'Cancel: Spis 1' }))
    expect(jobs.cancel).toHaveBeenCalledExactlyOnceWith('w', 'j1')
  })

  it('does not invent a time left', async () => {
    show(
      page([], {
        counts: { queued: 3, running: 0, done: 0, dead: 0, cancelled: 0 },
        progress: { ...page([]).progress, files_total: 3 },
      }),
      [job(1)],
    )
    expect(await screen.findByText('Time left: not known yet')).toBeTruthy()
  })

  it('is paused, says so, and goes on', async () => {
    const { jobs } = show(
      page([], {
        counts: { queued: 3, running: 0, done: 0, dead: 0, cancelled: 0 },
        progress: { ...page([]).progress, files_total: 3, paused: true },
      }),
    )
    expect((await screen.findByText(/^Paused\. Nothing is read/)).role ?? 'status').toBe('status')
    await userEvent.click(screen.getByRole('button', { name: 'Resume' }))
    expect(jobs.resume).toHaveBeenCalledExactlyOnceWith('w')
  })

  it('tries again what was cancelled', async () => {
    const { jobs } = show(
      page([], { counts: { queued: 0, running: 0, done: 0, dead: 0, cancelled: 2 } }),
      [job(4, { state: 'cancelled' })],
      'cancelled',
    )
    await rows()
    expect(screen.queryByRole('button', { name: 'Retry all failed' })).toBeNull()
    await userEvent.click(screen.getByRole('button', { name: 'Retry all cancelled' }))
    expect(jobs.retryAll).toHaveBeenCalledExactlyOnceWith('w', 'cancelled')
  })

  it('gives the reason of what failed, and tries it again', async () => {
    const failed = job(4, { state: 'dead', reason: 'It needs a password.', attempts: 1 })
    const { jobs, onShow, open } = show(
      page([], { counts: { queued: 0, running: 0, done: 0, dead: 1, cancelled: 0 } }),
      [failed],
      'dead',
    )
    const [row] = await rows()
    expect(within(row as HTMLElement).getByText('It needs a password.')).toBeTruthy()
    await userEvent.click(screen.getByRole('button', { name: 'Try again: Spis 4' }))
    expect(jobs.retry).toHaveBeenCalledExactlyOnceWith('w', 'j4')
    await userEvent.click(screen.getByRole('button', { name: 'Retry all failed' }))
    expect(jobs.retryAll).toHaveBeenCalledExactlyOnceWith('w', 'dead')
    expect(await screen.findByText('2 files are tried again.')).toBeTruthy()
    expect(onShow).toHaveBeenCalledWith('queued')
    row?.focus()
    await userEvent.keyboard('{Enter}')
    expect(open).toHaveBeenCalledWith([
      { documentId: 'd4', title: 'Spis 4', path: '/spisi/spis-4.pdf' },
    ])
  })

  it('asks before it cancels everything', async () => {
    const { jobs } = show(
      page([], { counts: { queued: 7, running: 0, done: 0, dead: 0, cancelled: 0 } }),
      [job(1), job(2)],
    )
    await rows()
    await userEvent.click(screen.getByRole('button', { name: 'Cancel all' }))
    expect(jobs.cancelAll).not.toHaveBeenCalled()
    const asking = await screen.findByRole('alertdialog')
    expect(within(asking).getByText('Cancel 7 tasks?')).toBeTruthy()
    await userEvent.click(within(asking).getByRole('button', { name: 'Cancel all' }))
    expect(jobs.cancelAll).toHaveBeenCalledExactlyOnceWith('w')
  })

  it('is used by the keyboard', async () => {
    const { jobs } = show(
      page([], { counts: { queued: 3, running: 0, done: 0, dead: 0, cancelled: 0 } }),
      [job(1), job(2), job(3)],
    )
    const [first] = await rows()
    first?.focus()
    await userEvent.keyboard('{ArrowDown}')
    await waitFor(() => expect(document.activeElement?.textContent).toContain('Spis 2'))
    await userEvent.keyboard('{Delete}')
    expect(jobs.cancel).toHaveBeenCalledExactlyOnceWith('w', 'j2')
  })

  it.each(['done', null] as const)('never shows a list of before (%s meanwhile)', async (elsewhere) => {
    const waiting = { queued: 2, running: 0, done: 0, dead: 0, cancelled: 0 }
    const { core, tell, turnTo } = show(page([], { counts: waiting }), [job(1), job(2)])
    expect(await rows()).toHaveLength(2)
    turnTo(elsewhere)
    await waitFor(() => expect(screen.queryByText('Spis 2')).toBeNull())
    core.listed = { queued: [] }
    core.overview = page([], { counts: { ...waiting, queued: 0, done: 2 } })
    await tell()
    turnTo('queued')
    await screen.findByText('Nothing waits')
    expect(screen.queryByText('Spis 2')).toBeNull()
  })

  it('asks again when one left and another came, and the number is the same', async () => {
    const counts = { queued: 2, running: 0, done: 0, dead: 0, cancelled: 0 }
    const { core, tell, jobs } = show(page([], { counts }), [job(1), job(2)])
    await rows()
    core.listed = { queued: [job(2), job(3)] }
    core.overview = page([], { counts })
    await tell()
    await screen.findByText('Spis 3', undefined, { timeout: 4_000 })
    expect(screen.queryByText('Spis 1')).toBeNull()
    const asked = jobs.list.mock.calls.filter(([, { limit }]) => limit > 1).length
    expect(asked, 'once for the page and once for the change').toBe(2)
  })

  it('keeps the focus in the place of a row that goes', async () => {
    const counts = { queued: 4, running: 0, done: 0, dead: 0, cancelled: 0 }
    const { core, jobs } = show(page([], { counts }), [job(1), job(2), job(3), job(4)])
    jobs.cancel.mockImplementation(async () => {
      core.listed = { queued: [job(1), job(3), job(4)] }
    })
    const all = await rows()
    all[1]?.focus()
    await userEvent.keyboard('{Delete}')
    await waitFor(() => expect(screen.queryByText('Spis 2')).toBeNull())
    expect(document.activeElement?.textContent).toContain('Spis 3')

    // By its button too, and at the end of the list.
    jobs.cancel.mockImplementation(async () => {
      core.listed = { queued: [job(1), job(3)] }
    })
    await userEvent.click(screen.getByRole('button', { name: 'Cancel: Spis 4' }))
    await waitFor(() => expect(screen.queryByText('Spis 4')).toBeNull())
    expect(document.activeElement?.textContent).toContain('Spis 3')

    jobs.cancel.mockImplementation(async () => {
      core.listed = { queued: [] }
    })
    await userEvent.keyboard('{Delete}')
    await screen.findByText('Nothing waits')
    expect(document.activeElement?.tagName, 'the list is gone').toBe('MAIN')
  })

  it('follows the focused row when those above it finish', async () => {
    const counts = { queued: 4, running: 0, done: 0, dead: 0, cancelled: 0 }
    const { core, tell } = show(page([], { counts }), [job(1), job(2), job(3), job(4)])
    const all = await rows()
    all[2]?.focus()
    core.listed = { queued: [job(3), job(4)] }
    await tell()
    await waitFor(() => expect(screen.queryByText('Spis 1')).toBeNull(), { timeout: 4_000 })
    expect(document.activeElement?.textContent).toContain('Spis 3')
    const inTabOrder = (await rows()).filter(({ tabIndex }) => tabIndex === 0)
    expect(inTabOrder).toEqual([document.activeElement])
  })

  it('is a grid, of which one row stays in the tab order while it scrolls', async () => {
    const many = Array.from({ length: 300 }, (_, n) => job(n))
    show(page([], { counts: { queued: 300, running: 0, done: 0, dead: 0, cancelled: 0 } }), many)
    const [first] = await rows()
    first?.focus()
    const grid = screen.getByRole('grid', { name: 'Waiting' })
    expect(within(first as HTMLElement).getAllByRole('gridcell')).toHaveLength(3)
    await act(async () => {
      grid.scrollTop = 58 * 200
      grid.dispatchEvent(new Event('scroll'))
    })
    await screen.findByText('Spis 205')
    expect(screen.queryByText('Spis 100'), 'only what is in view').toBeNull()
    expect(document.activeElement?.textContent).toContain('Spis 0')
    expect((await rows()).filter(({ tabIndex }) => tabIndex === 0)).toHaveLength(1)
  })

  it('says what all that is left waits for', async () => {
    const counts = { queued: 2, running: 0, done: 0, dead: 0, cancelled: 0 }
    const reason = 'the disk is full'
    const { core, tell } = show(page([], { counts }), [job(1, { reason }), job(2, { reason })])
    await screen.findByText('Docent is waiting, and tries again by itself: the disk is full')
    // It is taken up again with the reason, and still waits for it.
    core.overview = page([job(1, { state: 'running', reason })], { counts })
    await tell()
    await screen.findByRole('grid', { name: 'In work now' })
    expect(screen.queryByText('Docent is at work.')).toBeNull()
    core.overview = page([job(1, { state: 'running' })], { counts })
    await tell()
    await screen.findByText('Docent is at work.')
  })

  it('is empty with a word on what would stand there', async () => {
    show(page([]))
    expect(await screen.findByText('Nothing waits')).toBeTruthy()
    expect(screen.getByText('Nothing to do.')).toBeTruthy()
    const disabled = (name: string) =>
      (screen.getByRole('button', { name }) as HTMLButtonElement).disabled
    expect([disabled('Cancel all'), disabled('Retry all failed')]).toEqual([true, true])
  })

  it('says what to do when the list cannot be had', async () => {
    const { jobs } = show(new ApiError('INTERNAL', 'The list could not be read.', 'See the log.'))
    expect(await screen.findByText('The list could not be read.')).toBeTruthy()
    expect(screen.getByText('See the log.')).toBeTruthy()
    await userEvent.click(screen.getByRole('button', { name: 'Try again' }))
    expect(jobs.running).toHaveBeenCalledTimes(2)
  })

  it('is saved as a file', async () => {
    const { jobs, saveText } = show(page([]))
    await userEvent.click(await screen.findByRole('button', { name: 'Export' }))
    await userEvent.click(await screen.findByText('What happened to every file (CSV)'))
    await waitFor(() =>
      expect(saveText).toHaveBeenCalledExactlyOnceWith('docent-Ured.csv', 'record,path\r\n'),
    )
    expect(jobs.export).toHaveBeenCalledExactlyOnceWith('w', 'csv')
  })
})
