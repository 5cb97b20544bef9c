import { useQuery } from '@tanstack/react-query'
import { Ellipsis, Pencil, Pin, PinOff, Trash2 } from 'lucide-react'
import { useState, type ReactNode } from 'react'

import { asApiError } from '../../api/errors'
import { keys, queries, useApi, useInvalidate } from '../../api/queries'
import type { Chat } from '../../api/types'
import { IconButton } from '../../components/Button'
import { ConfirmDialog } from '../../components/ConfirmDialog'
import { Menu, MenuItem } from '../../components/Menu'
import { NameDialog } from '../../components/NameDialog'
import { classes } from '../../lib/classes'
import { useI18n } from '../../lib/i18n'
import { useNotices } from '../../lib/notices'
import styles from './ChatList.module.css'

interface ChatListProps {
  workspace: string
  current: string | null
  renderLink: (chat: Chat, className: string, children: ReactNode) => ReactNode
  onDeleted: (chat: string) => void
}

/** From so many chats on, one looks for a name rather than down a list. */
const FILTER_FROM = 12

export function ChatList({ workspace, current, renderLink, onDeleted }: ChatListProps) {
  const { t } = useI18n()
  const api = useApi()
  const notices = useNotices()
  const invalidate = useInvalidate()
  const chats = useQuery(queries.chats(api, workspace))
  const [filter, setFilter] = useState('')
  const [asking, setAsking] = useState<{ chat: Chat; about: 'rename' | 'delete' } | null>(null)

  const all = chats.data ?? []
  const words = filter.trim().toLocaleLowerCase()
  const shown = all
    .filter(({ title }) => title.toLocaleLowerCase().includes(words))
    .sort((a, b) => Number(b.pinned) - Number(a.pinned) || b.updated_at - a.updated_at)

  const act = async (action: Promise<unknown>) => {
    try {
      await action
    } catch (error) {
      notices.warn(asApiError(error).message)
    }
    invalidate(keys.chats(workspace))
  }
  const titleOf = (chat: Chat) => chat.title || t('chatList.untitled')

  return (
    <div className={styles.chats}>
      <h2 className={styles.heading}>{t('nav.chats')}</h2>
      {all.length >= FILTER_FROM && (
        <input
          type="search"
          className={styles.filter}
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Escape' || filter === '') return
            event.preventDefault()
            setFilter('')
          }}
          placeholder={t('nav.filterChats')}
          aria-label={t('nav.filterChats')}
        />
      )}
      {chats.isSuccess && all.length === 0 && <p className={styles.none}>{t('nav.noChats')}</p>}
      <ul className={styles.list}>
        {shown.map((chat) => (
          <li
            key={chat.id}
            className={classes(styles.item, chat.id === current && styles.current)}
          >
            {renderLink(
              chat,
              styles.link ?? '',
              <>
                {chat.pinned && <Pin size={12} aria-label={t('nav.pinned')} />}
                <span className={styles.title}>{titleOf(chat)}</span>
              </>,
            )}
            <Menu
              align="start"
              trigger={
                <IconButton
                  size="s"
                  className={styles.more}
                  label={t('chatList.actions', { title: titleOf(chat) })}
                  icon={<Ellipsis size={15} />}
                />
              }
            >
              <MenuItem
                icon={chat.pinned ? <PinOff size={15} /> : <Pin size={15} />}
                onSelect={() =>
                  void act(api.chats.update(workspace, chat.id, { pinned: !chat.pinned }))
                }
              >
                {chat.pinned ? t('chatList.unpin') : t('chatList.pin')}
              </MenuItem>
              <MenuItem
                icon={<Pencil size={15} />}
                onSelect={() => setAsking({ chat, about: 'rename' })}
              >
                {t('common.rename')}
              </MenuItem>
              <MenuItem
                icon={<Trash2 size={15} />}
                dangerous
                onSelect={() => setAsking({ chat, about: 'delete' })}
              >
                {t('common.delete')}
              </MenuItem>
            </Menu>
          </li>
        ))}
      </ul>
      <NameDialog
        open={asking?.about === 'rename'}
        onOpenChange={(open) => !open && setAsking(null)}
        title={t('chatList.renameTitle')}
        label={t('workspace.name')}
        initial={asking?.chat.title ?? ''}
        action={t('common.rename')}
        onSubmit={async (title) => {
          if (asking) await api.chats.update(workspace, asking.chat.id, { title })
          invalidate(keys.chats(workspace))
        }}
        describeError={(error) => asApiError(error).message}
      />
      <ConfirmDialog
        open={asking?.about === 'delete'}
        onOpenChange={(open) => !open && setAsking(null)}
        title={t('chatList.deleteTitle')}
        body={t('chatList.deleteBody', { title: asking ? titleOf(asking.chat) : '' })}
        action={t('common.delete')}
        onConfirm={() => {
          if (!asking) return
          const { id } = asking.chat
          void act(api.chats.remove(workspace, id)).then(() => onDeleted(id))
        }}
      />
    </div>
  )
}
