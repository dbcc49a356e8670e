import type { WasmDatabase, WasmSqlite } from '../drivers/sqlite-wasm.js'
import { SyncClientError } from '../errors.js'
import { STORAGE_PATIENCE_MS, STORAGE_RETRY_MS } from '../limits.js'
import type { Storage } from './protocol.js'

/** What is used of `@sqlite.org/sqlite-wasm`, as the app's own bundle brings it. */
export interface BrowserSqlite extends WasmSqlite {
  oo1: { DB: new (file: string) => ClosableDatabase }
  installOpfsSAHPoolVfs: (options: { name: string, directory: string, forceReinitIfPreviouslyFailed: boolean }) => Promise<Pool>
}

export type ClosableDatabase = WasmDatabase & { close: () => void }

interface Pool {
  OpfsSAHPoolDb: new (file: string) => ClosableDatabase
  pauseVfs: () => unknown
  unpauseVfs: () => Promise<unknown>
  isPaused: () => boolean
}

export interface OpenStorage extends Storage {
  sqlite3: BrowserSqlite
  db: ClosableDatabase
  close: () => void
}

/**
 * Opens the database file of that name, again and again in one worker. On OPFS by a pool of access handles, which works
 * without special response headers, and which one worker can hold at a time; in memory where the browser has no OPFS.
 */
export function createStorage (name: string, load: () => Promise<BrowserSqlite>, hasLocks: boolean): () => Promise<OpenStorage> {
  let loading: Promise<BrowserSqlite> | null = null
  let pool: Pool | null = null
  return async () => {
    loading ??= load().catch((error: Error) => {
      loading = null // offline, perhaps; the next call may have its chance
      throw new SyncClientError('storage_unavailable', `SQLite could not be loaded: ${error?.message ?? String(error)}`, { cause: error })
    })
    const sqlite3 = await loading
    const reason = hasLocks ? await whyNoOpfs() : 'This page has no Web Locks: it is not secure (https), or the browser is too old.'
    if (reason !== null) {
      const db = new sqlite3.oo1.DB(':memory:')
      return { sqlite3, db, persistence: 'memory', reason, close: () => { db.close() } }
    }
    const opened = pool = await withPatience(async () => {
      if (pool === null) return await sqlite3.installOpfsSAHPoolVfs({ name: `oversync-${name}`, directory: `.oversync-${name}`, forceReinitIfPreviouslyFailed: true })
      if (pool.isPaused()) await pool.unpauseVfs()
      return pool
    })
    const db = openFile(opened)
    return {
      sqlite3,
      db,
      persistence: 'opfs',
      reason: null,
      close () {
        db.close()
        opened.pauseVfs()
      }
    }
  }
}

function openFile (pool: Pool): ClosableDatabase {
  try {
    return new pool.OpfsSAHPoolDb('/app.sqlite3')
  } catch (cause) {
    pool.pauseVfs()
    throw unavailable(cause as Error)
  }
}

interface OpfsScope {
  navigator?: { storage?: { getDirectory?: () => Promise<unknown> } }
  FileSystemFileHandle?: { prototype: { createSyncAccessHandle?: unknown } }
}

/** Why there is no OPFS here; null where there is. Only what can never work ends in memory: a file that is there must not be passed over. */
async function whyNoOpfs (): Promise<string | null> {
  const { navigator, FileSystemFileHandle } = globalThis as unknown as OpfsScope
  if (navigator?.storage?.getDirectory === undefined) return 'This browser has no origin private file system.'
  if (typeof FileSystemFileHandle?.prototype.createSyncAccessHandle !== 'function') return 'This browser has no synchronous access to files, or the code does not run in a worker.'
  try {
    await navigator.storage.getDirectory()
    return null
  } catch (error) {
    return `The browser refuses its file system, as in some private modes: ${(error as Error).message}`
  }
}

/** The browser gives a dead tab's lock away before it has closed that tab's files: they are free a moment later. */
async function withPatience<T> (open: () => Promise<T>): Promise<T> {
  const deadlineMs = Date.now() + STORAGE_PATIENCE_MS
  for (;;) {
    try {
      return await open()
    } catch (error) {
      if (Date.now() >= deadlineMs) throw unavailable(error as Error)
      await new Promise(resolve => setTimeout(resolve, STORAGE_RETRY_MS))
    }
  }
}

function unavailable (cause: Error): SyncClientError {
  return new SyncClientError('storage_unavailable', `The database file could not be opened: ${cause?.message ?? String(cause)}`, { cause })
}
