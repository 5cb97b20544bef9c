import { useQuery } from '@tanstack/react-query'
import { Navigate } from '@tanstack/react-router'

import { queries, useApi } from '../api/queries'
import { documentsIn } from '../lib/counts'
import { useRemembered } from '../lib/localState'

/** Goes to the workspace that was open last. The gate has made sure that there is one. */
export function Home() {
  const api = useApi()
  const { data } = useQuery(queries.workspaces(api))
  const [last] = useRemembered('workspace')
  const workspace = data?.find(({ id }) => id === last) ?? data?.[0]
  if (!workspace) return null
  // There is nothing to ask a workspace without documents.
  const to = documentsIn(workspace.counts) > 0 ? '/w/$workspace/chat' : '/w/$workspace/documents'
  return <Navigate to={to} params={{ workspace: workspace.id }} replace />
}
