/**
 * Every error that a route can answer: its status, whether the same request may succeed later, and what to do about it.
 * Expected outcomes of a batch (conflict, invalid) are values in the reply, not errors.
 */
export const ERRORS = {
  invalid_request: { status: 400, retry: false, advice: 'The request breaks the contract; nothing was stored. Compare it with the OpenAPI document.' },
  authentication_failed: { status: 401, retry: false, advice: 'The app\'s getIdentity did not accept the caller. Sign in again.' },
  forbidden: { status: 403, retry: false, advice: 'The app\'s getIdentity refused this caller.' },
  not_found: { status: 404, retry: false, advice: 'There is no such route. Compare the path and the prefix.' },
  method_not_allowed: { status: 405, retry: false, advice: 'The route exists under another method.' },
  history_changed: { status: 409, retry: false, advice: 'The server\'s history is not the one the device knows. The device rebuilds and keeps what only it knows.' },
  retry_in_progress: { status: 409, retry: true, advice: 'Somebody else is retrying this failure. Look at the list again.' },
  cursor_expired: { status: 410, retry: false, advice: 'The cursor is older than the deletions that the server still remembers. The device rebuilds.' },
  body_too_large: { status: 413, retry: false, advice: 'Send a smaller batch, or raise maxBodyBytes.' },
  unsupported_media_type: { status: 415, retry: false, advice: 'Send application/json, without Content-Encoding.' },
  upgrade_required: { status: 426, retry: false, advice: 'The device\'s schema version is below minSchemaVersion. Update the app.' },
  too_many_requests: { status: 429, retry: true, advice: 'Too many uploads of one scope are waiting. Wait as long as Retry-After says.' },
  internal_error: { status: 500, retry: true, advice: 'A fault in the server or in the app\'s own hooks; its log has the details.' },
  unavailable: { status: 503, retry: true, advice: 'The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says.' }
} as const satisfies Record<string, { status: number, retry: boolean, advice: string }>

export type ErrorCode = keyof typeof ERRORS

/** An error that a route answers as `{ error, message }` with its status. Its message is shown to the caller. */
export class SyncError extends Error {
  override readonly name = 'SyncError'
  readonly code: ErrorCode
  readonly statusCode: number
  /** Seconds to wait before the same request is sent again; present where `ERRORS[code].retry` is true. */
  readonly retryAfterSeconds: number | undefined

  constructor (code: ErrorCode, message: string, options: { cause?: unknown, retryAfterSeconds?: number } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.statusCode = ERRORS[code].status
    this.retryAfterSeconds = options.retryAfterSeconds ?? (ERRORS[code].retry ? 1 : undefined)
  }
}

/** A mistake in the plugin's options or in the app's tables, found at start. Names what is wrong and where. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
}
