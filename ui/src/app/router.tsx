/**
 * The pages by address. The address is behind a `#`: the same files are served by the window's
 * own scheme and by the core's server, and neither has to know the pages.
 */
import {
  createHashHistory,
  createRootRoute,
  createRoute,
  createRouter,
  Outlet,
  useNavigate,
} from '@tanstack/react-router'

import { AddButtons } from '../features/documents/AddButtons'
import { ChatPage } from '../features/chat/ChatPage'
import { DocumentsPage } from '../features/documents/DocumentsPage'
import { ProblemNote } from '../features/documents/ProblemSection'
import { JobsPage, listedState, type Listed } from '../features/jobs/JobsPage'
import { SearchPage } from '../features/search/SearchPage'
import { EmptyState } from '../components/EmptyState'
import { useI18n } from '../lib/i18n'
import { Crashed } from './CrashScreen'
import { Gate } from './Gate'
import { Home } from './Home'
import { Shell, useShell } from './Shell'

const rootRoute = createRootRoute({
  component: () => (
    <Gate>
      <Outlet />
    </Gate>
  ),
  notFoundComponent: Home,
  errorComponent: Crashed,
})

const homeRoute = createRoute({ getParentRoute: () => rootRoute, path: '/', component: Home })

const workspaceRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/w/$workspace',
  component: function Workspace() {
    const { workspace } = workspaceRoute.useParams()
    return (
      <Shell workspace={workspace}>
        <Outlet />
      </Shell>
    )
  },
})

const newChatRoute = createRoute({
  getParentRoute: () => workspaceRoute,
  path: '/chat',
  component: () => <Chat chat={null} />,
})

const chatRoute = createRoute({
  getParentRoute: () => workspaceRoute,
  path: '/chat/$chat',
  component: function OneChat() {
    const { chat } = chatRoute.useParams()
    return <Chat chat={chat} />
  },
})

function Chat({ chat }: { chat: string | null }) {
  const { t } = useI18n()
  const { workspace, openSettings, chatStarted } = useShell()
  const navigate = useNavigate()
  return (
    <ChatPage
      key={`${workspace.id} ${chat ?? ''}`}
      workspace={workspace}
      chat={chat}
      onStarted={chatStarted}
      onOpenModels={() => openSettings('models')}
      emptyWorkspace={
        <EmptyState
          title={t('chat.emptyHeading')}
          actions={<AddButtons workspace={workspace.id} />}
        >
          {t('chat.emptyBody')}
        </EmptyState>
      }
      beforeAsking={
        <ProblemNote
          workspace={workspace.id}
          onOpen={() =>
            void navigate({ to: '/w/$workspace/documents', params: { workspace: workspace.id } })
          }
        />
      }
    />
  )
}

const documentsRoute = createRoute({
  getParentRoute: () => workspaceRoute,
  path: '/documents',
  component: function Documents() {
    const { workspace } = useShell()
    const navigate = useNavigate()
    return (
      <DocumentsPage
        key={workspace.id}
        workspace={workspace}
        onOpenJobs={() =>
          void navigate({ to: '/w/$workspace/jobs', params: { workspace: workspace.id } })
        }
      />
    )
  },
})

const jobsRoute = createRoute({
  getParentRoute: () => workspaceRoute,
  path: '/jobs',
  validateSearch: (search: Record<string, unknown>): { show?: Listed } => {
    const show = listedState(search['show'])
    return show === 'queued' ? {} : { show }
  },
  component: function Jobs() {
    const { workspace } = useShell()
    const { show = 'queued' } = jobsRoute.useSearch()
    const navigate = useNavigate()
    return (
      <JobsPage
        key={workspace.id}
        workspace={workspace}
        shown={show}
        onShow={(next) =>
          void navigate({
            to: '/w/$workspace/jobs',
            params: { workspace: workspace.id },
            search: next === 'queued' ? {} : { show: next },
            replace: true,
          })
        }
      />
    )
  },
})

const searchRoute = createRoute({
  getParentRoute: () => workspaceRoute,
  path: '/search',
  validateSearch: (search: Record<string, unknown>): { q: string; expand: boolean } => ({
    q: typeof search['q'] === 'string' ? search['q'] : '',
    expand: search['expand'] === true,
  }),
  component: function Search() {
    const { workspace } = useShell()
    const { q, expand } = searchRoute.useSearch()
    const navigate = useNavigate()
    return (
      <SearchPage
        key={workspace.id}
        workspace={workspace}
        q={q}
        expand={expand}
        onSearch={(nextQ, nextExpand) =>
          void navigate({
            to: '/w/$workspace/search',
            params: { workspace: workspace.id },
            search: { q: nextQ, expand: nextExpand },
            replace: true,
          })
        }
      />
    )
  },
})

const routeTree = rootRoute.addChildren([
  homeRoute,
  workspaceRoute.addChildren([newChatRoute, chatRoute, documentsRoute, jobsRoute, searchRoute]),
])

export function createAppRouter() {
  return createRouter({ routeTree, history: createHashHistory() })
}

export type AppRouter = ReturnType<typeof createAppRouter>

declare module '@tanstack/react-router' {
  interface Register {
    router: AppRouter
  }
}
