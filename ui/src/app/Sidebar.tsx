import { useQuery } from '@tanstack/react-query'
import { Link, useMatchRoute, useNavigate, useParams } from '@tanstack/react-router'
import { FileText, MessagesSquare, Search, Settings, SquarePen } from 'lucide-react'
import { useEffect } from 'react'

import { queries, useApi } from '../api/queries'
import type { Workspace } from '../api/types'
import { IconButton } from '../components/Button'
import { Kbd } from '../components/Kbd'
import { ChatList } from '../features/chat/ChatList'
import { WorkspaceSwitcher } from '../features/workspaces/WorkspaceSwitcher'
import { documentsIn } from '../lib/counts'
import { useI18n } from '../lib/i18n'
import { useRemembered } from '../lib/localState'
import { testIds } from '../lib/testids'
import { StatusFooter } from './StatusFooter'
import styles from './Sidebar.module.css'

interface SidebarProps {
  workspace: Workspace
  workspaces: readonly Workspace[]
  switching: boolean
  onSwitching: (open: boolean) => void
  onCreate: () => void
  onOpenSettings: () => void
  onOpenModels: () => void
}

export function Sidebar({
  workspace,
  workspaces,
  switching,
  onSwitching,
  onCreate,
  onOpenSettings,
  onOpenModels,
}: SidebarProps) {
  const { t, number } = useI18n()
  const navigate = useNavigate()
  const matches = useMatchRoute()
  const { chat = null } = useParams({ strict: false })
  const params = { workspace: workspace.id }
  const documents = documentsIn(workspace.counts)

  // The link to the chats leads back to where one was.
  const [remembered, rememberChat] = useRemembered(`chat:${workspace.id}`)
  const chats = useQuery(queries.chats(useApi(), workspace.id))
  const lastChat = chats.data?.find(({ id }) => id === remembered)?.id
  useEffect(() => {
    if (chat) rememberChat(chat)
  }, [chat, rememberChat])

  const inChat = Boolean(matches({ to: '/w/$workspace/chat', params, fuzzy: true }))
  const questions = (
    <>
      <MessagesSquare size={16} aria-hidden /> {t('nav.chat')}
    </>
  )
  return (
    <nav className={styles.sidebar} aria-label={t('nav.main')}>
      <WorkspaceSwitcher
        workspaces={workspaces}
        current={workspace}
        open={switching}
        onOpenChange={onSwitching}
        onChoose={({ id }) =>
          void navigate({ to: '/w/$workspace/chat', params: { workspace: id } })
        }
        onCreate={onCreate}
      />
      <Link
        to="/w/$workspace/chat"
        params={params}
        className={styles.newChat}
        data-testid={testIds.newChat}
      >
        <SquarePen size={16} aria-hidden />
        <span className={styles.grow}>{t('nav.newChat')}</span>
        <Kbd>Ctrl N</Kbd>
      </Link>
      <div className={styles.nav}>
        {lastChat ? (
          <Link
            to="/w/$workspace/chat/$chat"
            params={{ ...params, chat: lastChat }}
            className={styles.link}
            data-active={inChat}
            data-testid={testIds.navChat}
          >
            {questions}
          </Link>
        ) : (
          <Link
            to="/w/$workspace/chat"
            params={params}
            className={styles.link}
            data-active={inChat}
            data-testid={testIds.navChat}
          >
            {questions}
          </Link>
        )}
        <Link
          to="/w/$workspace/documents"
          params={params}
          className={styles.link}
          data-active={Boolean(matches({ to: '/w/$workspace/documents', params }))}
          data-testid={testIds.navDocuments}
        >
          <FileText size={16} aria-hidden />
          <span className={styles.grow}>{t('nav.documents')}</span>
          {documents > 0 && <span className={styles.count}>{number(documents)}</span>}
        </Link>
        <Link
          to="/w/$workspace/search"
          params={params}
          search={{ q: '', expand: false }}
          className={styles.link}
          data-active={Boolean(matches({ to: '/w/$workspace/search', params }))}
        >
          <Search size={16} aria-hidden /> {t('nav.search')}
        </Link>
      </div>
      <ChatList
        workspace={workspace.id}
        current={chat}
        renderLink={(each, className, children) => (
          <Link
            to="/w/$workspace/chat/$chat"
            params={{ ...params, chat: each.id }}
            className={className}
            title={each.title}
          >
            {children}
          </Link>
        )}
        onDeleted={(deleted) => {
          if (deleted === remembered) rememberChat(undefined)
          if (deleted === chat) void navigate({ to: '/w/$workspace/chat', params })
        }}
      />
      <div className={styles.footer}>
        <StatusFooter workspace={workspace} onOpenModels={onOpenModels} />
        <IconButton
          label={t('nav.settings')}
          icon={<Settings size={17} />}
          onClick={onOpenSettings}
        />
      </div>
    </nav>
  )
}
