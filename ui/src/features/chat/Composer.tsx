import { ArrowUp, Square } from 'lucide-react'
import { useEffect, useLayoutEffect, useRef, type FormEvent, type KeyboardEvent } from 'react'

import { useI18n } from '../../lib/i18n'
import { useRemembered } from '../../lib/localState'
import { testIds } from '../../lib/testids'
import styles from './Composer.module.css'

interface ComposerProps {
  /** Where the unsent question is kept. */
  draftKey: string
  placeholder: string
  busy: boolean
  stopping: boolean
  onAsk: (question: string) => void
  onStop: () => void
  note?: string | undefined
}

export function Composer({
  draftKey,
  placeholder,
  busy,
  stopping,
  onAsk,
  onStop,
  note,
}: ComposerProps) {
  const { t } = useI18n()
  const [draft = '', setDraft] = useRemembered(draftKey)
  const field = useRef<HTMLTextAreaElement>(null)
  const ready = draft.trim().length > 0 && !busy

  useEffect(() => field.current?.focus(), [draftKey])
  useLayoutEffect(() => {
    const element = field.current
    if (!element) return
    element.style.height = 'auto'
    element.style.height = `${element.scrollHeight}px`
  }, [draft])

  const submit = (event?: FormEvent) => {
    event?.preventDefault()
    if (!ready) return
    setDraft(undefined)
    onAsk(draft.trim())
  }
  const onKeyDown = (event: KeyboardEvent) => {
    // An input method's Enter picks a word; it does not send.
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    submit()
  }

  return (
    <form className={styles.composer} onSubmit={submit}>
      <div className={styles.box} onClick={() => field.current?.focus()}>
        <textarea
          ref={field}
          className={styles.field}
          rows={1}
          value={draft}
          onChange={(event) => setDraft(event.target.value || undefined)}
          onKeyDown={onKeyDown}
          placeholder={placeholder}
          aria-label={t('chat.question')}
          aria-describedby="composer-hint"
          data-testid={testIds.questionInput}
        />
        {busy ? (
          <button
            type="button"
            className={styles.stop}
            onClick={onStop}
            disabled={stopping}
            data-testid={testIds.stop}
          >
            <Square size={12} fill="currentColor" aria-hidden />
            {stopping ? t('chat.stopping') : t('chat.stop')}
          </button>
        ) : (
          <button
            type="submit"
            className={styles.send}
            disabled={!ready}
            aria-label={t('chat.send')}
            title={t('chat.send')}
            data-testid={testIds.send}
          >
            <ArrowUp size={18} aria-hidden />
          </button>
        )}
      </div>
      <p id="composer-hint" className={styles.note}>
        {note ?? t('chat.hint')}
      </p>
    </form>
  )
}
