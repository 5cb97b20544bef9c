import { useCallback, useRef, type KeyboardEvent, type PointerEvent } from 'react'

import { useI18n } from '../lib/i18n'
import { useRemembered } from '../lib/localState'
import styles from './PanelDivider.module.css'

const NARROWEST = 340
const WIDEST = 900
const USUAL = 470
const STEP = 24

export function usePanelWidth(): [number, (width: number) => void] {
  const [width, setWidth] = useRemembered('panel.width')
  const set = useCallback((next: number) => setWidth(String(Math.round(hold(next)))), [setWidth])
  return [hold(Number(width) || USUAL), set]
}

function hold(width: number): number {
  return Math.min(WIDEST, Math.max(NARROWEST, width))
}

interface PanelDividerProps {
  width: number
  onChange: (width: number) => void
}

/** The left edge of the document panel: drag it, or move it with the arrow keys. */
export function PanelDivider({ width, onChange }: PanelDividerProps) {
  const { t } = useI18n()
  const drag = useRef<{ x: number; width: number } | null>(null)

  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    event.currentTarget.setPointerCapture(event.pointerId)
    drag.current = { x: event.clientX, width }
    event.preventDefault()
  }
  const onPointerMove = (event: PointerEvent) => {
    if (drag.current) onChange(drag.current.width + drag.current.x - event.clientX)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key]
    if (!step) return
    event.preventDefault()
    onChange(width + step)
  }
  return (
    <div
      className={styles.divider}
      role="separator"
      aria-orientation="vertical"
      aria-label={t('passage.resize')}
      aria-valuenow={Math.round(width)}
      aria-valuemin={NARROWEST}
      aria-valuemax={WIDEST}
      tabIndex={0}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={() => (drag.current = null)}
      onPointerCancel={() => (drag.current = null)}
      onKeyDown={onKeyDown}
    />
  )
}
