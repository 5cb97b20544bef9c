import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'

/**
 * Which folder may import from which. Features stay apart from each other; the desktop's own API
 * is named in one folder, so that a browser never loads it.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  platform: [],
  lib: ['platform'],
  components: ['lib'],
  api: ['lib', 'platform'],
  features: ['components', 'api', 'lib', 'platform'],
  app: ['features', 'components', 'api', 'lib', 'platform'],
}

const root = path.resolve(import.meta.dirname, '..')

it('imports follow the layers', () => {
  const wrong: string[] = []
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((each) => /\.tsx?$/.test(each) && each.includes(path.sep))) {
    const [layer = '', feature] = file.split(path.sep)
    const source = readFileSync(path.join(root, file), 'utf8')
    for (const [, target = ''] of source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (target.startsWith('@tauri-apps/') && !file.startsWith(path.join('platform', 'tauri'))) {
        wrong.push(`${file} names the desktop API`)
      }
      if (!target.startsWith('.')) continue
      const resolved = path.relative(root, path.resolve(root, path.dirname(file), target))
      const [toLayer = '', toFeature] = resolved.split(path.sep)
      const within = toLayer === layer && (layer !== 'features' || toFeature === feature)
      if (!within && !MAY_IMPORT[layer]?.includes(toLayer)) wrong.push(`${file} → ${resolved}`)
      if (toLayer === 'platform' && layer !== 'platform' && /tauri|web/.test(toFeature ?? '')) {
        wrong.push(`${file} chooses a host: ${resolved}`)
      }
    }
  }
  expect(wrong).toEqual([])
})
