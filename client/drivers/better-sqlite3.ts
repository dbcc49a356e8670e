import { createRequire } from 'node:module'
import type { Database, Options, Statement } from 'better-sqlite3'
import { MAX_CACHED_STATEMENTS } from '../limits.js'
import { DriverError, type Driver, type SqlParameter } from './driver.js'
import { errorCodeOfName } from './result-codes.js'
import { runLock } from './run-lock-file.js'
import { createStatementCache } from './statement-cache.js'

export interface BetterSqlite3Options {
  /** The addon, where you opened the database with one of your own: the lock of a run is a database beside yours. */
  nativeBinding?: Options['nativeBinding'] | object
}

/**
 * A driver on an open better-sqlite3 database. The app may go on using the same connection; closing the client leaves it
 * open, for whoever opened it closes it.
 */
export function betterSqlite3 (db: Database, { nativeBinding }: BetterSqlite3Options = {}): Driver {
  const statements = createStatementCache(MAX_CACHED_STATEMENTS, (sql): Statement<unknown[]> => {
    const statement = db.prepare<unknown[]>(sql)
    // The app may have switched its connection to safeIntegers: our statements read numbers, and large integers as text.
    statement.safeIntegers(false)
    return statement
  })
  const lock = db.memory
    ? null
    : runLock(db.name, file => {
      const Open = db.constructor as new (file: string, options: object) => Database
      const connection = new Open(file, { timeout: 0, ...(nativeBinding === undefined ? {} : { nativeBinding }) })
      return { exec: sql => { connection.exec(sql) }, close: () => { connection.close() } }
    })

  return {
    exec (sql) { wrap(() => db.exec(sql)) },
    run (sql, params: readonly SqlParameter[] = []) {
      return wrap(() => ({ changes: statements.get(sql).run(...params).changes }))
    },
    all<Row> (sql: string, params: readonly SqlParameter[] = []) {
      return wrap(() => statements.get(sql).all(...params) as Row[])
    },
    close () { statements.clear() },
    get inTransaction () { return db.inTransaction },
    ...(lock === null ? {} : { lockRun: () => lock() })
  }
}

function wrap<T> (fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    const name = (error as { code?: unknown }).code
    throw new DriverError(typeof name === 'string' ? errorCodeOfName(name) : 'other', (error as Error).message, { cause: error })
  }
}

/**
 * better-sqlite3 13 needs Node-API 10; where there is less, `new Database()` ends the process with a segmentation fault.
 * Said when this module is loaded, which is before the app can open a database.
 */
export function refuseUnloadable (version: string | undefined, napi: number): void {
  if (version === undefined || Number(version.split('.')[0]) < 13 || napi >= 10) return
  throw new DriverError('unsupported',
    `better-sqlite3 ${version} needs Node-API 10 and this Node (${process.version}) has ${napi}: it would end the process. ` +
    'Use better-sqlite3 12, or Node 22.14 or later.')
}

function installedVersion (): string | undefined {
  try {
    return (createRequire(import.meta.url)('better-sqlite3/package.json') as { version: string }).version
  } catch {
    return undefined // bundled by the app: it knows what it bundles
  }
}

refuseUnloadable(installedVersion(), Number(process.versions['napi']))
