import type { ErrorBody, ErrorCode } from './types'

/** `UNREACHABLE`: no answer came at all. Branch on `code`; the texts are for people. */
export class ApiError extends Error {
  override readonly name = 'ApiError'

  readonly code: ErrorCode | 'UNREACHABLE'
  readonly hint: string | null

  constructor(code: ApiError['code'], message: string, hint: string | null = null) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}

/** Any thrown thing as an `ApiError`; one that is already keeps its code. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  return new ApiError('UNREACHABLE', error instanceof Error ? error.message : String(error))
}

export async function errorOf(response: Response, body?: unknown): Promise<ApiError> {
  const parsed = body ?? (await response.json().catch(() => null))
  if (isErrorBody(parsed)) {
    const { code, message, hint } = parsed.error
    return new ApiError(code, message, hint)
  }
  return new ApiError('INTERNAL', `${response.status} ${response.statusText}`.trim())
}

function isErrorBody(body: unknown): body is ErrorBody {
  if (typeof body !== 'object' || body === null || !('error' in body)) return false
  const { error } = body
  return typeof error === 'object' && error !== null && 'code' in error && 'message' in error
}
