import { useEffect, type DependencyList, type RefObject } from 'react'

import type { PageBox, PassageTarget } from '../../lib/passage'
import { testIds } from '../../lib/testids'
import styles from './PageView.module.css'

/** Where a passage comes to stand when it is scrolled to, from the top of the view. */
const MARK_AT = 0.22

const PAGE_GAP_PX = 14

/** The lines of a passage on their page. */
export function Marks({ boxes }: { boxes: readonly PageBox[] }) {
  if (boxes.length === 0) return null
  return (
    <div className={styles.boxes} data-testid={testIds.passageMark}>
      {boxes.map((box, index) => (
        <div
          key={index}
          className={styles.box}
          style={{
            left: `${box.left * 100}%`,
            top: `${box.top * 100}%`,
            width: `${(box.right - box.left) * 100}%`,
            height: `${(box.bottom - box.top) * 100}%`,
          }}
        />
      ))}
    </div>
  )
}

/** Brings the passage into view when it is opened, and when `layout` has changed. */
export function useScrollToMark(
  scroller: RefObject<HTMLDivElement | null>,
  passage: PassageTarget['passage'],
  opened: number,
  layout: DependencyList,
): void {
  const box = passage?.boxes[0]
  const page = box?.page ?? passage?.page ?? 1
  useEffect(() => {
    const element = scroller.current
    const target = element?.querySelector<HTMLElement>(`[data-page="${page}"]`)
    if (!element || !target) return
    const top = target.offsetTop + (box?.top ?? 0) * target.offsetHeight
    element.scrollTo({ top: box ? top - element.clientHeight * MARK_AT : top - PAGE_GAP_PX })
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [scroller, opened, page, box, ...layout])
}
