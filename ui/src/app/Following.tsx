/** Follows what the core says has changed, and tells of a batch's end. */
import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'

import { followChanges } from '../api/changes'
import { keys, useApi } from '../api/queries'
import type { BatchEnded, Workspace } from '../api/types'
import { spoken } from '../lib/durations'
import { useI18n, type I18n } from '../lib/i18n'
import { useNotices } from '../lib/notices'
import { usePlatform } from '../platform'
import type { AppRouter } from './router'

/** A single file that came in while one looks on is seen to be done; it is not announced. */
const FEWEST_ANNOUNCED = 2

/** The system is bothered with what one may have waited for. */
const FEWEST_NOTIFIED = 2

interface FollowingProps {
  router: AppRouter
  onConnection: (connected: boolean) => void
}

export function Following({ router, onConnection }: FollowingProps) {
  const api = useApi()
  const cache = useQueryClient()
  const notices = useNotices()
  const platform = usePlatform()
  const i18n = useI18n()
  const onBatch = (ended: BatchEnded) => {
    const files = ended.indexed + ended.failed + ended.skipped
    const text = batchText(ended, i18n)
    const workspaces = cache.getQueryData<readonly Workspace[]>(keys.workspaces())
    const name = workspaces?.find(({ id }) => id === ended.workspace_id)?.name
    if (files >= FEWEST_ANNOUNCED || ended.failed > 0) {
      const showFailed = {
        label: i18n.t('batch.showFailed'),
        onChoose: () =>
          void router.navigate({
            to: '/w/$workspace/jobs',
            params: { workspace: ended.workspace_id },
            search: { show: 'dead' },
          }),
      }
      const elsewhere = openWorkspace(router) !== ended.workspace_id
      notices.say(
        elsewhere && name ? i18n.t('batch.in', { workspace: name, text }) : text,
        undefined,
        ended.failed > 0 ? showFailed : undefined,
      )
    }
    if (files >= FEWEST_NOTIFIED && !document.hasFocus()) {
      platform.notify(i18n.t('batch.title', { workspace: name ?? 'Docent' }), text)
    }
  }
  // The language may change while the stream goes on.
  const latest = useRef(onBatch)
  latest.current = onBatch
  useEffect(() => {
    const stop = new AbortController()
    void followChanges(api, cache, stop.signal, onConnection, (ended) => latest.current(ended))
    return () => stop.abort()
  }, [api, cache, onConnection])
  return null
}

/** The one whose pages are shown; `undefined` on the first screen. */
function openWorkspace(router: AppRouter): string | undefined {
  return /^\/w\/([^/]+)/.exec(router.state.location.pathname)?.[1]
}

/** What a batch has come to, in a sentence or three. */
export function batchText({ indexed, failed, skipped, took_ms }: BatchEnded, i18n: I18n): string {
  const { t } = i18n
  const time = spoken(took_ms / 1000, i18n)
  return [
    indexed > 0 ? t('batch.done', { count: indexed, time }) : t('batch.nothing', { time }),
    failed > 0 && t('batch.failed', { count: failed }),
    skipped > 0 && t('batch.skipped', { count: skipped }),
  ]
    .filter(Boolean)
    .join(' ')
}
