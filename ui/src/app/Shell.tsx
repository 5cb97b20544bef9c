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
  useSyncExternalStore,
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
  const panel = usePanelState(id)
  const [panelWidth, setPanelWidth] = usePanelWidth()

  const address = useRouterState({ select: (state) => state.location.pathname })
  const addressNow = useRef(address)
  addressNow.current = address
  const sidebar = useSidebarOverPage(address)
  const panelCovers = useMediaQuery(PANEL_COVERS) && panel.state !== null
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
    onEscape: () => (sidebar.open ? sidebar.hide() : panel.close()),
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
            className={classes(styles.sidebar, sidebar.open && styles.sidebarOpen)}
            // What is off the screen is out of the tab order too; on wide windows it is never off.
            data-open={sidebar.open}
            ref={sidebar.element}
            tabIndex={-1}
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
          {sidebar.open && (
            <button
              type="button"
              className={styles.scrim}
              aria-label={t('app.closeSidebar')}
              onClick={sidebar.hide}
            />
          )}
          <main
            className={styles.main}
            id="content"
            tabIndex={-1}
            // What lies below something else is not reached by the keyboard either.
            inert={sidebar.open || panelCovers}
          >
            <div className={styles.topbar}>
              <IconButton
                label={t('app.openSidebar')}
                icon={<PanelLeft size={18} />}
                onClick={sidebar.show}
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
          {panelCovers && (
            // For the pointer; by the keyboard the panel is closed with Escape or its button.
            <div className={styles.behindPanel} onClick={panel.close} aria-hidden />
          )}
          {panel.state && (
            <div
              className={styles.panel}
              style={{ width: panelWidth }}
              inert={sidebar.open}
            >
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
  const close = useCallback(() => setState(null), [])
  const shown = state?.workspace === workspace ? state : null
  const wasOpen = useRef(false)
  // Only now: while the panel covers the page, nothing on it takes the focus.
  useEffect(() => {
    if (wasOpen.current && !shown) giveBack(opener.current)
    wasOpen.current = shown !== null
  }, [shown])
  return useMemo(() => ({ state: shown, open, step, close }), [shown, open, step, close])
}

/** Where the panel lies over the page, and the sidebar is off the screen until it is opened. */
const PANEL_COVERS = '(max-width: 1020px)'
const SIDEBAR_COVERS = '(max-width: 860px)'

function useMediaQuery(query: string): boolean {
  return useSyncExternalStore(
    useCallback(
      (listener) => {
        const media = window.matchMedia(query)
        media.addEventListener('change', listener)
        return () => media.removeEventListener('change', listener)
      },
      [query],
    ),
    () => window.matchMedia(query).matches,
  )
}

/** The sidebar of a narrow window: over the page of one address, with the focus while it is open. */
function useSidebarOverPage(address: string) {
  const covers = useMediaQuery(SIDEBAR_COVERS)
  const [openAt, setOpenAt] = useState<string | null>(null)
  const open = covers && openAt === address
  const element = useRef<HTMLDivElement>(null)
  const opener = useRef<Element | null>(null)
  const wasOpen = useRef(false)
  useEffect(() => {
    if (open) {
      element.current?.focus()
    } else if (wasOpen.current) {
      giveBack(opener.current, element.current)
    }
    wasOpen.current = open
  }, [open])
  return {
    open,
    element,
    show: (event: React.MouseEvent) => {
      opener.current = event.currentTarget
      setOpenAt(address)
    },
    hide: () => setOpenAt(null),
  }
}

/** Moves the focus back to where it came from, if it is nowhere, or in what has just been closed. */
function giveBack(to: Element | null, closed?: Element | null): void {
  const focused = document.activeElement
  if (focused && focused !== document.body && !closed?.contains(focused)) return
  const target = to?.isConnected ? to : document.getElementById('content')
  if (target instanceof HTMLElement) target.focus({ preventScroll: true })
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
      const switching = command && key === 'k'
      if ((switching || newChat) && isBehindDialog()) {
        // Kept from the browser too, which would take it for its own.
      } else if (switching) current.current.onSwitch()
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

/** Whether a dialog wants an answer first; the popover that Ctrl+K opens does not. */
function isBehindDialog(): boolean {
  return document.querySelector('[data-modal]') !== null
}

/** Dialogs, menus and popovers close themselves on Escape, and only themselves. */
function inOverlay(event: KeyboardEvent): boolean {
  return (
    event.target instanceof Element &&
    event.target.closest('[role="dialog"], [role="alertdialog"], [role="menu"]') !== null
  )
}
