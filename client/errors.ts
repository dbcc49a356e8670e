/**
 * What can go wrong in a call, and what to do. `retry`: the same call may succeed later without anybody's help.
 * Expected outcomes (conflict, held row) are values in the reports, not errors.
 */
export const CLIENT_ERRORS = {
  network: { retry: true, advice: 'No reply arrived. The batch is kept; call again.' },
  timeout: { retry: true, advice: 'No complete reply within timeoutMs. The batch is kept; call again.' },
  aborted: { retry: true, advice: 'Your AbortSignal ended the call. The batch is kept.' },
  unavailable: { retry: true, advice: 'The server or a proxy before it is away. Wait as long as retryAfterSeconds says.' },
  too_many_requests: { retry: true, advice: 'Wait as long as retryAfterSeconds says.' },
  server_error: { retry: true, advice: 'The server failed; its log has the details.' },
  busy: { retry: true, advice: 'The connection is inside a transaction of the app. Call again when it is over.' },
  sync_elsewhere: { retry: true, advice: 'Another process is syncing this file. Nothing is wrong.' },
  migrating: { retry: true, advice: 'The app is migrating its tables (client.migrate). Call again when that is done.' },
  authentication_failed: { retry: false, advice: 'Sign in again, or give a fresh token from getToken.' },
  forbidden: { retry: false, advice: 'The server refuses this user.' },
  token_unavailable: { retry: true, advice: 'getToken threw; its error is the cause. Without a network it may well do so.' },
  redirected: { retry: false, advice: 'The reply was a redirect, to a login page perhaps. Correct the url, or get through the captive portal.' },
  not_json: { retry: true, advice: 'The reply is not JSON: a captive portal, a proxy, or a reply that was cut.' },
  protocol_error: { retry: false, advice: 'The reply breaks the contract; nothing was changed on the device. Compare the versions of client and server.' },
  invalid_request: { retry: false, advice: 'The server refused the request as malformed. Compare the versions of client and server.' },
  not_found: { retry: false, advice: 'There is no sync server at this url. It must include the prefix, for example /sync.' },
  body_too_large: { retry: true, advice: 'The batch is halved by itself; a single row that is too large is held.' },
  upgrade_required: { retry: false, advice: 'This version of the app is too old for the server.' },
  history_changed: { retry: false, advice: 'The url leads to another server than before; nothing was changed on the device. Correct it, or call rebuild(). Or a server refuses every history that it tells: ask its operator.' },
  cursor_expired: { retry: false, advice: 'The server expires cursors faster than this device can read. Ask its operator.' },
  signed_out: { retry: false, advice: 'Nobody is signed in. Changes are noted; call signIn.' },
  unsent_changes: { retry: false, advice: 'Sync first, or force the call and give up the number of changes in `unsent`.' },
  wrong_device: { retry: false, advice: 'The token speaks for another device: getToken must ask for a token of the deviceId it is given.' },
  wrong_user: { retry: false, advice: 'The file belongs to another user. Sign out first, or use one file a user.' },
  wrong_scope: { retry: false, advice: 'The file holds another scope. Sign out first, or use one file a scope.' },
  table_refused: { retry: false, advice: 'The message names the table and what to change in it.' },
  invalid_option: { retry: false, advice: 'The message names the option.' },
  storage_unavailable: { retry: true, advice: 'In a browser: SQLite or its file could not be opened. The error of the browser is the cause; nothing was changed.' },
  leader_lost: { retry: false, advice: 'In a browser: the tab that had the database was closed while it carried out this write. Look whether it is there before you repeat it.' },
  other_build: { retry: false, advice: 'In a browser: a tab of another version of the app has the database. Reload it.' },
  too_many_calls: { retry: true, advice: 'In a browser: too many calls of this page wait. Wait for some of them.' },
  worker_failed: { retry: false, advice: 'In a browser: the worker could not be loaded or threw an error. Reload the page.' },
  closed: { retry: false, advice: 'The client was closed.' }
} as const satisfies Record<string, { retry: boolean, advice: string }>

export type SyncClientErrorCode = keyof typeof CLIENT_ERRORS

export interface SyncClientErrorDetails {
  cause?: unknown
  /** HTTP status, where there was a reply. */
  status?: number | undefined
  /** Seconds the server asked to wait. */
  retryAfterSeconds?: number | undefined
  /** Changes that only this device has, for `unsent_changes`. */
  unsent?: number | undefined
}

/** Every error of the client that is not SQLite's own (see `DriverError`). */
export class SyncClientError extends Error {
  override readonly name = 'SyncClientError'
  readonly code: SyncClientErrorCode
  readonly status: number | undefined
  readonly retryAfterSeconds: number | undefined
  readonly unsent: number | undefined

  constructor (code: SyncClientErrorCode, message: string, details: SyncClientErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause })
    this.code = code
    this.status = details.status
    this.retryAfterSeconds = details.retryAfterSeconds
    this.unsent = details.unsent
  }

  /** True where the same call may succeed later by itself. */
  get retry (): boolean {
    return CLIENT_ERRORS[this.code].retry
  }
}
