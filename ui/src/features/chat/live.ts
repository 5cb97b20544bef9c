/**
 * Answers that are being written. They live beside the query cache and outside of any page, so
 * that one may look something up while an answer goes on; when an answer is done it becomes a
 * message of the cache like all others.
 */
import type { QueryClient } from '@tanstack/react-query'
import { createContext, useCallback, useContext, useSyncExternalStore } from 'react'

import { ask, type AnswerEvent } from '../../api/ask'
import type { Api } from '../../api/client'
import { asApiError, isAbort, type ApiError } from '../../api/errors'
import { keys } from '../../api/queries'
import type { Citation, Message, QueryResponse } from '../../api/types'

export type Phase = 'searching' | 'widening' | 'reading' | 'writing' | 'stopping' | 'failed'

export interface LiveAnswer {
  readonly workspace: string
  /** `null` until the core has made the chat of a first question. */
  readonly chat: string | null
  readonly question: string
  readonly askedAt: number
  readonly userMessage: string | null
  readonly message: string | null
  readonly phase: Phase
  readonly text: string
  readonly passages: readonly Citation[]
  readonly error: ApiError | null
}

/** Tokens are shown together at this pace: faster than one reads, slower than one re-renders. */
const SHOW_EVERY_MS = 60

/** How long a stopped answer may take to end by itself before the connection is cut. */
const STOP_GRACE_MS = 2_000

export class LiveAnswers {
  readonly #api: Api
  readonly #cache: QueryClient
  readonly #answers = new Map<string, LiveAnswer>()
  readonly #aborts = new Map<string, AbortController>()
  readonly #errors = new Map<string, ApiError>()
  readonly #listeners = new Set<() => void>()

  constructor(api: Api, cache: QueryClient) {
    this.#api = api
    this.#cache = cache
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  of(workspace: string, chat: string | null): LiveAnswer | null {
    return this.#answers.get(keyOf(workspace, chat)) ?? null
  }

  /** Why a message of this session failed, with the code that the stored message lacks. */
  errorOf(message: string): ApiError | null {
    return this.#errors.get(message) ?? null
  }

  /** Asks, and returns when the answer is done, stopped or failed. Never throws. */
  async ask(
    workspace: string,
    chat: string | null,
    question: string,
    onStarted: (chat: string) => void,
  ): Promise<void> {
    let key = keyOf(workspace, chat)
    if (this.#aborts.has(key)) return
    const abort = new AbortController()
    this.#aborts.set(key, abort)
    this.#set(key, {
      workspace,
      chat,
      question,
      askedAt: Date.now(),
      userMessage: null,
      message: null,
      phase: 'searching',
      text: '',
      passages: [],
      error: null,
    })

    let text = ''
    let timer: ReturnType<typeof setTimeout> | undefined
    const show = () => {
      clearTimeout(timer)
      timer = undefined
      const stopping = this.#answers.get(key)?.phase === 'stopping'
      this.#change(key, { text, phase: stopping ? 'stopping' : 'writing' })
    }
    const apply = (event: AnswerEvent) => {
      switch (event.type) {
        case 'started': {
          const moved = keyOf(workspace, event.chat_id)
          this.#move(key, moved)
          key = moved
          this.#change(key, {
            chat: event.chat_id,
            userMessage: event.user_message_id,
            message: event.message_id,
          })
          if (chat === null) onStarted(event.chat_id)
          void this.#cache.invalidateQueries({ queryKey: keys.chats(workspace) })
          break
        }
        case 'retrieved':
          // From here on the model is being loaded, if it was not.
          void this.#cache.invalidateQueries({ queryKey: keys.status() })
          this.#change(key, { passages: event.passages, phase: 'reading' })
          break
        case 'token':
          text += event.text
          timer ??= setTimeout(show, SHOW_EVERY_MS)
          break
        case 'revised':
          text = event.text
          show()
          break
        case 'done':
          this.#settle(key, event.response)
          break
      }
    }

    try {
      const request = {
        text: question,
        language: 'auto' as const,
        workspace,
        ...(chat && { chat_id: chat }),
      }
      for await (const event of ask(this.#api, request, abort.signal)) apply(event)
    } catch (thrown) {
      clearTimeout(timer)
      await this.#fail(key, isAbort(thrown) ? null : asApiError(thrown))
    } finally {
      clearTimeout(timer)
      this.#aborts.delete(key)
      this.#notify()
    }
  }

  /** Asks the core to stop, so that what was written is kept; cuts the connection if it won't. */
  stop(workspace: string, chat: string | null): void {
    const key = keyOf(workspace, chat)
    const answer = this.#answers.get(key)
    const abort = this.#aborts.get(key)
    if (!answer || !abort || answer.phase === 'stopping') return
    this.#change(key, { phase: 'stopping' })
    if (!answer.chat || !answer.message) return abort.abort()
    this.#api.chats.stop(workspace, answer.chat, answer.message).catch(() => abort.abort())
    setTimeout(() => abort.abort(), STOP_GRACE_MS)
  }

  /** Forgets a question that failed before it became a message. */
  dismiss(workspace: string, chat: string | null): void {
    const key = keyOf(workspace, chat)
    if (this.#aborts.has(key)) return
    this.#answers.delete(key)
    this.#notify()
  }

  #settle(key: string, response: QueryResponse): void {
    const answer = this.#answers.get(key)
    if (!answer) return
    const messages = keys.messages(answer.workspace, response.chat_id)
    this.#cache.setQueryData<Message[]>(messages, (before = []) =>
      withTurn(before, answer, response),
    )
    this.#answers.delete(key)
    this.#notify()
    void this.#cache.invalidateQueries({ queryKey: messages })
    void this.#cache.invalidateQueries({ queryKey: keys.status() })
    void this.#cache.invalidateQueries({ queryKey: keys.chats(answer.workspace) })
  }

  async #fail(key: string, error: ApiError | null): Promise<void> {
    const answer = this.#answers.get(key)
    if (!answer) return
    if (!answer.chat || !answer.message) {
      if (error) this.#change(key, { phase: 'failed', error })
      else this.#answers.delete(key)
      return
    }
    if (error) this.#errors.set(answer.message, error)
    const messages = keys.messages(answer.workspace, answer.chat)
    await this.#cache.invalidateQueries({ queryKey: messages }).catch(() => undefined)
    const stored = this.#cache.getQueryData<Message[]>(messages)
    if (stored?.some((message) => message.id === answer.message)) this.#answers.delete(key)
    else if (error) this.#change(key, { phase: 'failed', error })
    else this.#answers.delete(key)
  }

  #set(key: string, answer: LiveAnswer): void {
    this.#answers.set(key, answer)
    this.#notify()
  }

  #change(key: string, change: Partial<LiveAnswer>): void {
    const answer = this.#answers.get(key)
    if (answer) this.#set(key, { ...answer, ...change })
  }

  #move(from: string, to: string): void {
    if (from === to) return
    const answer = this.#answers.get(from)
    const abort = this.#aborts.get(from)
    this.#answers.delete(from)
    this.#aborts.delete(from)
    if (answer) this.#answers.set(to, answer)
    if (abort) this.#aborts.set(to, abort)
  }

  #notify(): void {
    for (const listener of this.#listeners) listener()
  }
}

function keyOf(workspace: string, chat: string | null): string {
  return `${workspace}/${chat ?? 'new'}`
}

/** The messages with the question and its answer, whether or not they were there before. */
function withTurn(before: Message[], live: LiveAnswer, response: QueryResponse): Message[] {
  const question: Message = {
    id: live.userMessage ?? `${response.message_id}-question`,
    chat_id: response.chat_id,
    role: 'user',
    content: live.question,
    status: 'complete',
    answer: null,
    created_at: live.askedAt,
  }
  const answer: Message = {
    id: response.message_id,
    chat_id: response.chat_id,
    role: 'assistant',
    content: response.answer,
    status: response.interrupted ? 'interrupted' : 'complete',
    answer: {
      language: response.language_detected,
      confidence: response.confidence,
      refused: response.refused,
      citations: response.citations,
      nearest: response.nearest,
      sources: response.sources,
      model: '',
      timings: response.timings,
      error: null,
    },
    created_at: live.askedAt,
  }
  const others = before.filter(({ id }) => id !== question.id && id !== answer.id)
  return [...others, question, answer]
}

export const LiveAnswersContext = createContext<LiveAnswers | null>(null)

export function useLiveAnswers(): LiveAnswers {
  const live = useContext(LiveAnswersContext)
  if (!live) throw new Error('BUG: useLiveAnswers outside of LiveAnswersContext')
  return live
}

export function useLiveAnswer(workspace: string, chat: string | null): LiveAnswer | null {
  const live = useLiveAnswers()
  const read = useCallback(() => live.of(workspace, chat), [live, workspace, chat])
  return useSyncExternalStore(live.subscribe, read)
}
