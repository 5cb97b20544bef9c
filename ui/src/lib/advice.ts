import type { I18n, Key } from './i18n'

/** The problems that there is advice on. */
type Advised = Key extends infer K ? (K extends `advice.${infer Problem}` ? Problem : never) : never

/** What to do about what is the matter with one document; `null` where only its reason tells. */
export function adviceOn(problem: Advised | null, t: I18n['t']): string | null {
  return problem === null || problem === 'other' ? null : t(`advice.${problem}`, { count: 1 })
}
