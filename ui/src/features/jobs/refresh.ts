import { useQueryClient, type InfiniteData } from '@tanstack/react-query'
import { useEffect, useRef, type RefObject } from 'react'

import { JOBS_PER_PAGE, keys } from '../../api/queries'
import type { JobList } from '../../api/types'
import type { Listed } from './JobsPage'

/** A page of the list is asked for again at most this often while jobs come and go. */
const REFRESH_MS = 2_000

type Pages = InfiniteData<JobList, string | null>

/**
 * Has the list asked for again after something has happened to jobs: soon, but once for many
 * changes. Pages below what is in view are forgotten first, so that it stays one request at the
 * top; further down it comes the more seldom the more pages there are.
 * @param changedAt when it was last learned that something has happened; 0 while nothing is known.
 */
export function useFreshList(
  workspace: string,
  shown: Listed,
  changedAt: number,
  firstSeen: RefObject<number>,
): void {
  const cache = useQueryClient()
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const known = useRef({ shown, changedAt })
  useEffect(() => {
    const before = known.current
    known.current = { shown, changedAt }
    // A list is asked for when it comes into view, and those out of view are not kept.
    if (before.shown !== shown || before.changedAt === 0 || before.changedAt === changedAt) return
    if (timer.current) return
    const needed = () => Math.floor(firstSeen.current / JOBS_PER_PAGE) + 1
    timer.current = setTimeout(() => {
      timer.current = undefined
      const queryKey = keys.jobList(workspace, shown)
      const kept = needed()
      cache.setQueryData<Pages>(queryKey, (list) =>
        list && list.pages.length > kept
          ? { pages: list.pages.slice(0, kept), pageParams: list.pageParams.slice(0, kept) }
          : list,
      )
      void cache.invalidateQueries({ queryKey })
    }, REFRESH_MS * needed())
  }, [changedAt, shown, workspace, cache, firstSeen])
  useEffect(
    () => () => {
      clearTimeout(timer.current)
      timer.current = undefined
    },
    [shown, workspace],
  )
}
