// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, cleanup, render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, describe, expect, it, vi } from 'vitest'

import type { Api } from '../api/client'
import { ApiContext, keys } from '../api/queries'
import type { BatchEnded } from '../api/types'
import { Toasts } from '../components/Toasts'
import { I18nProvider, createI18n } from '../lib/i18n'
import { NoticesProvider } from '../lib/notices'
import { PlatformContext, type Platform } from '../platform'
import { batchText, Following } from './Following'
import type { AppRouter } from './router'

const ended = (more: Partial<BatchEnded> = {}): BatchEnded => ({
  workspace_id: 'w',
  indexed: 5,
  failed: 0,
  skipped: 0,
  took_ms: 130_000,
  ...more,
})

function follow(focused: boolean) {
  vi.spyOn(document, 'hasFocus').mockReturnValue(focused)
  let tell = (_: BatchEnded) => {}
  const body = new ReadableStream<Uint8Array>({
    start(stream) {
      tell = (batch) =>
        stream.enqueue(
          new TextEncoder().encode(`event: batch\ndata: ${JSON.stringify(batch)}\n\n`),
        )
    },
  })
  const notify = vi.fn()
  const navigate = vi.fn()
  const cache = new QueryClient()
  cache.setQueryData(keys.workspaces(), [
    { id: 'w', name: 'Ured' },
    { id: 'p', name: 'Privatno' },
  ])
  const router = { navigate, state: { location: { pathname: '/w/w/documents' } } }
  render(
    <I18nProvider locale="en">
      <PlatformContext value={{ notify } as unknown as Platform}>
        <ApiContext value={{ events: async () => new Response(body) } as unknown as Api}>
          <QueryClientProvider client={cache}>
            <NoticesProvider>
              <Following router={router as unknown as AppRouter} onConnection={() => {}} />
              <Toasts />
            </NoticesProvider>
          </QueryClientProvider>
        </ApiContext>
      </PlatformContext>
    </I18nProvider>,
  )
  return { tell: (batch: BatchEnded) => act(async () => tell(batch)), notify, navigate }
}

afterEach(() => {
  cleanup()
  vi.restoreAllMocks()
})

describe('the end of a batch', () => {
  it('is told in the window, with a way to what failed', async () => {
    const { tell, notify, navigate } = follow(true)
    await tell(ended({ failed: 2, skipped: 1 }))
    await screen.findByText('5 files are searchable (2 min). 2 failed. 1 left out.')
    expect(notify, 'one looks on').not.toHaveBeenCalled()
    await userEvent.click(screen.getByRole('button', { name: 'Show what failed' }))
    expect(navigate).toHaveBeenCalledExactlyOnceWith({
      to: '/w/$workspace/jobs',
      params: { workspace: 'w' },
      search: { show: 'dead' },
    })
  })

  it('is told by the system when one looks elsewhere', async () => {
    const { tell, notify } = follow(false)
    await tell(ended())
    await screen.findByText('5 files are searchable (2 min).')
    expect(notify).toHaveBeenCalledExactlyOnceWith(
      'Ured: all done',
      '5 files are searchable (2 min).',
    )
    expect(screen.queryByRole('button', { name: 'Show what failed' })).toBeNull()
  })

  it('says where, when another workspace is open', async () => {
    const { tell } = follow(true)
    await tell(ended({ workspace_id: 'p', indexed: 12, failed: 3 }))
    await screen.findByText('Privatno: 12 files are searchable (2 min). 3 failed.')
  })

  it('is no news when it was one file', async () => {
    const { tell, notify } = follow(false)
    await tell(ended({ indexed: 1 }))
    await tell(ended({ indexed: 2 }))
    await screen.findByText('2 files are searchable (2 min).')
    expect(screen.queryByText(/^1 file is/)).toBeNull()
    expect(notify).toHaveBeenCalledTimes(1)
  })

  it('is put in Croatian numbers', () => {
    const text = batchText(ended({ indexed: 3, failed: 1, took_ms: 1 }), createI18n('hr'))
    expect(text).toBe('3 datoteke mogu se pretraživati (manje od minute). 1 nije uspjela.')
  })
})
