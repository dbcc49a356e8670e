import type { Driver } from '../drivers/driver.js'
import { sqliteWasm } from '../drivers/sqlite-wasm.js'
import { SyncClientError } from '../errors.js'
import type { SyncClientOptions } from '../options.js'
import { createSyncClient, type SyncClient } from '../sync-client.js'
import { watchTables } from './local-changes.js'
import type { OpenDatabase } from './perform.js'
import { workerPlatform } from './platform.js'
import { serve } from './serve.js'
import { createStorage, type BrowserSqlite } from './storage.js'

export type { BrowserSqlite } from './storage.js'

export interface DatabaseOptions {
  /** Name of the database in this origin: letters, digits, `_` and `-`, at most 64. */
  name: string
  /** Loads SQLite: the default export of `@sqlite.org/sqlite-wasm`, as it is. */
  sqlite: () => Promise<unknown>
  /** The app's own tables: runs whenever the file was opened, before the client. */
  prepare?: (driver: Driver) => void | Promise<void>
  /** Options of the client; functions such as getToken are welcome here. A function is asked at every opening. */
  client: SyncClientOptions | (() => SyncClientOptions | Promise<SyncClientOptions>)
  /** Runs when the client is there, before the first call: for `client.migrate`, or listeners of the worker's own. */
  ready?: (client: SyncClient, driver: Driver) => void | Promise<void>
  /** The app's version. A tab of another one gets `other_build` instead of a database whose tables it may not know. Default: ''. */
  build?: string
}

/**
 * Serves a database to the page of this worker and, while this tab leads, to all tabs of the origin. To be called once, at
 * the top of the worker's own file.
 */
export function serveDatabase (options: DatabaseOptions): void {
  const { name, build = '' } = options
  if (!/^[\w-]{1,64}$/.test(name)) throw new SyncClientError('invalid_option', 'Option name must be 1 to 64 letters, digits, _ or -.')
  const platform = workerPlatform()
  const openStorage = createStorage(name, options.sqlite as () => Promise<BrowserSqlite>, platform.locks !== null)
  serve({ name, build, platform, open: async signal => await openDatabase(options, await openStorage(), signal) })
}

async function openDatabase (options: DatabaseOptions, { sqlite3, db, persistence, reason, close }: Awaited<ReturnType<ReturnType<typeof createStorage>>>, signal: AbortSignal): Promise<OpenDatabase> {
  try {
    const driver = sqliteWasm(sqlite3, db)
    await options.prepare?.(driver)
    const settings = typeof options.client === 'function' ? await options.client() : options.client
    const client = createSyncClient(driver, endingWith(signal, settings))
    await options.ready?.(client, driver)
    return {
      driver,
      client,
      storage: { persistence, reason },
      watch: watchTables(sqlite3, db, driver),
      async close () {
        await client.close()
        close()
      }
    }
  } catch (error) {
    close()
    throw error
  }
}

/** Its requests end when the leader resigns: the next one asks again. Nor does it wait for a token then. */
function endingWith (signal: AbortSignal, options: SyncClientOptions): SyncClientOptions {
  const { fetch: ask = (url, init) => fetch(url, init), getToken } = options
  return {
    ...options,
    fetch: async (url, init) => await ask(url, { ...init, signal: init.signal == null ? signal : AbortSignal.any([init.signal, signal]) }),
    ...(getToken === undefined ? {} : { getToken: async about => await untilAborted(signal, getToken(about)) })
  }
}

async function untilAborted<T> (signal: AbortSignal, value: T | Promise<T>): Promise<T> {
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new SyncClientError('aborted', 'The database is handed to another tab.'))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    Promise.resolve(value).then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
