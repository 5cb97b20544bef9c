import { useEffect, useEffectEvent, useState } from 'react'

import type { Workspace } from '../../api/types'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import { usePlatform, type Picked } from '../../platform'
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

  const drop = useEffectEvent((dropped: Picked) => {
    onDropped()
    void add(dropped)
  })
  // Subscribed once: between two subscriptions a drop would be lost.
  useEffect(
    () =>
      platform.onFileDrop((event) => {
        setOver(event.type === 'over')
        if (event.type === 'drop') drop(event.dropped)
      }),
    [platform],
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
