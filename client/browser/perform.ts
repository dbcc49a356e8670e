import type { Driver, SqlParameter } from '../drivers/driver.js'
import { DriverError } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import { transact } from '../sqlite/transaction.js'
import type { SyncClient } from '../sync-client.js'
import { pack, unpackArguments } from './portable.js'
import type { BoundValue, Request, Statement, Storage } from './protocol.js'

/** The open database of a leader. */
export interface OpenDatabase {
  driver: Driver
  client: SyncClient
  storage: Storage
  /** Runs statements of the app; tells which tables they changed. */
  watch: <T>(fn: () => T) => { result: T, tables: string[] }
  close: () => Promise<void>
}

export interface Performed {
  value: unknown
  /** Tables that the app changed. */
  tables: string[]
}

/** What a statement did: rows that it changed itself, and those that it returned. */
export interface RunResult<Row = Record<string, unknown>> { changes: number, rows: Row[] }

/** Calls of the client that take or return what does not cross, or that are not a page's business. */
const NOT_FOR_PAGES = new Set(['on', 'close', 'migrate', 'uninstall', 'noticeWrite'])

export async function perform (database: OpenDatabase, request: Request, signal: AbortSignal): Promise<Performed> {
  const { driver, watch } = database
  switch (request.op) {
    case 'all': return { value: readOnly(driver, () => driver.all(request.sql, bind(request.params))), tables: [] }
    case 'run': return written(watch(() => whole(driver, () => run(driver, request))))
    case 'exec': return written(watch(() => whole(driver, () => { driver.exec(request.sql) })))
    case 'transaction': return written(watch(() => transact(driver, () => request.statements.map(statement => run(driver, statement)))))
    case 'sync': return { value: await callClient(database, request.method, unpackArguments(request.args, signal)), tables: [] }
  }
}

async function callClient ({ client, storage }: OpenDatabase, method: string, args: unknown[]): Promise<unknown> {
  const call = Object.hasOwn(client, method) && !NOT_FOR_PAGES.has(method) ? (client as unknown as Record<string, unknown>)[method] : undefined
  if (typeof call !== 'function') throw new SyncClientError('invalid_option', `The client has no call ${method} for pages.`)
  const value: unknown = await (call as (...args: unknown[]) => unknown)(...args)
  return pack(method === 'status' ? { ...value as object, ...storage } : value)
}

function written ({ result, tables }: { result: unknown, tables: string[] }): Performed {
  return { value: result, tables }
}

function run (driver: Driver, { sql, params }: Statement): RunResult {
  const count = (): { total: number, changes: number } => driver.all<{ total: number, changes: number }>('select total_changes() as total, changes() as changes')[0] ?? { total: 0, changes: 0 }
  const before = count().total
  const rows = driver.all(sql, bind(params))
  const { total, changes } = count()
  return { changes: total === before ? 0 : changes, rows } // changes() alone would tell of the statement before
}

/** A read may be repeated when the leader dies, so that it must be one. */
function readOnly<T> (driver: Driver, fn: () => T): T {
  driver.exec('pragma query_only = on')
  try {
    return fn()
  } finally {
    driver.exec('pragma query_only = off')
  }
}

/** A transaction that a call leaves open would take in what other tabs write, and keep the client from syncing. */
function whole<T> (driver: Driver, fn: () => T): T {
  let isOpen = false
  try {
    return fn()
  } finally {
    isOpen = driver.inTransaction
    if (isOpen) {
      driver.exec('rollback')
      throw new DriverError('unsupported', 'A transaction must begin and end in one call. It was rolled back: use transaction([...]).') // eslint-disable-line no-unsafe-finally
    }
  }
}

/** What the drivers do not take: booleans, which SQLite does not have. They do take bigints. */
function bind (params: readonly BoundValue[] = []): SqlParameter[] {
  return params.map(param => (typeof param === 'boolean' ? Number(param) : param) as SqlParameter)
}
