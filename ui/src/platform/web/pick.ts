import type { Picked } from '../types'

/** Opens the browser's own dialog by way of a file input. */
export function pickWithInput({ folder }: { folder: boolean }): Promise<Picked | null> {
  return new Promise((resolve) => {
    const input = document.createElement('input')
    input.type = 'file'
    input.multiple = true
    input.webkitdirectory = folder
    input.hidden = true
    const settle = (picked: Picked | null) => {
      input.remove()
      resolve(picked)
    }
    input.addEventListener('change', () => {
      const files = [...(input.files ?? [])].filter((file) => !isHidden(file.webkitRelativePath))
      settle(files.length > 0 ? { kind: 'files', files } : null)
    })
    input.addEventListener('cancel', () => settle(null))
    document.body.append(input)
    input.click()
  })
}

function isHidden(path: string): boolean {
  return path.split('/').some((part) => part.startsWith('.'))
}
