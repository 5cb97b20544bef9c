import { useQueryClient } from '@tanstack/react-query'

import { asApiError } from '../../api/errors'
import { keys, useApi } from '../../api/queries'
import type { Workspace } from '../../api/types'
import { useI18n } from '../../lib/i18n'

export function useCreateWorkspace() {
  const { t } = useI18n()
  const api = useApi()
  const cache = useQueryClient()
  return {
    /** Creates a workspace; it is in the cache when the promise resolves. */
    async create(name: string): Promise<Workspace> {
      const created = await api.workspaces.create(name)
      await cache.invalidateQueries({ queryKey: keys.workspaces() })
      cache.setQueryData<Workspace[]>(keys.workspaces(), (before = []) =>
        before.some(({ id }) => id === created.id) ? before : [...before, created],
      )
      return created
    },
    /** The core's own sentence where it has one for this name, else one by the code. */
    describeError(error: unknown): string {
      const { code, message } = asApiError(error)
      return message || t(`error.${code}`)
    },
  }
}
