import { useId, type ReactNode } from 'react'

import styles from './TextField.module.css'

interface TextAreaProps {
  label: string
  value: string
  onChange: (value: string) => void
  rows: number
  hint?: string
  error?: ReactNode
  autoFocus?: boolean
}

/** Several lines of text, such as patterns, in a font that tells their characters apart. */
export function TextArea({ label, value, onChange, rows, hint, error, autoFocus }: TextAreaProps) {
  const id = useId()
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={styles.label}>
        {label}
      </label>
      <textarea
        id={id}
        className={styles.lines}
        rows={rows}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        aria-invalid={Boolean(error)}
        aria-describedby={error || hint ? `${id}-note` : undefined}
        autoFocus={autoFocus}
        autoComplete="off"
        spellCheck={false}
      />
      {(error || hint) && (
        <p
          id={`${id}-note`}
          className={error ? styles.error : styles.hint}
          role={error ? 'alert' : undefined}
        >
          {error || hint}
        </p>
      )}
    </div>
  )
}
