import { useCallback } from 'react'

import { asApiError } from '../../api/errors'
import { keys, useApi, useInvalidate } from '../../api/queries'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import { fileName } from '../../lib/paths'
import type { Picked } from '../../platform'

/** One request carries at most this many files, so that one that fails costs few. */
const FILES_PER_UPLOAD = 20

/** Adds what the user pointed at to a workspace and says what became of it. Never throws. */
export function useAddDocuments(workspace: string): (picked: Picked) => Promise<void> {
  const api = useApi()
  const notices = useNotices()
  const { t } = useI18n()
  const invalidate = useInvalidate()

  return useCallback(
    async (picked: Picked) => {
      let uploaded = 0
      try {
        if (picked.kind === 'paths') {
          const added = await api.documents.importPaths(workspace, picked.paths)
          const done = [
            added.folders.length > 0 &&
              t('documents.addedFolders', { count: added.folders.length }),
            added.documents.length > 0 && t('documents.added', { count: added.documents.length }),
            added.skipped.length > 0 && t('documents.notAdded', { count: added.skipped.length }),
          ].filter((line) => line !== false)
          notices.say(
            done.join(' '),
            added.skipped.map(({ path, reason }) => `${fileName(path)}: ${reason}`),
          )
        } else {
          const { files } = picked
          notices.say(t('documents.uploading', { count: files.length }))
          for (let at = 0; at < files.length; at += FILES_PER_UPLOAD) {
            await api.documents.upload(workspace, files.slice(at, at + FILES_PER_UPLOAD))
            uploaded = Math.min(at + FILES_PER_UPLOAD, files.length)
          }
          notices.say(t('documents.added', { count: files.length }))
        }
      } catch (error) {
        const { message, hint } = asApiError(error)
        // The batch that failed says itself what of it was kept.
        const title =
          uploaded > 0 || hint
            ? t('documents.addStopped', { count: uploaded })
            : t('documents.addFailed')
        notices.warn(title, hint ? [message, hint] : [message])
      }
      invalidate(keys.documents(workspace), keys.folders(workspace), keys.workspaces())
    },
    [api, workspace, notices, t, invalidate],
  )
}
