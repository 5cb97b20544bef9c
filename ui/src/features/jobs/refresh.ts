import { useEffect, useRef } from 'react'

import { keys, useInvalidate } from '../../api/queries'
import type { JobCounts } from '../../api/types'
import type { Listed } from './JobsPage'

/** A page of the list is asked for again at most this often while jobs come and go. */
const REFRESH_MS = 2_000

/**
 * Has the list asked for again when its number of jobs has changed: soon, but once for many
 * changes, and the more seldom the longer the list is.
 */
export function useFreshList(
  workspace: string,
  shown: Listed,
  counts: JobCounts | undefined,
  pages: number,
): void {
  const invalidate = useInvalidate()
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const known = useRef<string | undefined>(undefined)
  const size = counts && `${shown} ${counts[shown]}`
  const wait = REFRESH_MS * Math.max(1, pages)
  useEffect(() => {
    const before = known.current
    known.current = size
    // Another list was just asked for.
    if (!size || before?.split(' ')[0] !== shown || before === size || timer.current) return
    timer.current = setTimeout(() => {
      timer.current = undefined
      invalidate(keys.jobList(workspace, shown))
    }, wait)
  }, [size, shown, wait, workspace, invalidate])
  useEffect(
    () => () => {
      clearTimeout(timer.current)
      timer.current = undefined
    },
    [shown, workspace],
  )
}
