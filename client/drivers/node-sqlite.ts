import { MAX_CACHED_STATEMENTS } from '../limits.js'
import { DriverError, type Driver, type SqlParameter } from './driver.js'
import { errorCodeOfNumber } from './result-codes.js'
import { runLock } from './run-lock-file.js'
import { createStatementCache } from './statement-cache.js'

/** What the driver uses of a prepared statement of `node:sqlite`. */
export interface NodeStatement {
  run: (...params: SqlParameter[]) => { changes: number | bigint }
  all: (...params: SqlParameter[]) => unknown[]
  setReadBigInts: (enabled: boolean) => void
}

/** What it uses of `DatabaseSync`, of Node 22.13 and later. */
export interface NodeDatabase {
  exec: (sql: string) => void
  prepare: (sql: string) => NodeStatement
  close: () => void
  /** Since Node 24 and 22.16; asked of SQLite where it is absent. */
  readonly isTransaction?: boolean
  /** The file; null for a database in memory. Since Node 22.16. */
  location?: () => string | null
}

/**
 * A driver on an open `DatabaseSync` of `node:sqlite`. The app may go on using the same connection; closing the client leaves
 * it open, for whoever opened it closes it.
 */
export function nodeSqlite (db: NodeDatabase): Driver {
  if (db.isTransaction === undefined) {
    throw new DriverError('unsupported', `node:sqlite of this Node (${process.version}) does not say whether a transaction is open. Use Node 22.16 or later.`)
  }
  function prepare (sql: string): NodeStatement {
    const statement = db.prepare(sql)
    statement.setReadBigInts(false)
    return statement
  }
  const statements = createStatementCache(MAX_CACHED_STATEMENTS, prepare)
  // Node 22 goes on with the columns that a table had when the statement was prepared: one with a star is prepared each time.
  const statement = (sql: string): NodeStatement => /\bselect\s+(?:\w+\.)?\*/i.test(sql) ? prepare(sql) : statements.get(sql)
  const file = db.location?.() ?? null
  const lock = file === null || file === ''
    ? null
    : runLock(file, place => {
      const Open = db.constructor as new (place: string) => NodeDatabase
      return new Open(place)
    })

  return {
    exec (sql) { wrap(() => db.exec(sql)) },
    run (sql, params: readonly SqlParameter[] = []) {
      return wrap(() => ({ changes: Number(statement(sql).run(...params).changes) }))
    },
    all<Row> (sql: string, params: readonly SqlParameter[] = []) {
      return wrap(() => statement(sql).all(...params) as Row[])
    },
    close () { statements.clear() },
    get inTransaction () { return isTransaction(db) },
    ...(lock === null ? {} : { lockRun: () => lock() })
  }
}

/** A database that was closed is in no transaction; asking it throws. The next statement says that it is closed. */
function isTransaction (db: NodeDatabase): boolean {
  try {
    return db.isTransaction === true
  } catch {
    return false
  }
}

function wrap<T> (fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    const code = (error as { errcode?: unknown }).errcode
    throw new DriverError(typeof code === 'number' ? errorCodeOfNumber(code) : 'other', (error as Error).message, { cause: error })
  }
}
