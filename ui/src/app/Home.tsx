import { useQuery } from '@tanstack/react-query'
import { Navigate } from '@tanstack/react-router'

import { queries, useApi } from '../api/queries'
import { useRemembered } from '../lib/localState'

/** Goes to the workspace that was open last. The gate has made sure that there is one. */
export function Home() {
  const api = useApi()
  const { data } = useQuery(queries.workspaces(api))
  const [last] = useRemembered('workspace')
  const workspace = data?.find(({ id }) => id === last) ?? data?.[0]
  if (!workspace) return null
  return <Navigate to="/w/$workspace/chat" params={{ workspace: workspace.id }} replace />
}
