import type { ClientCore } from '../core.js'
import { downloadWindow, hydrate, rebuild, type DownloadReport } from '../sync/download.js'
import { syncOnce, type SyncReport } from '../sync/sync-once.js'
import { uploadOnce, type UploadReport } from '../sync/upload.js'

export interface CallOptions {
  /** Ends the call. What was frozen or staged stays, and the next call goes on from there. */
  signal?: AbortSignal
}

export interface RunCalls {
  /** Send one batch: the one that was not judged yet, or else a new one. */
  uploadOnce: (options?: CallOptions) => Promise<UploadReport>
  /** Fetch one window, by pages of `limit` changes, and apply it in one transaction. */
  downloadOnce: (limit?: number, options?: CallOptions) => Promise<DownloadReport>
  /** Download everything from the start, this device's own changes included. Local edits are kept. */
  hydrate: (options?: CallOptions) => Promise<DownloadReport>
  /** Compare everything with the server, as after a restore: what it lacks is sent again. Also the app's consent to a server with another address and history. */
  rebuild: (options?: CallOptions) => Promise<DownloadReport>
  /** Send everything, fetch everything, send what that made pending. */
  syncOnce: (options?: CallOptions) => Promise<SyncReport>
}

export function runCalls ({ session, run }: ClientCore): RunCalls {
  const { downloadLimit, timeoutMs: waitMs } = session.settings
  return {
    uploadOnce: ({ signal } = {}) => run(signal => uploadOnce(session, signal), { signal, waitMs }),
    downloadOnce: (limit = downloadLimit, { signal } = {}) => run(signal => downloadWindow(session, limit, signal), { signal, waitMs }),
    hydrate: ({ signal } = {}) => run(signal => hydrate(session, downloadLimit, signal), { signal, waitMs }),
    rebuild: ({ signal } = {}) => run(signal => rebuild(session, signal), { signal, waitMs }),
    syncOnce: ({ signal } = {}) => run(signal => syncOnce(session, downloadLimit, signal), { signal, waitMs })
  }
}
