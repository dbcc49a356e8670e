import type { Driver } from './drivers/driver.js'
import { SyncClientError } from './errors.js'
import { createTransport } from './http/transport.js'
import { readOptions, type SyncClientOptions } from './options.js'
import { afterTakingOver } from './sqlite/apply.js'
import { applyTransaction } from './sqlite/apply-context.js'
import { readConflicts, type ConflictRecord } from './sqlite/conflict-log.js'
import { discardHeld, readHeld, retryHeld, type HeldRow } from './sqlite/held.js'
import { openFile } from './sqlite/open-file.js'
import { adoptExtra } from './sqlite/adopt-extra.js'
import { readShadowRows, type ShadowRow } from './sqlite/shadow.js'
import { transact } from './sqlite/transaction.js'
import { downloadWindow, hydrate, type DownloadReport } from './sync/download.js'
import type { Session } from './sync/session.js'
import { stateOf } from './sync/session.js'
import { syncOnce, type SyncReport } from './sync/sync-once.js'
import { uploadOnce, type UploadReport } from './sync/upload.js'

export interface CallOptions {
  /** Ends the call. What was frozen or staged stays, and the next call goes on from there. */
  signal?: AbortSignal
}

export interface SyncStatus {
  userId: string
  /** The source id. It differs from the option after the file was found to be a copy. */
  deviceId: string
  /** null until the first contact with the server. */
  epoch: string | null
  cursor: number
  /** Rows changed here that wait to be sent. */
  pending: number
  /** Changes that were sent, or are about to be, and not judged. */
  outbox: number
  held: number
  /** Server rows that cannot be shown yet. */
  shadow: number
  /** Automatic decisions on record. */
  conflicts: number
  /** The error of the last call, null after a call that went well. */
  lastError: Error | null
}

/** Keeps the synced tables of one SQLite file in step with a server. One call at a time; further calls wait their turn. */
export interface SyncClient {
  /** Send one batch: the one that was not judged yet, or else a new one. */
  uploadOnce: (options?: CallOptions) => Promise<UploadReport>
  /** Fetch one window, by pages of `limit` changes, and apply it in one transaction. */
  downloadOnce: (limit?: number, options?: CallOptions) => Promise<DownloadReport>
  /** Download everything from the start, this device's own changes included. Local edits are kept. */
  hydrate: (options?: CallOptions) => Promise<DownloadReport>
  /** Send everything, fetch everything, send what that made pending. */
  syncOnce: (options?: CallOptions) => Promise<SyncReport>
  status: () => SyncStatus
  /** Rows that were refused or cannot be sent, with the reason. */
  held: () => HeldRow[]
  /** Make a held row pending again, or all of them; returns how many. */
  retryHeld: (id?: number) => number
  /** Give up the local change of a held row and take the server's row. False where the row is no longer held, or cannot be written. */
  discardHeld: (id: number) => boolean
  /** Rows of the server that cannot be shown yet, with the reason. */
  shadow: () => ShadowRow[]
  /** Automatic decisions, oldest first. */
  conflicts: () => ConflictRecord[]
  /** Waits for the running call, then closes the driver. Capture goes on: triggers live in the file. */
  close: () => Promise<void>
}

/**
 * Prepares the file and returns its client. Synchronous. Throws `SyncClientError` (`table_refused`, `wrong_user`,
 * `wrong_device`, `invalid_option`, `busy`) and leaves the file as it was where it cannot.
 */
export function createSyncClient (driver: Driver, options: SyncClientOptions): SyncClient {
  if (typeof driver?.all !== 'function' || typeof driver.exec !== 'function') throw new SyncClientError('invalid_option', 'The first argument must be a driver: betterSqlite3(db), for example.')
  const settings = readOptions(options)
  const tables = openFile(driver, settings)
  const session: Session = {
    driver, settings, tables, rules: settings.tables, transport: createTransport(settings), hasShakenHands: false, batchSize: settings.uploadBatchSize
  }
  adoptExtra(session)
  let isClosed = false
  let lastError: Error | null = null
  let turn: Promise<unknown> = Promise.resolve()

  function assertOpen (): void {
    if (isClosed) throw new SyncClientError('closed', 'The client was closed.')
  }

  function inTurn<T> (run: () => Promise<T>): Promise<T> {
    const call = turn.then(async () => {
      assertOpen()
      try {
        const result = await run()
        lastError = null
        return result
      } catch (error) {
        lastError = error as Error
        throw error
      }
    })
    turn = call.catch(() => {}) // the caller has the error; the next call has its own chance
    return call
  }

  return {
    uploadOnce: ({ signal } = {}) => inTurn(() => uploadOnce(session, signal)),
    downloadOnce: (limit = settings.downloadLimit, { signal } = {}) => inTurn(() => downloadWindow(session, limit, signal)),
    hydrate: ({ signal } = {}) => inTurn(() => hydrate(session, settings.downloadLimit, signal)),
    syncOnce: ({ signal } = {}) => inTurn(() => syncOnce(session, settings.downloadLimit, signal)),
    status () {
      assertOpen()
      return readStatus(session, lastError)
    },
    held () {
      assertOpen()
      return readHeld(driver)
    },
    retryHeld (id) {
      assertOpen()
      return transact(driver, () => retryHeld(driver, id ?? null))
    },
    discardHeld (id) {
      assertOpen()
      return applyTransaction(session, context => {
        const isDone = discardHeld(context, id)
        afterTakingOver(context)
        return isDone
      })
    },
    shadow () {
      assertOpen()
      return readShadowRows(driver)
    },
    conflicts () {
      assertOpen()
      return readConflicts(driver)
    },
    async close () {
      if (isClosed) return
      isClosed = true
      await turn
      driver.close()
    }
  }
}

function readStatus (session: Session, lastError: Error | null): SyncStatus {
  const { userId, sourceId, epoch, cursor } = stateOf(session)
  const [counts] = session.driver.all<Pick<SyncStatus, 'pending' | 'outbox' | 'held' | 'shadow' | 'conflicts'>>(
    `select (select count(*) from _sync_pending) as pending, (select count(*) from _sync_outbox) as outbox,
            (select count(*) from _sync_held) as held, (select count(*) from _sync_shadow) as shadow,
            (select count(*) from _sync_conflict) as conflicts`)
  return { userId, deviceId: sourceId, epoch, cursor, ...(counts as NonNullable<typeof counts>), lastError }
}
