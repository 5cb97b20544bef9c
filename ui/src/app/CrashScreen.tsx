import { Component, type ReactNode } from 'react'

import { Button } from '../components/Button'
import { EmptyState } from '../components/EmptyState'
import { useI18n } from '../lib/i18n'

/** A fault of the window itself: says that nothing is lost, and offers to load it again. */
export class CrashScreen extends Component<{ children: ReactNode }, { crashed: boolean }> {
  override state = { crashed: false }

  static getDerivedStateFromError() {
    return { crashed: true }
  }

  override render() {
    return this.state.crashed ? <Crashed /> : this.props.children
  }
}

export function Crashed() {
  const { t } = useI18n()
  return (
    <EmptyState
      title={t('app.crashed')}
      actions={
        <Button look="primary" onClick={() => window.location.reload()}>
          {t('app.reload')}
        </Button>
      }
    >
      {t('app.crashedHint')}
    </EmptyState>
  )
}
