import { SyncClientError, type SyncClientErrorCode } from '../errors.js'
import { MAX_RETRY_AFTER_SECONDS } from '../limits.js'
import type { ErrorResponse } from './wire.js'

const CODE_BY_SERVER_ERROR: Record<ErrorResponse['error'], SyncClientErrorCode> = {
  invalid_request: 'invalid_request',
  authentication_failed: 'authentication_failed',
  forbidden: 'forbidden',
  not_found: 'not_found',
  method_not_allowed: 'not_found',
  history_changed: 'history_changed',
  retry_in_progress: 'protocol_error',
  cursor_expired: 'cursor_expired',
  body_too_large: 'body_too_large',
  unsupported_media_type: 'protocol_error',
  upgrade_required: 'upgrade_required',
  too_many_requests: 'too_many_requests',
  internal_error: 'server_error',
  unavailable: 'unavailable'
}

/** For replies of proxies, which do not speak our errors. 409 and 410 are absent: only our server may say those. */
const CODE_BY_STATUS: Record<number, SyncClientErrorCode> = {
  400: 'invalid_request',
  401: 'authentication_failed',
  403: 'forbidden',
  404: 'not_found',
  405: 'not_found',
  408: 'unavailable',
  413: 'body_too_large',
  425: 'unavailable',
  426: 'upgrade_required',
  429: 'too_many_requests',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable'
}

/** The typed error for a reply that is not 200. `body` is its text where it is JSON. */
export function errorOfReply (response: Response, body: string | null): SyncClientError {
  const told = readError(body)
  const code = told !== null && Object.hasOwn(CODE_BY_SERVER_ERROR, told.error)
    ? CODE_BY_SERVER_ERROR[told.error]
    : CODE_BY_STATUS[response.status] ?? (response.status >= 500 ? 'server_error' : 'protocol_error')
  return new SyncClientError(code, told?.message ?? `The server answered with status ${response.status}.`, {
    status: response.status,
    retryAfterSeconds: retryAfter(response.headers.get('retry-after'), Date.now())
  })
}

function readError (body: string | null): ErrorResponse | null {
  if (body === null) return null
  try {
    const value = JSON.parse(body) as Partial<ErrorResponse> | null
    return typeof value?.error === 'string' && typeof value.message === 'string' ? value as ErrorResponse : null
  } catch {
    return null
  }
}

/** Retry-After as seconds from now: a number of seconds or a date; undefined where it is absent or senseless. */
export function retryAfter (header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : Math.ceil((Date.parse(header) - nowMs) / 1000)
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS)
}
