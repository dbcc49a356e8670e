import type { Database as Db } from 'better-sqlite3'
import sqlite3InitModule from '@sqlite.org/sqlite-wasm'
import { sqliteWasm } from '../../client/drivers/sqlite-wasm.js'
import type { Driver, DriverError, SqlParameter } from '../../client/index.js'

const sqlite3 = await sqlite3InitModule()
export type WasmDb = InstanceType<typeof sqlite3.oo1.DB>
const files = new Map<string, WasmDb>()

/**
 * SQLite WASM with the few members of better-sqlite3 that tests use, so that one test runs on both. A database in memory has a
 * file's name, and outlives its connection as a file would. `own` is the package's own object.
 */
export function openWasm (file: string): { db: Db, driver: Driver, isNew: boolean, own: WasmDb } {
  const isNew = !files.has(file)
  const own = files.get(file) ?? new sqlite3.oo1.DB(':memory:')
  files.set(file, own)
  const driver = sqliteWasm(sqlite3, own)
  driver.exec('pragma foreign_keys = on') // as better-sqlite3 does
  const bound = (params: unknown[]): SqlParameter[] => params.map(value => typeof value === 'bigint' ? String(value) : value as SqlParameter)
  const all = (sql: string, params: unknown[]): Array<Record<string, unknown>> => named(() => driver.all(sql, bound(params)))

  function prepare (sql: string) {
    let plucks = false
    const rows = (params: unknown[]): unknown[] => {
      const found = all(sql, params)
      return plucks ? found.map(row => Object.values(row)[0]) : found
    }
    const statement = {
      run: (...params: unknown[]) => named(() => driver.run(sql, bound(params))),
      all: (...params: unknown[]) => rows(params),
      get: (...params: unknown[]) => rows(params)[0],
      pluck () {
        plucks = true
        return statement
      }
    }
    return statement
  }

  const db = {
    exec: (sql: string) => { named(() => driver.exec(sql)) },
    prepare,
    pragma (sql: string, { simple = false } = {}) {
      const found = all(`pragma ${sql}`, [])
      return simple ? Object.values(found[0] ?? {})[0] : found
    },
    get inTransaction () { return driver.inTransaction },
    close () {
      if (driver.inTransaction) driver.exec('rollback') // as a connection that is gone
      driver.close()
    }
  }
  return { db: db as unknown as Db, driver, isNew, own }
}

/** Errors with the code that better-sqlite3 gives them. */
function named<T> (fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    const { resultCode } = (error as DriverError).cause as { resultCode?: number }
    throw resultCode === undefined ? error : Object.assign(error as Error, { code: sqlite3.capi.sqlite3_js_rc_str(resultCode) })
  }
}
