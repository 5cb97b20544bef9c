/** The window around the pages: sidebar, page, and the document beside it. */
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useRouterState } from '@tanstack/react-router'
import { PanelLeft } from 'lucide-react'
import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  type ReactNode,
} from 'react'

import { queries, useApi } from '../api/queries'
import type { Workspace } from '../api/types'
import { Button, IconButton } from '../components/Button'
import { EmptyState } from '../components/EmptyState'
import { DropOverlay } from '../features/documents/DropOverlay'
import { PassagePanel as DocumentPanel } from '../features/passage/PassagePanel'
import { CreateWorkspaceDialog } from '../features/workspaces/CreateWorkspaceDialog'
import { classes } from '../lib/classes'
import { useI18n } from '../lib/i18n'
import { useRemembered } from '../lib/localState'
import { PassageContext, type PassagePanel, type PassagePanelState } from '../lib/passage'
import { useConnected } from './connection'
import { PanelDivider, usePanelWidth } from './PanelDivider'
import { SettingsDialog, type SettingsTab } from './SettingsDialog'
import { Sidebar } from './Sidebar'
import styles from './Shell.module.css'

export interface ShellState {
  workspace: Workspace
  openSettings: (tab: SettingsTab) => void
  /** A first question has become a chat: its page takes the place of the empty one. */
  chatStarted: (chat: string) => void
}

const ShellContext = createContext<ShellState | null>(null)

export function useShell(): ShellState {
  const shell = useContext(ShellContext)
  if (!shell) throw new Error('BUG: useShell outside of Shell')
  return shell
}

export function Shell({ workspace: id, children }: { workspace: string; children: ReactNode }) {
  const { t } = useI18n()
  const api = useApi()
  const navigate = useNavigate()
  const connected = useConnected()
  const workspaces = useQuery(queries.workspaces(api)).data ?? []
  const workspace = workspaces.find((each) => each.id === id)
  const [, rememberWorkspace] = useRemembered('workspace')

  const [switching, setSwitching] = useState(false)
  const [creating, setCreating] = useState(false)
  const [settings, setSettings] = useState<SettingsTab | null>(null)
  const [sidebar, setSidebar] = useState(false)
  const panel = usePanelState(id)
  const [panelWidth, setPanelWidth] = usePanelWidth()

  const address = useRouterState({ select: (state) => state.location.pathname })
  const addressNow = useRef(address)
  addressNow.current = address
  useEffect(() => setSidebar(false), [address])
  useEffect(() => {
    if (workspace) rememberWorkspace(workspace.id)
  }, [workspace, rememberWorkspace])

  const toNewChat = useCallback(
    () => navigate({ to: '/w/$workspace/chat', params: { workspace: id } }),
    [navigate, id],
  )
  const toDocuments = useCallback(
    () => void navigate({ to: '/w/$workspace/documents', params: { workspace: id } }),
    [navigate, id],
  )
  useShortcuts({
    onSwitch: () => setSwitching((open) => !open),
    onNewChat: () => void toNewChat(),
    onEscape: () => (sidebar ? setSidebar(false) : panel.close()),
  })

  const chatStarted = useCallback(
    (chat: string) => {
      // Not when the user has gone elsewhere while the answer began.
      if (addressNow.current !== `/w/${id}/chat`) return
      void navigate({ to: '/w/$workspace/chat/$chat', params: { workspace: id, chat }, replace: true })
    },
    [navigate, id],
  )
  const shell = useMemo<ShellState | null>(
    () => (workspace ? { workspace, openSettings: setSettings, chatStarted } : null),
    [workspace, chatStarted],
  )
  if (!workspace || !shell) {
    return (
      <EmptyState
        title={t('app.notFound')}
        actions={<Button onClick={() => void navigate({ to: '/' })}>{t('app.goHome')}</Button>}
      >
        {t('app.notFoundHint')}
      </EmptyState>
    )
  }

  return (
    <ShellContext value={shell}>
      <PassageContext value={panel}>
        <a href="#content" className={styles.skip} onClick={skipToContent}>
          {t('app.skipToContent')}
        </a>
        <div className={styles.shell}>
          <div
            className={classes(styles.sidebar, sidebar && styles.sidebarOpen)}
            // What is off the screen is out of the tab order too; on wide windows it is never off.
            data-open={sidebar}
          >
            <Sidebar
              workspace={workspace}
              workspaces={workspaces}
              switching={switching}
              onSwitching={setSwitching}
              onCreate={() => setCreating(true)}
              onOpenSettings={() => setSettings('general')}
              onOpenModels={() => setSettings('models')}
            />
          </div>
          {sidebar && (
            <button
              type="button"
              className={styles.scrim}
              aria-label={t('app.closeSidebar')}
              onClick={() => setSidebar(false)}
            />
          )}
          <main className={styles.main} id="content" tabIndex={-1}>
            <div className={styles.topbar}>
              <IconButton
                label={t('app.openSidebar')}
                icon={<PanelLeft size={18} />}
                onClick={() => setSidebar(true)}
              />
              <span className={styles.topbarName}>{workspace.name}</span>
            </div>
            {!connected && (
              <p className={styles.offline} role="status">
                {t('app.connectionLost')}
              </p>
            )}
            <div className={styles.page}>{children}</div>
          </main>
          {panel.state && (
            <div className={styles.panel} style={{ width: panelWidth }}>
              <PanelDivider width={panelWidth} onChange={setPanelWidth} />
              <DocumentPanel
                workspace={workspace.id}
                state={panel.state}
                onStep={panel.step}
                onClose={panel.close}
              />
            </div>
          )}
        </div>
        <DropOverlay workspace={workspace} onDropped={toDocuments} />
        <CreateWorkspaceDialog
          open={creating}
          onOpenChange={setCreating}
          onCreated={(created) =>
            void navigate({ to: '/w/$workspace/documents', params: { workspace: created } })
          }
        />
        <SettingsDialog
          tab={settings}
          onTab={setSettings}
          workspace={workspace}
          onWorkspaceDeleted={() => {
            setSettings(null)
            void navigate({ to: '/' })
          }}
        />
      </PassageContext>
    </ShellContext>
  )
}

function skipToContent(event: React.MouseEvent) {
  // The address is the router's; the link only moves the focus.
  event.preventDefault()
  document.getElementById('content')?.focus()
}

/** The open document of a workspace; another workspace never sees it. */
function usePanelState(
  workspace: string,
): PassagePanel & { step: (index: number) => void } {
  const [state, setState] = useState<(PassagePanelState & { workspace: string }) | null>(null)
  const opener = useRef<HTMLElement | null>(null)

  const open = useCallback<PassagePanel['open']>(
    (targets, index = 0) => {
      if (document.activeElement instanceof HTMLElement) opener.current = document.activeElement
      setState((before) => ({ workspace, targets, index, opened: (before?.opened ?? 0) + 1 }))
    },
    [workspace],
  )
  const step = useCallback((index: number) => {
    setState((before) => before && { ...before, index, opened: before.opened + 1 })
  }, [])
  const close = useCallback(() => {
    setState((before) => {
      if (before) opener.current?.focus({ preventScroll: true })
      return null
    })
  }, [])
  const shown = state?.workspace === workspace ? state : null
  return useMemo(() => ({ state: shown, open, step, close }), [shown, open, step, close])
}

interface Shortcuts {
  onSwitch: () => void
  onNewChat: () => void
  onEscape: () => void
}

function useShortcuts(shortcuts: Shortcuts) {
  const current = useRef(shortcuts)
  current.current = shortcuts
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const command = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey
      const key = event.key.toLowerCase()
      // A browser keeps Ctrl+N for itself; there Alt+N does it.
      const newChat = key === 'n' && (command || (event.altKey && !event.ctrlKey))
      if (command && key === 'k') current.current.onSwitch()
      else if (newChat) current.current.onNewChat()
      else if (event.key === 'Escape' && !event.defaultPrevented && !inOverlay(event)) {
        current.current.onEscape()
        return
      } else return
      event.preventDefault()
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [])
}

/** Dialogs, menus and popovers close themselves on Escape, and only themselves. */
function inOverlay(event: KeyboardEvent): boolean {
  return (
    event.target instanceof Element &&
    event.target.closest('[role="dialog"], [role="alertdialog"], [role="menu"]') !== null
  )
}
