/** How many documents there are, whatever their status. */
export function documentsIn(
  counts: Record<'queued' | 'reading' | 'words' | 'ready' | 'failed' | 'skipped', number>,
): number {
  const { queued, reading, words, ready, failed, skipped } = counts
  return queued + reading + words + ready + failed + skipped
}
