import { useQuery } from '@tanstack/react-query'
import { Check, Download } from 'lucide-react'

import { queries, useApi } from '../../api/queries'
import type { Model } from '../../api/types'
import { Button } from '../../components/Button'
import { useI18n } from '../../lib/i18n'
import { isNeeded, ModelList, useModelAction } from './ModelList'
import styles from './FetchModels.module.css'

/** The models in use with their state, and one button that fetches those that are missing. */
export function FetchModels({ preparing }: { preparing: boolean }) {
  const { t, bytes } = useI18n()
  const api = useApi()
  const act = useModelAction()
  const models = useQuery(queries.models(api))
  const needed = models.data?.filter(isNeeded) ?? []
  const missing = needed.filter((model) => model.installed !== 'verified')
  const idle = missing.filter((model) => !model.progress)
  const size = missing.reduce((sum, model) => sum + remaining(model), 0)
  return (
    <div className={styles.fetch}>
      <ModelList neededOnly />
      {models.isSuccess && missing.length === 0 && (
        <p className={styles.ready} role="status">
          <Check size={16} aria-hidden />
          {preparing ? t('firstRun.preparing') : t('firstRun.ready')}
        </p>
      )}
      {missing.length > 0 && (
        <Button
          look="primary"
          icon={<Download size={16} aria-hidden />}
          disabled={idle.length === 0}
          onClick={() => void act(Promise.all(idle.map(({ id }) => api.models.fetch(id))).then(() => undefined))}
        >
          {idle.length === 0
            ? t('firstRun.fetching')
            : t('firstRun.fetch', { size: bytes(size) })}
        </Button>
      )}
    </div>
  )
}

function remaining(model: Model): number {
  return model.size_bytes - (model.progress?.done ?? 0)
}
