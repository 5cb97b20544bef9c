// @vitest-environment jsdom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { cleanup, render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, expect, it, vi } from 'vitest'

import type { Api } from '../../api/client'
import { ApiError } from '../../api/errors'
import { ApiContext } from '../../api/queries'
import { I18nProvider } from '../../lib/i18n'
import { NoticesProvider } from '../../lib/notices'
import { EmbedderSettings } from './EmbedderSettings'

const model = (id: string) => ({ id, name: id.toUpperCase(), role: 'embedder', installed: 'verified' })

function show(previous: object | null, fails = false) {
  const core = { fails }
  const api = {
    embedder: {
      get: vi.fn(async () => {
        if (core.fails) throw new ApiError('INTERNAL', 'The index is damaged.')
        return { embedder: 'e5', size_bytes: 1, change: null, previous }
      }),
      plan: async () => ({
        from: 'e5',
        to: 'bge',
        chunks: 9,
        disk_bytes: 1,
        free_bytes: 9,
        installed: true,
        long_passages: { looked_at: 21, longer: 1, max_tokens: 512 },
        obstacle: null,
        seconds: 60,
      }),
    },
    models: { list: async () => [model('e5'), model('bge'), model('old')] },
  }
  render(
    <I18nProvider locale="en">
      <ApiContext value={api as unknown as Api}>
        <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { retry: false } } })}>
          <NoticesProvider>
            <EmbedderSettings workspace="w" />
          </NoticesProvider>
        </QueryClientProvider>
      </ApiContext>
    </I18nProvider>,
  )
  return core
}

afterEach(cleanup)

async function plan() {
  await userEvent.click(await screen.findByRole('button', { name: 'Change…' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'BGE' }))
  await screen.findByText('9 passages are read anew')
}

it('says that a change deletes what is still kept of the embedder before', async () => {
  const at = Date.UTC(2026, 10, 24, 12)
  show({ embedder: 'old', size_bytes: 1, replaced_at: at, kept_until: at })
  await plan()
  screen.getByText(/^What OLD made is kept until November 24\. This change deletes it/)
  screen.getByText(/You can go back to E5 for a week\.$/)
})

it('says nothing of the kind when nothing is kept', async () => {
  show(null)
  await plan()
  expect(screen.queryByText(/This change deletes it/)).toBeNull()
})

it('says so when it is not known what embeds, and asks again', async () => {
  const core = show(null, true)
  await screen.findByText('The index is damaged.')
  core.fails = false
  await userEvent.click(screen.getByRole('button', { name: 'Try again' }))
  await screen.findByText(/^E5, /)
})
