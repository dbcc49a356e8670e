import { MAX_CACHED_STATEMENTS } from '../limits.js'
import { DriverError, type Driver, type SqlParameter } from './driver.js'
import { errorCodeOfNumber } from './result-codes.js'
import { createStatementCache } from './statement-cache.js'

/** What the driver uses of a statement of `sqlite3.oo1`. */
export interface WasmStatement {
  bind: (position: number, value: string | Uint8Array | null) => unknown
  step: () => boolean
  // The package's own declaration has overloads for its own types.
  get: (row: any) => any
  finalize: () => unknown
  readonly pointer?: unknown
}

/** What it uses of `sqlite3.oo1.DB`, and of the classes for OPFS that are made like it. */
export interface WasmDatabase {
  exec: (sql: string) => unknown
  prepare: (sql: string) => WasmStatement
  changes: () => number | bigint
  readonly pointer?: unknown
}

/** What it uses of the module that `sqlite3InitModule()` of `@sqlite.org/sqlite-wasm` resolves to. */
export interface WasmSqlite {
  capi: {
    // The pointers have types of the package's own, which this package does not depend on.
    sqlite3_get_autocommit: (db: any) => number
    sqlite3_step: (statement: any) => number
    sqlite3_reset: (statement: any) => number
    sqlite3_clear_bindings: (statement: any) => number
    sqlite3_bind_double: (statement: any, position: number, value: number) => number
    sqlite3_extended_errcode: (db: any) => number
    sqlite3_errmsg: (db: any) => string
  }
}

const ROW = 100 // SQLITE_ROW
const DONE = 101 // SQLITE_DONE

/**
 * A driver on an open database of the official SQLite for the web: in memory, or on OPFS in a worker. The app may go on
 * using the same connection; closing the client leaves it open.
 */
export function sqliteWasm ({ capi }: WasmSqlite, db: WasmDatabase): Driver {
  const statements = createStatementCache(MAX_CACHED_STATEMENTS, sql => db.prepare(sql), statement => { statement.finalize() })

  /** Binds a statement and runs it to its end. Whatever happens, it is reset: one that is not holds its transaction open. */
  function execute (sql: string, params: readonly SqlParameter[], step: (statement: WasmStatement) => void): void {
    const statement = statements.get(sql)
    try {
      params.forEach((value, i) => {
        // Not statement.bind(): it takes 1e300 for an integer, of which nothing is left.
        if (typeof value === 'number') capi.sqlite3_bind_double(statement.pointer, i + 1, value)
        else statement.bind(i + 1, value)
      })
      step(statement)
    } finally {
      // Not statement.reset(): it throws the error of the last step once more.
      capi.sqlite3_reset(statement.pointer)
      if (params.length > 0) capi.sqlite3_clear_bindings(statement.pointer)
    }
  }

  // Not statement.step(): it writes every error to the console, and a row that collides is nothing to alarm anybody with.
  function stepQuietly (statement: WasmStatement): void {
    let code
    do code = capi.sqlite3_step(statement.pointer); while (code === ROW)
    if (code !== DONE) throw Object.assign(new Error(capi.sqlite3_errmsg(db.pointer)), { resultCode: capi.sqlite3_extended_errcode(db.pointer) })
  }

  return {
    exec (sql) { wrap(() => { db.exec(sql) }) },
    run (sql, params = []) {
      return wrap(() => {
        execute(sql, params, stepQuietly)
        return { changes: Number(db.changes()) }
      })
    },
    all<Row> (sql: string, params: readonly SqlParameter[] = []) {
      return wrap(() => {
        const rows: Row[] = []
        execute(sql, params, statement => {
          while (statement.step()) {
            const row = {}
            statement.get(row)
            rows.push(row as Row)
          }
        })
        return rows
      })
    },
    close () { statements.clear() },
    get inTransaction () { return db.pointer !== undefined && capi.sqlite3_get_autocommit(db.pointer) === 0 }
  }
}

function wrap<T> (fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    const code = (error as { resultCode?: unknown }).resultCode
    throw new DriverError(typeof code === 'number' ? errorCodeOfNumber(code) : 'other', (error as Error).message, { cause: error })
  }
}
