// @vitest-environment jsdom
import { act, cleanup, render, screen, waitFor } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { useState } from 'react'
import { afterEach, describe, expect, it } from 'vitest'

import { I18nProvider } from '../lib/i18n'
import { NoticesProvider, useNotices } from '../lib/notices'
import { ConfirmDialog } from './ConfirmDialog'
import { Dialog } from './Dialog'
import { Menu, MenuItem } from './Menu'
import { NameDialog } from './NameDialog'
import { Toasts } from './Toasts'

type Which = 'plain' | 'confirm' | 'name'

function Page() {
  const notices = useNotices()
  const [shown, setShown] = useState<Which | null>(null)
  const [gone, setGone] = useState(false)
  const close = (open: boolean) => !open && setShown(null)
  return (
    <main tabIndex={-1}>
      <button onClick={() => setShown('plain')}>Settings</button>
      <button onClick={() => setShown('name')}>Rename</button>
      {!gone && <button onClick={() => setShown('confirm')}>Delete</button>}
      <Menu trigger={<button>Actions</button>}>
        <MenuItem onSelect={() => setShown('confirm')}>Remove</MenuItem>
        <MenuItem onSelect={() => setShown('name')}>Rename it</MenuItem>
      </Menu>
      <Dialog open={shown === 'plain'} onOpenChange={close} title="Settings">
        <button onClick={() => notices.warn('It did not work.')}>Try</button>
      </Dialog>
      <ConfirmDialog
        open={shown === 'confirm'}
        onOpenChange={close}
        title="Sure?"
        body=""
        action="Do it"
        onConfirm={() => setGone(true)}
      />
      <NameDialog
        open={shown === 'name'}
        onOpenChange={close}
        title="Name"
        label="Name"
        action="Save"
        onSubmit={async () => {}}
        describeError={() => null}
      />
    </main>
  )
}

const show = () =>
  render(
    <I18nProvider locale="en">
      <NoticesProvider>
        <Page />
        <Toasts />
      </NoticesProvider>
    </I18nProvider>,
  )

afterEach(cleanup)

const focused = () => document.activeElement?.textContent

describe('a dialog', () => {
  it.each([
    ['Settings', 'dialog'],
    ['Rename', 'dialog'],
    ['Delete', 'alertdialog'],
  ])('that %s opened gives it the focus back', async (name, role) => {
    show()
    await userEvent.click(screen.getByRole('button', { name }))
    const dialog = await screen.findByRole(role)
    expect(dialog.contains(document.activeElement)).toBe(true)
    await userEvent.keyboard('{Escape}')
    await waitFor(() => expect(focused()).toBe(name))
  })

  it.each([
    ['Remove', 'alertdialog'],
    ['Rename it', 'dialog'],
  ])('that was opened by %s in a menu gives the focus to the menu’s button', async (name, role) => {
    show()
    await userEvent.click(screen.getByRole('button', { name: 'Actions' }))
    await userEvent.click(await screen.findByRole('menuitem', { name }))
    await screen.findByRole(role)
    await userEvent.keyboard('{Escape}')
    await waitFor(() => expect(focused()).toBe('Actions'))
  })

  it('gives the focus to the page when what opened it is gone', async () => {
    show()
    await userEvent.click(screen.getByRole('button', { name: 'Delete' }))
    await userEvent.click(await screen.findByRole('button', { name: 'Do it' }))
    await waitFor(() => expect(document.activeElement?.tagName).toBe('MAIN'))
  })

  it('stays open when a notice over it is dismissed', async () => {
    show()
    await userEvent.click(screen.getByRole('button', { name: 'Settings' }))
    await screen.findByRole('dialog')
    // Clicks beside it count from the next turn on.
    await act(() => new Promise((resolve) => setTimeout(resolve)))
    await userEvent.click(screen.getByRole('button', { name: 'Try' }))
    const notice = (await screen.findByText('It did not work.')).closest('[role=status]')
    const user = userEvent.setup({ pointerEventsCheck: 0 })
    await user.click(notice?.querySelector('button') as HTMLElement)
    await waitFor(() => expect(screen.queryByText('It did not work.')).toBeNull())
    await act(() => new Promise((resolve) => setTimeout(resolve, 20)))
    expect(screen.queryByRole('dialog')).not.toBeNull()
  })
})
