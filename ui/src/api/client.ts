/**
 * The API, one function an operation, typed by the generated `schema.ts`. Every function throws
 * `ApiError`, or an `AbortError` when its signal was aborted.
 */
import createClient from 'openapi-fetch'

import type { Platform } from '../platform'
import { asApiError, errorOf, isAbort } from './errors'
import type { paths } from './schema'
import type { DocumentStatus, FolderPatterns, JobState, Problem, QueryRequest } from './types'

export type DocumentSort = 'name' | 'updated' | 'status'

export interface DocumentFilter {
  status?: DocumentStatus | undefined
  problem?: Problem | undefined
  query?: string | undefined
  sort?: DocumentSort | undefined
}

/** How many passages a search shows. */
const SEARCH_HITS = 12

export type Api = ReturnType<typeof createApi>

export function createApi(platform: Pick<Platform, 'fetch' | 'Request'>, baseUrl = '') {
  const client = createClient<paths>({
    baseUrl,
    fetch: (request) => platform.fetch(request),
    Request: platform.Request,
  })
  const on = (workspace: string) => ({ path: { workspace } })

  return {
    status: (signal?: AbortSignal) => data(client.GET('/api/v1/status', { signal })),

    workspaces: {
      list: (signal?: AbortSignal) => data(client.GET('/api/v1/workspaces', { signal })),
      create: (name: string) => data(client.POST('/api/v1/workspaces', { body: { name } })),
      rename: (workspace: string, name: string) =>
        data(
          client.PATCH('/api/v1/workspaces/{workspace}', {
            params: on(workspace),
            body: { name },
          }),
        ),
      remove: (workspace: string) =>
        done(client.DELETE('/api/v1/workspaces/{workspace}', { params: on(workspace) })),
    },

    embedder: {
      get: (workspace: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/embedder', { params: on(workspace), signal }),
        ),
      plan: (workspace: string, to: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/embedder/plan', {
            params: { path: { workspace }, query: { to } },
            signal,
          }),
        ),
      /** Passages that are too long for it were shown with the plan. */
      change: (workspace: string, to: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/embedder/change', {
            params: on(workspace),
            body: { to, accept_long_passages: true },
          }),
        ),
      cancel: (workspace: string) =>
        done(
          client.DELETE('/api/v1/workspaces/{workspace}/embedder/change', {
            params: on(workspace),
          }),
        ),
      pause: (workspace: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/embedder/pause', { params: on(workspace) }),
        ),
      resume: (workspace: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/embedder/resume', { params: on(workspace) }),
        ),
      rollBack: (workspace: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/embedder/rollback', {
            params: on(workspace),
          }),
        ),
      discard: (workspace: string) =>
        done(
          client.DELETE('/api/v1/workspaces/{workspace}/embedder/previous', {
            params: on(workspace),
          }),
        ),
    },

    folders: {
      list: (workspace: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/folders', { params: on(workspace), signal }),
        ),
      remove: (workspace: string, folder: string) =>
        done(
          client.DELETE('/api/v1/workspaces/{workspace}/folders/{folder}', {
            params: { path: { workspace, folder } },
          }),
        ),
      choose: (workspace: string, folder: string, patterns: FolderPatterns) =>
        data(
          client.PATCH('/api/v1/workspaces/{workspace}/folders/{folder}', {
            params: { path: { workspace, folder } },
            body: { patterns },
          }),
        ),
      scan: (workspace: string, folder: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/folders/{folder}/scan', {
            params: { path: { workspace, folder } },
          }),
        ),
      resume: (workspace: string, folder: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/folders/{folder}/resume', {
            params: { path: { workspace, folder } },
          }),
        ),
    },

    documents: {
      list: (
        workspace: string,
        query: DocumentFilter & { cursor?: string; limit?: number },
        signal?: AbortSignal,
      ) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/documents', {
            params: { path: { workspace }, query },
            signal,
          }),
        ),
      problems: (workspace: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/documents/problems', {
            params: on(workspace),
            signal,
          }),
        ),
      get: (workspace: string, document: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/documents/{document}', {
            params: { path: { workspace, document } },
            signal,
          }),
        ),
      text: (workspace: string, document: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/documents/{document}/text', {
            params: { path: { workspace, document } },
            signal,
          }),
        ),
      chunks: (workspace: string, document: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/documents/{document}/chunks', {
            params: { path: { workspace, document } },
            signal,
          }),
        ),
      importPaths: (workspace: string, paths: readonly string[]) =>
        data(
          client.POST('/api/v1/workspaces/{workspace}/documents/import', {
            params: on(workspace),
            body: { paths: [...paths] },
          }),
        ),
      upload(workspace: string, files: readonly File[]) {
        const form = new FormData()
        for (const file of files) form.append('file', file, file.webkitRelativePath || file.name)
        return data(
          client.POST('/api/v1/workspaces/{workspace}/documents', {
            params: on(workspace),
            body: { file: [] },
            bodySerializer: () => form,
          }),
        )
      },
      retry: (workspace: string, document: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/documents/{document}/retry', {
            params: { path: { workspace, document } },
          }),
        ),
      remove: (workspace: string, document: string) =>
        done(
          client.DELETE('/api/v1/workspaces/{workspace}/documents/{document}', {
            params: { path: { workspace, document } },
          }),
        ),
      /** Some bytes of the file; `end` is inclusive, as in the header. */
      range: (
        workspace: string,
        document: string,
        start: number,
        end: number,
        signal?: AbortSignal,
      ) =>
        stream(
          client.GET('/api/v1/workspaces/{workspace}/documents/{document}/file', {
            params: { path: { workspace, document }, header: { range: `bytes=${start}-${end}` } },
            parseAs: 'stream',
            signal,
          }),
        ),
    },

    jobs: {
      running: (workspace: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/jobs', {
            params: { path: { workspace }, query: { state: 'running' } },
            signal,
          }),
        ),
      list: (
        workspace: string,
        query: { state: JobState; cursor?: string; limit: number },
        signal?: AbortSignal,
      ) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/jobs', {
            params: { path: { workspace }, query },
            signal,
          }),
        ),
      pause: (workspace: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/jobs/pause', { params: on(workspace) }),
        ),
      resume: (workspace: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/jobs/resume', { params: on(workspace) }),
        ),
      cancelAll: (workspace: string) =>
        data(
          client.POST('/api/v1/workspaces/{workspace}/jobs/cancel', { params: on(workspace) }),
        ),
      retryAll: (workspace: string, state: 'dead' | 'cancelled') =>
        data(
          client.POST('/api/v1/workspaces/{workspace}/jobs/retry', {
            params: { path: { workspace }, query: { state } },
          }),
        ),
      cancel: (workspace: string, job: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/jobs/{job}/cancel', {
            params: { path: { workspace, job } },
          }),
        ),
      retry: (workspace: string, job: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/jobs/{job}/retry', {
            params: { path: { workspace, job } },
          }),
        ),
      /** What happened to every file, as a file's text with its byte order mark. */
      async export(workspace: string, format: 'csv' | 'json'): Promise<string> {
        const response = await stream(
          client.GET('/api/v1/workspaces/{workspace}/jobs/export', {
            params: { path: { workspace }, query: { format } },
            parseAs: 'stream',
          }),
        )
        // The mark at the beginning is for the programs that open the file.
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await response.arrayBuffer())
      },
    },

    chats: {
      list: (workspace: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/chats', { params: on(workspace), signal }),
        ),
      update: (workspace: string, chat: string, change: { title?: string; pinned?: boolean }) =>
        data(
          client.PATCH('/api/v1/workspaces/{workspace}/chats/{chat}', {
            params: { path: { workspace, chat } },
            body: change,
          }),
        ),
      remove: (workspace: string, chat: string) =>
        done(
          client.DELETE('/api/v1/workspaces/{workspace}/chats/{chat}', {
            params: { path: { workspace, chat } },
          }),
        ),
      messages: (workspace: string, chat: string, signal?: AbortSignal) =>
        data(
          client.GET('/api/v1/workspaces/{workspace}/chats/{chat}/messages', {
            params: { path: { workspace, chat } },
            signal,
          }),
        ),
      stop: (workspace: string, chat: string, message: string) =>
        done(
          client.POST('/api/v1/workspaces/{workspace}/chats/{chat}/messages/{message}/stop', {
            params: { path: { workspace, chat, message } },
          }),
        ),
    },

    /** The answer as a stream of server-sent events; see `ask.ts`. */
    query: (body: QueryRequest, signal: AbortSignal) =>
      stream(
        client.POST('/api/v1/query', {
          body,
          headers: { accept: 'text/event-stream' },
          parseAs: 'stream',
          signal,
        }),
      ),

    search: (workspace: string, q: string, expand: boolean, signal?: AbortSignal) =>
      data(
        client.GET('/api/v1/workspaces/{workspace}/search', {
          params: { path: { workspace }, query: { q, k: SEARCH_HITS, expand } },
          signal,
        }),
      ),

    /** What changes, as a stream of server-sent events; see `changes.ts`. */
    events: (signal: AbortSignal) =>
      stream(
        client.GET('/api/v1/events', {
          headers: { accept: 'text/event-stream' },
          parseAs: 'stream',
          signal,
        }),
      ),

    models: {
      list: (signal?: AbortSignal) => data(client.GET('/api/v1/models', { signal })),
      fetch: (model: string) =>
        done(client.POST('/api/v1/models/{model}/fetch', { params: { path: { model } } })),
      cancel: (model: string) =>
        done(client.POST('/api/v1/models/{model}/cancel', { params: { path: { model } } })),
      activate: (model: string) =>
        done(client.POST('/api/v1/models/{model}/activate', { params: { path: { model } } })),
    },
  }
}

interface Outcome<Data> {
  data?: Data | undefined
  error?: unknown
  response: Response
}

/** What openapi-fetch resolves to; anything but a success is thrown. */
async function outcome<Data>(call: Promise<Outcome<Data>>): Promise<Outcome<Data>> {
  let settled: Outcome<Data>
  try {
    settled = await call
  } catch (error) {
    throw isAbort(error) ? error : asApiError(error)
  }
  if (!settled.response.ok) throw await errorOf(settled.response, settled.error)
  return settled
}

async function data<Data>(call: Promise<Outcome<Data>>): Promise<Data> {
  return (await outcome(call)).data as Data
}

async function done(call: Promise<Outcome<unknown>>): Promise<void> {
  await outcome(call)
}

async function stream(call: Promise<Outcome<unknown>>): Promise<Response> {
  return (await outcome(call)).response
}
