import { DropdownMenu } from 'radix-ui'
import type { ReactNode } from 'react'

import { classes } from '../lib/classes'
import styles from './Menu.module.css'

interface MenuProps {
  trigger: ReactNode
  children: ReactNode
  align?: 'start' | 'end'
}

export function Menu({ trigger, children, align = 'end' }: MenuProps) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          className={styles.menu}
          align={align}
          sideOffset={4}
          collisionPadding={8}
        >
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}

interface MenuItemProps {
  icon?: ReactNode
  dangerous?: boolean
  disabled?: boolean
  onSelect: () => void
  children: ReactNode
}

export function MenuItem({ icon, dangerous, disabled, onSelect, children }: MenuItemProps) {
  return (
    <DropdownMenu.Item
      className={classes(styles.item, dangerous && styles.dangerous)}
      disabled={disabled ?? false}
      onSelect={onSelect}
    >
      <span className={styles.icon}>{icon}</span>
      {children}
    </DropdownMenu.Item>
  )
}
