import type { ComponentProps, ReactNode } from 'react'

import { classes } from '../lib/classes'
import styles from './Button.module.css'

interface ButtonProps extends ComponentProps<'button'> {
  look?: 'primary' | 'plain' | 'quiet' | 'danger'
  size?: 'm' | 's'
  icon?: ReactNode
}

export function Button({
  look = 'plain',
  size = 'm',
  icon,
  className,
  children,
  type = 'button',
  ...rest
}: ButtonProps) {
  return (
    <button
      type={type}
      className={classes(styles.button, styles[look], styles[size], className)}
      {...rest}
    >
      {icon}
      <span className={styles.text}>{children}</span>
    </button>
  )
}

interface IconButtonProps extends Omit<ComponentProps<'button'>, 'children'> {
  /** What it does: for screen readers, and shown on hover. */
  label: string
  icon: ReactNode
  size?: 'm' | 's'
}

export function IconButton({
  label,
  icon,
  size = 'm',
  className,
  type = 'button',
  ...rest
}: IconButtonProps) {
  return (
    <button
      type={type}
      aria-label={label}
      title={label}
      className={classes(styles.icon, styles[size], className)}
      {...rest}
    >
      {icon}
    </button>
  )
}
