/** Language and appearance: as the system has them until the user chooses. */
import { useSyncExternalStore } from 'react'

import { systemLocale, type Locale } from '../lib/i18n'
import { useRemembered } from '../lib/localState'

export type Theme = 'system' | 'light' | 'dark'
export type LocaleChoice = 'system' | Locale

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useRemembered('theme')
  return [
    theme === 'light' || theme === 'dark' ? theme : 'system',
    (next) => setTheme(next === 'system' ? undefined : next),
  ]
}

export function useLocaleChoice(): [LocaleChoice, (choice: LocaleChoice) => void] {
  const [locale, setLocale] = useRemembered('locale')
  return [
    locale === 'en' || locale === 'hr' ? locale : 'system',
    (next) => setLocale(next === 'system' ? undefined : next),
  ]
}

export function useLocale(): Locale {
  const [choice] = useLocaleChoice()
  return choice === 'system' ? systemLocale() : choice
}

const dark = () => window.matchMedia('(prefers-color-scheme: dark)')

/** The theme that is on screen. */
export function useShownTheme(): 'light' | 'dark' {
  const [theme] = useTheme()
  const systemIsDark = useSyncExternalStore(
    (listener) => {
      const query = dark()
      query.addEventListener('change', listener)
      return () => query.removeEventListener('change', listener)
    },
    () => dark().matches,
  )
  return theme === 'system' ? (systemIsDark ? 'dark' : 'light') : theme
}
