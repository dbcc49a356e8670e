import { DriverError, errorCodeOfName, type Driver, type SqlParameter } from './driver.js'

/** What the driver uses of `sqlite3.oo1.DB` of `@sqlite.org/sqlite-wasm`, and of its OPFS classes. */
export interface WasmDatabase {
  exec: (options: { sql: string, bind?: readonly SqlParameter[], rowMode?: 'object', returnValue?: 'resultRows' }) => unknown
  changes: () => number
  pointer?: unknown
}

/** What the driver uses of the module: names of result codes, and the state of a connection. */
export interface WasmSqlite {
  capi: {
    sqlite3_js_rc_str: (code: number) => string | undefined
    sqlite3_get_autocommit: (db: never) => number
    sqlite3_extended_errcode: (db: never) => number
  }
}

/**
 * A driver on an open database of the official SQLite for the web: in memory, or on OPFS in a worker. The app may go on
 * using the same connection; closing the client leaves it open.
 */
export function sqliteWasm (sqlite3: WasmSqlite, db: WasmDatabase): Driver {
  function wrap<T> (fn: () => T): T {
    try {
      return fn()
    } catch (error) {
      const code = (error as { resultCode?: unknown }).resultCode
      const name = typeof code === 'number' ? sqlite3.capi.sqlite3_js_rc_str(code) : undefined
      throw new DriverError(name === undefined ? 'other' : errorCodeOfName(name), (error as Error).message, { cause: error })
    }
  }
  const call = (sql: string, params: readonly SqlParameter[]): Parameters<WasmDatabase['exec']>[0] => params.length === 0 ? { sql } : { sql, bind: params }

  return {
    exec (sql) { wrap(() => db.exec({ sql })) },
    run (sql, params = []) {
      return wrap(() => {
        db.exec(call(sql, params))
        return { changes: db.changes() }
      })
    },
    all<Row> (sql: string, params: readonly SqlParameter[] = []) {
      return wrap(() => db.exec({ ...call(sql, params), rowMode: 'object', returnValue: 'resultRows' }) as Row[])
    },
    close () {},
    get inTransaction () { return sqlite3.capi.sqlite3_get_autocommit(db.pointer as never) === 0 }
  }
}
