import { useQuery } from '@tanstack/react-query'
import { Tabs } from 'radix-ui'
import { useId, type ReactNode } from 'react'

import { queries, useApi } from '../api/queries'
import type { Workspace } from '../api/types'
import { Dialog } from '../components/Dialog'
import { Kbd } from '../components/Kbd'
import { SegmentedControl } from '../components/SegmentedControl'
import { ModelList } from '../features/models/ModelList'
import { WorkspaceSettings } from '../features/workspaces/WorkspaceSettings'
import { useI18n } from '../lib/i18n'
import { useLocaleChoice, useTheme } from './settings'
import styles from './SettingsDialog.module.css'

export type SettingsTab = 'general' | 'models' | 'workspace' | 'about'

const TABS: readonly SettingsTab[] = ['general', 'models', 'workspace', 'about']

interface SettingsDialogProps {
  /** `null` while the dialog is closed. */
  tab: SettingsTab | null
  onTab: (tab: SettingsTab | null) => void
  workspace: Workspace
  onWorkspaceDeleted: () => void
}

export function SettingsDialog({
  tab,
  onTab,
  workspace,
  onWorkspaceDeleted,
}: SettingsDialogProps) {
  const { t } = useI18n()
  return (
    <Dialog
      open={tab !== null}
      onOpenChange={(open) => !open && onTab(null)}
      title={t('settings.title')}
      wide
    >
      <Tabs.Root
        className={styles.tabs}
        orientation="vertical"
        value={tab ?? 'general'}
        onValueChange={(value) => onTab(value as SettingsTab)}
      >
        <Tabs.List className={styles.list} aria-label={t('settings.title')}>
          {TABS.map((each) => (
            <Tabs.Trigger key={each} value={each} className={styles.trigger}>
              {t(`settings.${each}`)}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <div className={styles.content}>
          <Tabs.Content value="general">
            <General />
          </Tabs.Content>
          <Tabs.Content value="models">
            <ModelList />
          </Tabs.Content>
          <Tabs.Content value="workspace">
            <WorkspaceSettings
              key={workspace.id}
              workspace={workspace}
              onDeleted={onWorkspaceDeleted}
            />
          </Tabs.Content>
          <Tabs.Content value="about">
            <About />
          </Tabs.Content>
        </div>
      </Tabs.Root>
    </Dialog>
  )
}

function General() {
  const { t } = useI18n()
  const [theme, setTheme] = useTheme()
  const [locale, setLocale] = useLocaleChoice()
  return (
    <div className={styles.rows}>
      <Row label={t('settings.language')}>
        <SegmentedControl
          label={t('settings.language')}
          value={locale}
          onChange={setLocale}
          options={[
            { value: 'system', label: t('settings.languageSystem') },
            // A language is found by those who read it.
            { value: 'en', label: 'English' },
            { value: 'hr', label: 'Hrvatski' },
          ]}
        />
      </Row>
      <Row label={t('settings.theme')}>
        <SegmentedControl
          label={t('settings.theme')}
          value={theme}
          onChange={setTheme}
          options={[
            { value: 'system', label: t('settings.themeSystem') },
            { value: 'light', label: t('settings.themeLight') },
            { value: 'dark', label: t('settings.themeDark') },
          ]}
        />
      </Row>
      <Row label={t('settings.shortcuts')}>
        <dl className={styles.shortcuts}>
          <dt>{t('settings.shortcutSwitch')}</dt>
          <dd>
            <Kbd>Ctrl K</Kbd>
          </dd>
          <dt>{t('settings.shortcutNew')}</dt>
          <dd>
            <Kbd>Ctrl N</Kbd> <Kbd>Alt N</Kbd>
          </dd>
          <dt>{t('settings.shortcutClose')}</dt>
          <dd>
            <Kbd>Esc</Kbd>
          </dd>
        </dl>
      </Row>
    </div>
  )
}

function About() {
  const { t } = useI18n()
  const api = useApi()
  const { data } = useQuery(queries.status(api))
  return (
    <div className={styles.rows}>
      <p className={styles.privacy}>{t('settings.privacy')}</p>
      {data && (
        <>
          <Row label={t('settings.version')}>{data.version}</Row>
          <Row label={t('settings.dataDir')}>
            <span className={styles.path}>{data.data_dir}</span>
          </Row>
        </>
      )}
    </div>
  )
}

function Row({ label, children }: { label: string; children: ReactNode }) {
  const id = useId()
  return (
    <div className={styles.row} role="group" aria-labelledby={id}>
      <h3 id={id} className={styles.label}>
        {label}
      </h3>
      <div className={styles.value}>{children}</div>
    </div>
  )
}
