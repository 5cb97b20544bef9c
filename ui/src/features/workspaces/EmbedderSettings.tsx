import { useQuery } from '@tanstack/react-query'
import { Check, Download } from 'lucide-react'
import { useState } from 'react'

import { asApiError } from '../../api/errors'
import { keys, queries, useApi, useInvalidate } from '../../api/queries'
import type { EmbedderChange, EmbedderPlan, Model, PreviousVectors } from '../../api/types'
import { Button } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { Dialog, DialogActions } from '../../components/Dialog'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Menu, MenuItem } from '../../components/Menu'
import { Notice } from '../../components/Notice'
import { Progress } from '../../components/Progress'
import { useI18n, type I18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import styles from './EmbedderSettings.module.css'

/** The model that finds by meaning in a workspace: changing it, and the way back. */
export function EmbedderSettings({ workspace }: { workspace: string }) {
  const { t, bytes, day } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const status = useQuery(queries.embedder(api, workspace))
  const models = useQuery(queries.models(api))
  const [planned, setPlanned] = useState<string | null>(null)
  const [discarding, setDiscarding] = useState(false)

  const act = async (action: Promise<void>) => {
    try {
      await action
    } catch (error) {
      const { message, hint } = asApiError(error)
      notices.warn(message, hint ? [hint] : undefined)
    }
    invalidate(keys.embedder(workspace), keys.workspaces())
  }
  if (status.isError && !status.data) {
    return (
      <ErrorNotice
        title={t('embedder.unknown')}
        message={asApiError(status.error).message}
        hint={asApiError(status.error).hint}
        onRetry={() => void status.refetch()}
      />
    )
  }
  if (!status.data) return null
  const { embedder, size_bytes, change, previous } = status.data
  const nameOf = (id: string) => models.data?.find((model) => model.id === id)?.name ?? id
  const others = (models.data ?? []).filter(
    (model) => model.role === 'embedder' && ![embedder, previous?.embedder].includes(model.id),
  )
  return (
    <section className={styles.embedder} aria-labelledby="embedder-heading">
      <h3 id="embedder-heading" className={styles.heading}>
        {t('embedder.heading')}
      </h3>
      <div className={styles.row}>
        <p>{t('embedder.current', { name: nameOf(embedder), size: bytes(size_bytes) })}</p>
        {!change && others.length > 0 && (
          <Menu trigger={<Button>{t('embedder.change')}</Button>}>
            {others.map((model) => (
              <MenuItem
                key={model.id}
                icon={isHere(model) ? <Check size={15} /> : <Download size={15} />}
                onSelect={() => setPlanned(model.id)}
              >
                {isHere(model) ? model.name : `${model.name} (${t('embedder.notHere')})`}
              </MenuItem>
            ))}
          </Menu>
        )}
      </div>
      {change && (
        <ChangeUnderWay
          change={change}
          name={nameOf(change.to)}
          answering={nameOf(embedder)}
          onPause={() => void act(api.embedder.pause(workspace))}
          onResume={() => void act(api.embedder.resume(workspace))}
          onCancel={() => void act(api.embedder.cancel(workspace))}
        />
      )}
      {previous && (
        <div className={styles.previous}>
          <p className={styles.soft}>
            {t('embedder.previous', {
              name: nameOf(previous.embedder),
              day: day(previous.kept_until),
              size: bytes(previous.size_bytes),
            })}
          </p>
          <div className={styles.actions}>
            <Button
              size="s"
              disabled={change !== null}
              onClick={() => void act(api.embedder.rollBack(workspace))}
            >
              {t('embedder.rollBack')}
            </Button>
            <Button size="s" look="quiet" onClick={() => setDiscarding(true)}>
              {t('embedder.discard')}
            </Button>
          </div>
          <ConfirmDialog
            open={discarding}
            onOpenChange={setDiscarding}
            title={t('embedder.discardTitle', { name: nameOf(previous.embedder) })}
            body={t('embedder.discardBody')}
            action={t('common.delete')}
            onConfirm={() => void act(api.embedder.discard(workspace))}
          />
        </div>
      )}
      {planned && (
        <PlanDialog
          workspace={workspace}
          to={planned}
          name={nameOf(planned)}
          note={models.data?.find((model) => model.id === planned)?.note}
          current={nameOf(embedder)}
          replaced={previous && { ...previous, embedder: nameOf(previous.embedder) }}
          onClose={() => setPlanned(null)}
          onStart={() => {
            setPlanned(null)
            void act(api.embedder.change(workspace, planned))
          }}
        />
      )}
    </section>
  )
}

function isHere(model: Model): boolean {
  return model.installed === 'verified'
}

interface ChangeUnderWayProps {
  change: EmbedderChange
  name: string
  /** The one that answers until then. */
  answering: string
  onPause: () => void
  onResume: () => void
  onCancel: () => void
}

const TITLES = {
  running: 'embedder.changing',
  paused: 'embedder.paused',
  failed: 'embedder.failed',
} as const

function ChangeUnderWay({
  change,
  name,
  answering,
  onPause,
  onResume,
  onCancel,
}: ChangeUnderWayProps) {
  const i18n = useI18n()
  const { t } = i18n
  const [cancelling, setCancelling] = useState(false)
  const { done, total, state, seconds_left } = change
  const title = t(TITLES[state], { name })
  return (
    <div className={styles.change}>
      <p>{title}</p>
      <Progress label={title} done={done} total={total} />
      <p className={styles.soft}>
        {t('embedder.progress', { done, count: total })}
        {seconds_left !== null && ` · ${t('embedder.left', { time: time(seconds_left, i18n) })}`}
        {` · ${t('embedder.still', { name: answering })}`}
      </p>
      {change.reason && <p className={styles.caution}>{change.reason}</p>}
      <div className={styles.actions}>
        {state === 'running' ? (
          <Button size="s" onClick={onPause}>
            {t('embedder.pause')}
          </Button>
        ) : (
          <Button size="s" onClick={onResume}>
            {t('embedder.resume')}
          </Button>
        )}
        <Button size="s" look="quiet" onClick={() => setCancelling(true)}>
          {t('embedder.cancel')}
        </Button>
      </div>
      <ConfirmDialog
        open={cancelling}
        onOpenChange={setCancelling}
        title={t('embedder.cancelTitle', { name })}
        body={t('embedder.cancelBody')}
        action={t('embedder.cancel')}
        onConfirm={onCancel}
      />
    </div>
  )
}

interface PlanDialogProps {
  workspace: string
  to: string
  name: string
  /** What the catalog remarks on it. */
  note: string | null | undefined
  /** The one that answers now. */
  current: string
  /** What is kept of the one before, which has to make room. */
  replaced: PreviousVectors | null
  onClose: () => void
  onStart: () => void
}

/** What a change costs, before it is begun. */
function PlanDialog({
  workspace,
  to,
  name,
  note,
  current,
  replaced,
  onClose,
  onStart,
}: PlanDialogProps) {
  const { t } = useI18n()
  const api = useApi()
  const plan = useQuery(queries.embedderPlan(api, workspace, to))
  const refused = plan.error
    ? asApiError(plan.error).message
    : plan.data && !plan.data.installed
      ? t('embedder.fetchFirst', { name })
      : plan.data?.obstacle
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()} title={t('embedder.planTitle', { name })}>
      {note && <p className={styles.note}>{note}</p>}
      <div className={styles.facts} aria-live="polite">
        {refused ? (
          <Notice kind="caution" title={refused} />
        ) : plan.data ? (
          <PlanFacts plan={plan.data} name={name} current={current} replaced={replaced} />
        ) : (
          <p className={styles.soft}>{t('embedder.measuring')}</p>
        )}
      </div>
      <DialogActions>
        <Button onClick={onClose}>{t('common.cancel')}</Button>
        <Button look="primary" disabled={!plan.data || Boolean(refused)} onClick={onStart}>
          {t('embedder.start')}
        </Button>
      </DialogActions>
    </Dialog>
  )
}

interface PlanFactsProps extends Pick<PlanDialogProps, 'name' | 'current' | 'replaced'> {
  plan: EmbedderPlan
}

function PlanFacts({ plan, name, current, replaced }: PlanFactsProps) {
  const i18n = useI18n()
  const { t, bytes, day } = i18n
  const { seconds, disk_bytes, free_bytes, long_passages: long } = plan
  const size = disk_bytes === null ? null : bytes(disk_bytes)
  return (
    <>
      <ul>
        <li>{t('embedder.passages', { count: plan.chunks })}</li>
        <li>
          {seconds === null
            ? t('embedder.takesUnknown')
            : t('embedder.takes', { time: time(seconds, i18n) })}
        </li>
        {size && (
          <li>
            {free_bytes === null
              ? t('embedder.needs', { size })
              : t('embedder.needsOf', { size, free: bytes(free_bytes) })}
          </li>
        )}
      </ul>
      {long && long.longer > 0 && (
        <p className={styles.caution}>
          {t('embedder.long', { count: long.longer, of: long.looked_at, name })}
        </p>
      )}
      {replaced && (
        <p className={styles.caution}>
          {t('embedder.replaces', { name: replaced.embedder, day: day(replaced.kept_until) })}
        </p>
      )}
      <p className={styles.soft}>{t('embedder.meanwhile', { name: current })}</p>
    </>
  )
}

function time(seconds: number, { t }: I18n): string {
  const minutes = Math.round(seconds / 60)
  if (minutes < 1) return t('time.moment')
  if (minutes < 90) return t('time.aboutMinutes', { count: minutes })
  return t('time.aboutHours', { count: Math.round(minutes / 60) })
}
