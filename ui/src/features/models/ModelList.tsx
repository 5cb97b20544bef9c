import { useQuery } from '@tanstack/react-query'
import { Check, Download, TriangleAlert, X } from 'lucide-react'

import { asApiError } from '../../api/errors'
import { keys, queries, useApi, useInvalidate } from '../../api/queries'
import type { Model } from '../../api/types'
import { Button } from '../../components/Button'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Progress } from '../../components/Progress'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import styles from './ModelList.module.css'

interface ModelListProps {
  /** Only what is needed, for the first screen; the settings show the whole catalog. */
  neededOnly?: boolean
}

const ROLES = ['generator', 'embedder', 'reranker', 'runtime'] as const

export function ModelList({ neededOnly = false }: ModelListProps) {
  const { t } = useI18n()
  const api = useApi()
  const models = useQuery(queries.models(api))
  const act = useModelAction()

  if (models.isError && !models.data) {
    return (
      <ErrorNotice
        title={t(`error.${asApiError(models.error).code}`)}
        message={asApiError(models.error).message}
        onRetry={() => void models.refetch()}
      />
    )
  }
  const shown = (models.data ?? []).filter((model) => isNeeded(model) || !neededOnly)
  return (
    <ul className={styles.list}>
      {shown.map((model) => (
        <ModelItem
          key={model.id}
          model={model}
          compact={neededOnly}
          onFetch={() => void act(api.models.fetch(model.id))}
          onCancel={() => void act(api.models.cancel(model.id))}
          onActivate={() => void act(api.models.activate(model.id))}
        />
      ))}
    </ul>
  )
}

/** Without these no question is answered: the models in use, and libraries that are not here yet. */
export function isNeeded(model: Model): boolean {
  return model.active || (model.role === 'runtime' && model.installed !== 'verified')
}

/** Does something to a model and says when it failed. Never throws. */
export function useModelAction(): (action: Promise<void>) => Promise<void> {
  const notices = useNotices()
  const invalidate = useInvalidate()
  return async (action) => {
    try {
      await action
    } catch (error) {
      const { message, hint } = asApiError(error)
      notices.warn(message, hint ? [hint] : undefined)
    }
    invalidate(keys.models(), keys.status())
  }
}

interface ModelItemProps {
  model: Model
  compact: boolean
  onFetch: () => void
  onCancel: () => void
  onActivate: () => void
}

function ModelItem({ model, compact, onFetch, onCancel, onActivate }: ModelItemProps) {
  const { t, bytes } = useI18n()
  const { installed, progress } = model
  const role = ROLES.find((each) => each === model.role)
  const here = installed === 'verified'
  const total = progress?.total ?? model.size_bytes
  return (
    <li className={styles.model}>
      <div className={styles.text}>
        <p className={styles.name}>
          {model.name}
          {model.active && !compact && <span className={styles.badge}>{t('models.active')}</span>}
        </p>
        <p className={styles.facts}>
          {[
            role && t(`models.${role}`),
            t('models.size', { size: bytes(model.size_bytes) }),
            compact || model.memory_bytes === 0
              ? undefined
              : t('models.memory', { size: bytes(model.memory_bytes) }),
            t('models.licence', { licence: model.licence }),
          ]
            .filter((fact) => fact !== undefined)
            .map((fact) => (
              <span key={fact}>{fact}</span>
            ))}
        </p>
        {!model.fits && (
          <p className={styles.caution}>
            <TriangleAlert size={13} aria-hidden /> {t('models.tooBig')}
          </p>
        )}
        {installed === 'damaged' && <p className={styles.danger}>{t('models.damaged')}</p>}
        {model.note && <p className={styles.facts}>{model.note}</p>}
        {progress && (
          <div className={styles.progress}>
            <Progress
              label={t('models.fetchingLabel', { name: model.name })}
              done={progress.done}
              total={total}
            />
            <span className={styles.amount}>
              {t('firstRun.remaining', { done: bytes(progress.done), total: bytes(total) })}
            </span>
          </div>
        )}
      </div>
      <div className={styles.action}>
        {progress ? (
          <Button size="s" icon={<X size={14} aria-hidden />} onClick={onCancel}>
            {t('models.cancel')}
          </Button>
        ) : here ? (
          model.active || model.role === 'runtime' ? (
            <span className={styles.here}>
              <Check size={15} aria-hidden /> {t('models.verified')}
            </span>
          ) : (
            <Button size="s" onClick={onActivate} disabled={!model.fits}>
              {t('models.activate')}
            </Button>
          )
        ) : (
          !compact && (
            <Button size="s" icon={<Download size={14} aria-hidden />} onClick={onFetch}>
              {installed === 'partial' ? t('models.resume') : t('models.fetch')}
            </Button>
          )
        )}
      </div>
    </li>
  )
}
