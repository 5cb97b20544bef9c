// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, describe, expect, it, vi } from 'vitest'

import { I18nProvider } from '../../lib/i18n'
import { LocalStateContext, observable } from '../../lib/localState'
import { testIds } from '../../lib/testids'
import { Composer } from './Composer'

function show(busy = false) {
  const remembered = new Map<string, string>()
  const state = observable({
    read: (key) => remembered.get(key),
    write: (key, value) => void (value === undefined ? remembered.delete(key) : remembered.set(key, value)),
  })
  const onAsk = vi.fn()
  const onStop = vi.fn()
  render(
    <I18nProvider locale="en">
      <LocalStateContext value={state}>
        <Composer
          draftKey="draft"
          placeholder="Ask"
          busy={busy}
          stopping={false}
          onAsk={onAsk}
          onStop={onStop}
        />
      </LocalStateContext>
    </I18nProvider>,
  )
  return { onAsk, onStop, remembered, field: screen.getByTestId(testIds.questionInput) }
}

afterEach(cleanup)

describe('the composer', () => {
  it('asks on Enter, begins a line on Shift and Enter, and empties itself', async () => {
    const { onAsk, remembered, field } = show()
    await userEvent.type(field, ' Prvi{Shift>}{Enter}{/Shift}drugi ')
    expect(remembered.get('draft'), 'the draft is kept').toBe(' Prvi\ndrugi ')
    await userEvent.type(field, '{Enter}')
    expect(onAsk).toHaveBeenCalledExactlyOnceWith('Prvi\ndrugi')
    expect(remembered.has('draft')).toBe(false)
  })

  it('leaves the Enter of an input method alone', async () => {
    const { onAsk, field } = show()
    await userEvent.type(field, 'nihongo')
    fireEvent.keyDown(field, { key: 'Enter', isComposing: true })
    expect(onAsk).not.toHaveBeenCalled()
  })

  it('does not ask nothing', async () => {
    const { onAsk, field } = show()
    await userEvent.type(field, '   {Enter}')
    expect(onAsk).not.toHaveBeenCalled()
  })

  it('offers to stop while an answer is written, and keeps what is typed meanwhile', async () => {
    const { onAsk, onStop, remembered, field } = show(true)
    await userEvent.type(field, 'next{Enter}')
    expect(onAsk).not.toHaveBeenCalled()
    expect(remembered.get('draft')).toBe('next')
    await userEvent.click(screen.getByTestId(testIds.stop))
    expect(onStop).toHaveBeenCalledOnce()
  })
})
