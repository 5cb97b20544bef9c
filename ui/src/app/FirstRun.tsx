import { useNavigate } from '@tanstack/react-router'
import { useEffect, useState, type FormEvent, type ReactNode } from 'react'

import type { Status } from '../api/types'
import { Button } from '../components/Button'
import { TextField } from '../components/TextField'
import { FetchModels } from '../features/models/FetchModels'
import { useCreateWorkspace } from '../features/workspaces/create'
import { classes } from '../lib/classes'
import { useI18n } from '../lib/i18n'
import { useNotices } from '../lib/notices'
import { testIds } from '../lib/testids'
import { usePlatform } from '../platform'
import { Mark } from './Mark'
import styles from './FirstRun.module.css'

interface FirstRunProps {
  status: Status
  needsWorkspace: boolean
  onEnter: () => void
}

/** What Docent is, and the three things to do before the first question. */
export function FirstRun({ status, needsWorkspace, onEnter }: FirstRunProps) {
  const { t } = useI18n()
  const navigate = useNavigate()
  const { create, describeError } = useCreateWorkspace()
  const [name, setName] = useState('')
  const [error, setError] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const preparing = [status.generator, status.embedder].some(({ state }) => state === 'loading')
  const modelsHere = ![status.generator, status.embedder].some(({ state }) => state === 'missing')

  const platform = usePlatform()
  const notices = useNotices()
  useEffect(
    // Taken here too: a browser would leave the page and show the file.
    () =>
      platform.onFileDrop((event) => {
        if (event.type === 'drop') notices.say(t('drop.noWorkspace'))
      }),
    [platform, notices, t],
  )

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy || !name.trim()) return
    setBusy(true)
    try {
      const created = await create(name.trim())
      onEnter()
      await navigate({ to: '/w/$workspace/documents', params: { workspace: created.id } })
    } catch (failure) {
      setError(describeError(failure))
    } finally {
      setBusy(false)
    }
  }

  return (
    <main className={styles.screen} data-testid={testIds.firstRun}>
      <div className={styles.columns}>
        <header className={styles.promise}>
          <p className={styles.brand}>
            <Mark size={30} />
            {t('app.name')}
          </p>
          <h1 className={styles.title}>{t('firstRun.title')}</h1>
          <p className={styles.body}>{t('firstRun.body')}</p>
        </header>
        <ol className={styles.steps}>
          <Step number={1} title={t('firstRun.modelsStep')} done={modelsHere}>
            {!modelsHere && <p className={styles.note}>{t('firstRun.modelsBody')}</p>}
            <FetchModels preparing={preparing} />
          </Step>
          {needsWorkspace ? (
            <Step number={2} title={t('firstRun.workspaceStep')}>
              <form className={styles.form} onSubmit={(event) => void submit(event)}>
                <TextField
                  label={t('workspace.name')}
                  value={name}
                  onChange={setName}
                  placeholder={t('workspace.namePlaceholder')}
                  hint={t('workspace.createHint')}
                  error={error}
                  autoFocus={modelsHere}
                  data-testid={testIds.workspaceNameInput}
                />
                <Button
                  type="submit"
                  look={modelsHere ? 'primary' : 'plain'}
                  disabled={busy || !name.trim()}
                  data-testid={testIds.workspaceCreateSubmit}
                >
                  {t('workspace.createSubmit')}
                </Button>
              </form>
            </Step>
          ) : (
            <Step number={2} title={t('firstRun.later')}>
              <p className={styles.note}>{t('firstRun.laterHint')}</p>
              <Button onClick={onEnter}>{t('firstRun.later')}</Button>
            </Step>
          )}
          {needsWorkspace && <Step number={3} title={t('firstRun.documentsStep')} faint />}
        </ol>
      </div>
    </main>
  )
}

interface StepProps {
  number: number
  title: string
  done?: boolean
  faint?: boolean
  children?: ReactNode
}

function Step({ number, title, done, faint, children }: StepProps) {
  return (
    <li className={classes(styles.step, faint && styles.faint)}>
      <span className={classes(styles.number, done && styles.done)} aria-hidden>
        {number}
      </span>
      <div className={styles.stepBody}>
        <h2 className={styles.stepTitle}>{title}</h2>
        {children}
      </div>
    </li>
  )
}
