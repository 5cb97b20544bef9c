import { useRef } from 'react'

/**
 * Gives the focus back to what had it when a dialog was opened. Radix gives it to the dialog's
 * trigger, and ours are opened by state, from anywhere.
 */
export function useFocusBack(open: boolean): { onCloseAutoFocus: (event: Event) => void } {
  const opener = useRef<HTMLElement | null>(null)
  const wasOpen = useRef(false)
  // Taken while rendering: a field with `autoFocus` has the focus before any effect runs.
  if (open && !wasOpen.current) opener.current = openerOf(document.activeElement)
  wasOpen.current = open
  return {
    onCloseAutoFocus: (event) => {
      event.preventDefault()
      const target = opener.current?.isConnected ? opener.current : document.querySelector('main')
      target?.focus({ preventScroll: true })
    },
  }
}

/** What is chosen in a menu or a popover goes with it, and its trigger stays. */
function openerOf(element: Element | null): HTMLElement | null {
  const layer = element?.closest('[data-radix-popper-content-wrapper]')?.firstElementChild
  const stays = layer?.id ? document.querySelector(`[aria-controls="${layer.id}"]`) : element
  return stays instanceof HTMLElement && stays !== document.body ? stays : null
}
