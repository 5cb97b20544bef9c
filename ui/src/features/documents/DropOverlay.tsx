import { useEffect, useState } from 'react'

import type { Workspace } from '../../api/types'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import { usePlatform } from '../../platform'
import { useAddDocuments } from './add'
import styles from './DropOverlay.module.css'

/** Takes files dropped anywhere on the window into the workspace that is open. */
export function DropOverlay({
  workspace,
  onDropped,
}: {
  workspace: Workspace
  onDropped: () => void
}) {
  const { t } = useI18n()
  const platform = usePlatform()
  const add = useAddDocuments(workspace.id)
  const [over, setOver] = useState(false)

  useEffect(
    () =>
      platform.onFileDrop((event) => {
        setOver(event.type === 'over')
        if (event.type === 'drop') {
          onDropped()
          void add(event.dropped)
        }
      }),
    [platform, add, onDropped],
  )

  if (!over) return null
  return (
    <div className={styles.overlay} data-testid={testIds.dropOverlay}>
      <div className={styles.frame}>
        <p className={styles.title}>{t('drop.title', { workspace: workspace.name })}</p>
        <p className={styles.hint}>
          {platform.kind === 'desktop' ? t('drop.hint') : t('drop.hintUpload')}
        </p>
      </div>
    </div>
  )
}
