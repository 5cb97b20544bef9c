/** What is read from the API, by key. Events refresh it (`changes.ts`), so nothing polls. */
import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useQueryClient,
} from '@tanstack/react-query'
import { createContext, useCallback, useContext } from 'react'

import type { Api, DocumentFilter } from './client'
import type { Document, JobState } from './types'

export const ApiContext = createContext<Api | null>(null)

export function useApi(): Api {
  const api = useContext(ApiContext)
  if (!api) throw new Error('BUG: useApi outside of ApiContext')
  return api
}

export const keys = {
  status: () => ['status'] as const,
  models: () => ['models'] as const,
  workspaces: () => ['workspaces'] as const,
  embedder: (workspace: string) => ['embedder', workspace] as const,
  embedderPlan: (workspace: string, to: string) => ['embedder-plan', workspace, to] as const,
  folders: (workspace: string) => ['folders', workspace] as const,
  documents: (workspace: string) => ['documents', workspace] as const,
  documentList: (workspace: string, filter: DocumentFilter) =>
    ['documents', workspace, filter] as const,
  problems: (workspace: string) => ['documents', workspace, 'problems'] as const,
  document: (workspace: string, id: string) => ['document', workspace, id] as const,
  documentText: (workspace: string, id: string, reading: Reading) =>
    ['text', workspace, id, reading] as const,
  chunks: (workspace: string, id: string, reading: Reading) =>
    ['chunks', workspace, id, reading] as const,
  jobs: (workspace: string) => ['jobs', workspace] as const,
  nextJob: (workspace: string) => ['jobs', workspace, 'next'] as const,
  /** Not below `jobs`: a long list is not asked for again at every step. */
  jobList: (workspace: string, state?: JobState) =>
    state ? (['job list', workspace, state] as const) : (['job list', workspace] as const),
  chats: (workspace: string) => ['chats', workspace] as const,
  messages: (workspace: string, chat: string) => ['messages', workspace, chat] as const,
  search: (workspace: string, q: string, expand: boolean) =>
    ['search', workspace, q, expand] as const,
}

/** What of a document is another one when it has been read anew; not the progress of embedding. */
export type Reading = Pick<Document, 'content_hash' | 'chunk_count' | 'problem' | 'reason'>

function readingOf({ content_hash, chunk_count, problem, reason }: Reading): Reading {
  return { content_hash, chunk_count, problem, reason }
}

/** The most that the API gives at once; 5,000 documents are ten requests, made as one scrolls. */
const DOCUMENTS_PER_PAGE = 500

/** A screen holds a dozen; what waits is asked for as one scrolls. */
export const JOBS_PER_PAGE = 200

export const queries = {
  status: (api: Api) =>
    queryOptions({ queryKey: keys.status(), queryFn: ({ signal }) => api.status(signal) }),

  models: (api: Api) =>
    queryOptions({ queryKey: keys.models(), queryFn: ({ signal }) => api.models.list(signal) }),

  workspaces: (api: Api) =>
    queryOptions({
      queryKey: keys.workspaces(),
      queryFn: ({ signal }) => api.workspaces.list(signal),
    }),

  embedder: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.embedder(workspace),
      queryFn: ({ signal }) => api.embedder.get(workspace, signal),
    }),

  /** Measured anew whenever it is asked for. */
  embedderPlan: (api: Api, workspace: string, to: string) =>
    queryOptions({
      queryKey: keys.embedderPlan(workspace, to),
      queryFn: ({ signal }) => api.embedder.plan(workspace, to, signal),
      gcTime: 0,
      retry: false,
    }),

  folders: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.folders(workspace),
      queryFn: ({ signal }) => api.folders.list(workspace, signal),
    }),

  documents: (api: Api, workspace: string, filter: DocumentFilter) =>
    infiniteQueryOptions({
      queryKey: keys.documentList(workspace, filter),
      queryFn: ({ pageParam, signal }) =>
        api.documents.list(
          workspace,
          { ...filter, ...(pageParam && { cursor: pageParam }), limit: DOCUMENTS_PER_PAGE },
          signal,
        ),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.next_cursor,
      placeholderData: keepPreviousData,
    }),

  problems: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.problems(workspace),
      queryFn: ({ signal }) => api.documents.problems(workspace, signal),
    }),

  document: (api: Api, workspace: string, id: string) =>
    queryOptions({
      queryKey: keys.document(workspace, id),
      queryFn: ({ signal }) => api.documents.get(workspace, id, signal),
    }),

  /**
   * By reading: the same content may be read twice, and recognised text comes with the second time.
   * As no field of a document counts its readings, whoever opens it asks again.
   */
  documentText: (api: Api, workspace: string, id: string, reading: Reading) =>
    queryOptions({
      queryKey: keys.documentText(workspace, id, readingOf(reading)),
      queryFn: ({ signal }) => api.documents.text(workspace, id, signal),
      staleTime: 0,
      gcTime: 60_000,
    }),

  chunks: (api: Api, workspace: string, id: string, reading: Reading) =>
    queryOptions({
      queryKey: keys.chunks(workspace, id, readingOf(reading)),
      queryFn: ({ signal }) => api.documents.chunks(workspace, id, signal),
      staleTime: 0,
      gcTime: 60_000,
    }),

  jobs: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.jobs(workspace),
      queryFn: ({ signal }) => api.jobs.running(workspace, signal),
    }),

  /** The one whose turn is next, with what it waits for. */
  nextJob: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.nextJob(workspace),
      queryFn: async ({ signal }) =>
        (await api.jobs.list(workspace, { state: 'queued', limit: 1 }, signal)).items[0] ?? null,
    }),

  /** Never kept: no event says that a list out of sight has changed. */
  jobList: (api: Api, workspace: string, state: JobState) =>
    infiniteQueryOptions({
      queryKey: keys.jobList(workspace, state),
      queryFn: ({ pageParam, signal }) =>
        api.jobs.list(
          workspace,
          { state, ...(pageParam && { cursor: pageParam }), limit: JOBS_PER_PAGE },
          signal,
        ),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.next_cursor,
      gcTime: 0,
    }),

  chats: (api: Api, workspace: string) =>
    queryOptions({
      queryKey: keys.chats(workspace),
      queryFn: ({ signal }) => api.chats.list(workspace, signal),
    }),

  messages: (api: Api, workspace: string, chat: string) =>
    queryOptions({
      queryKey: keys.messages(workspace, chat),
      queryFn: ({ signal }) => api.chats.messages(workspace, chat, signal),
    }),

  search: (api: Api, workspace: string, q: string, expand: boolean) =>
    queryOptions({
      queryKey: keys.search(workspace, q, expand),
      queryFn: ({ signal }) => api.search(workspace, q, expand, signal),
      enabled: q.length > 0,
      placeholderData: keepPreviousData,
      staleTime: 60_000,
    }),
}

/** The same cache for code that changes things and knows what it changed. */
export function useInvalidate(): (...queryKeys: (readonly unknown[])[]) => void {
  const cache = useQueryClient()
  return useCallback(
    (...queryKeys) => {
      for (const queryKey of queryKeys) void cache.invalidateQueries({ queryKey })
    },
    [cache],
  )
}
