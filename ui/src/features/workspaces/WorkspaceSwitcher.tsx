/** Which workspace one is in, and the way to another: by mouse, or Ctrl+K and a few letters. */
import { Check, ChevronsUpDown, Plus } from 'lucide-react'
import { Popover } from 'radix-ui'
import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react'

import type { Workspace } from '../../api/types'
import { Kbd } from '../../components/Kbd'
import { classes } from '../../lib/classes'
import { documentsIn } from '../../lib/counts'
import { useI18n } from '../../lib/i18n'
import { testIds } from '../../lib/testids'
import styles from './WorkspaceSwitcher.module.css'

interface WorkspaceSwitcherProps {
  workspaces: readonly Workspace[]
  current: Workspace
  open: boolean
  onOpenChange: (open: boolean) => void
  onChoose: (workspace: Workspace) => void
  onCreate: () => void
}

export function WorkspaceSwitcher({
  workspaces,
  current,
  open,
  onOpenChange,
  onChoose,
  onCreate,
}: WorkspaceSwitcherProps) {
  const { t } = useI18n()
  return (
    <Popover.Root open={open} onOpenChange={onOpenChange}>
      <Popover.Trigger className={styles.trigger} data-testid={testIds.workspaceSwitcher}>
        <Monogram name={current.name} />
        <span className={styles.name}>{current.name}</span>
        <ChevronsUpDown size={14} aria-hidden className={styles.chevrons} />
        <span className="visually-hidden">, {t('workspace.switch')}</span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className={styles.popover}
          align="start"
          sideOffset={6}
          collisionPadding={8}
          aria-label={t('workspace.switch')}
        >
          <Choices
            workspaces={workspaces}
            current={current}
            onChoose={(workspace) => {
              onOpenChange(false)
              onChoose(workspace)
            }}
            onCreate={() => {
              onOpenChange(false)
              onCreate()
            }}
          />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}

interface ChoicesProps {
  workspaces: readonly Workspace[]
  current: Workspace
  onChoose: (workspace: Workspace) => void
  onCreate: () => void
}

function Choices({ workspaces, current, onChoose, onCreate }: ChoicesProps) {
  const { t } = useI18n()
  const id = useId()
  const list = useRef<HTMLUListElement>(null)
  const [filter, setFilter] = useState('')
  const found = workspaces.filter(({ name }) =>
    name.toLocaleLowerCase().includes(filter.trim().toLocaleLowerCase()),
  )
  const [active, setActive] = useState(() =>
    Math.max(0, workspaces.findIndex((each) => each.id === current.id)),
  )
  useEffect(() => setActive((before) => Math.min(before, Math.max(0, found.length - 1))), [found.length])
  useEffect(() => {
    list.current?.children[active]?.scrollIntoView({ block: 'nearest' })
  }, [active])

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step) {
      event.preventDefault()
      setActive((before) => (before + step + found.length) % Math.max(1, found.length))
    } else if (event.key === 'Enter') {
      event.preventDefault()
      const chosen = found[active]
      if (chosen) onChoose(chosen)
    }
  }

  return (
    <>
      <input
        className={styles.filter}
        value={filter}
        onChange={(event) => setFilter(event.target.value)}
        onKeyDown={onKeyDown}
        placeholder={t('workspace.filter')}
        aria-label={t('workspace.filter')}
        role="combobox"
        aria-expanded
        aria-controls={`${id}-list`}
        aria-activedescendant={found[active] ? `${id}-${active}` : undefined}
        autoComplete="off"
        spellCheck={false}
      />
      <ul className={styles.list} role="listbox" id={`${id}-list`} ref={list}>
        {found.map((workspace, index) => (
          <li
            key={workspace.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={workspace.id === current.id}
            className={classes(styles.option, index === active && styles.active)}
            onPointerMove={() => setActive(index)}
            onClick={() => onChoose(workspace)}
          >
            <Monogram name={workspace.name} />
            <span className={styles.optionText}>
              <span className={styles.optionName}>{workspace.name}</span>
              <span className={styles.optionCount}>
                {t('workspace.documents', { count: documentsIn(workspace.counts) })}
              </span>
            </span>
            {workspace.id === current.id && <Check size={15} aria-hidden />}
          </li>
        ))}
        {found.length === 0 && <li className={styles.none}>{t('workspace.noMatch')}</li>}
      </ul>
      <div className={styles.foot}>
        <button
          type="button"
          className={styles.create}
          onClick={onCreate}
          data-testid={testIds.workspaceCreate}
        >
          <Plus size={15} aria-hidden />
          {t('workspace.create')}
        </button>
        <Kbd>Ctrl K</Kbd>
      </div>
    </>
  )
}

function Monogram({ name }: { name: string }) {
  const first = [...name.trim()][0] ?? '?'
  return (
    <span className={styles.monogram} aria-hidden>
      {first.toLocaleUpperCase()}
    </span>
  )
}
