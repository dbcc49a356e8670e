import type { Driver } from '../drivers/driver.js'
import { runInGroups, valuesSql } from './groups.js'

/** What the server is known to hold of a row. */
export interface RowState {
  version: number
  deleted: boolean
  /** Members of the server's row that have no column here, as a JSON object with exact numbers; null for none. */
  extra: string | null
  /** TEXT columns whose last server value was a JSON object or array. */
  jsonColumns: readonly string[]
}

/** What is known of a row, and whether nothing else is: see `lookAtRow`. */
export interface RowLook { known: RowState | null, isQuiet: boolean }

interface StateRow { server_version: number, deleted: number, extra: string | null, json_columns: string | null }

export function readRowState (driver: Driver, table: string, key: string): RowState | null {
  const row = driver.all<StateRow>('select server_version, deleted, extra, json_columns from _sync_row where tbl = ? and key = ?', [table, key])[0]
  return row === undefined ? null : toState(row)
}

/**
 * The same, and whether nothing else is known of the row: no local work on it, nothing of it in shadow, and it has not made
 * way. In one statement, for most rows of a window are like that.
 */
export function lookAtRow (driver: Driver, table: string, key: string): RowLook {
  const row = driver.all<{ is_quiet: number, server_version: number | null } & Omit<StateRow, 'server_version'>>(LOOK, [table, key])[0]
  return {
    known: row === undefined || row.server_version === null ? null : toState(row as StateRow),
    isQuiet: row?.is_quiet === 1
  }
}

const NOISE = ['_sync_shadow', '_sync_outbox', '_sync_pending', '_sync_held', '_sync_parked']
const STATE = 'r.server_version, r.deleted, r.extra, r.json_columns'
const hasNoise = (books: readonly string[]): string =>
  ['false', ...books.map(book => `exists (select 1 from ${book} as n where n.tbl = x.tbl and n.key = x.key)`)].join(' or ')
const LOOK = `select ${STATE}, not (${hasNoise(NOISE)}) as is_quiet from (select ? as tbl, ? as key) as x left join _sync_row as r on r.tbl = x.tbl and r.key = x.key`
const ALL_BOOKS = [...NOISE, '_sync_row']
const NOTED_IN = ALL_BOOKS.map(book => `select '${book}' as book where exists (select 1 from ${book} where tbl = ?)`).join(' union all ')

/** The same for many rows of a table: those of which anything is known, by key. */
export function lookAtRows (driver: Driver, table: string, keys: readonly string[]): Map<string, RowLook> {
  const noted = driver.all<{ book: string }>(NOTED_IN, ALL_BOOKS.map(() => table)).map(({ book }) => book)
  if (noted.length === 0) return new Map()
  // Where nothing at all is noted of the table, no row is looked up there.
  const books = NOISE.filter(book => noted.includes(book))
  const rows = driver.all<{ key: string, is_quiet: number, server_version: number | null } & Omit<StateRow, 'server_version'>>(
    `select * from (
       select x.key, ${STATE}, not (${hasNoise(books)}) as is_quiet from (select t.tbl, k.value as key from (select ? as tbl) as t cross join json_each(?) as k) as x
       left join _sync_row as r on r.tbl = x.tbl and r.key = x.key)
     where server_version is not null or not is_quiet`, [table, JSON.stringify(keys)])
  return new Map(rows.map(row => [row.key, { known: row.server_version === null ? null : toState(row as StateRow), isQuiet: row.is_quiet === 1 }]))
}

function toState (row: StateRow): RowState {
  return { version: row.server_version, deleted: row.deleted === 1, extra: row.extra, jsonColumns: readNames(row.json_columns) }
}

export function writeRowState (driver: Driver, table: string, key: string, state: RowState, stamp: number): void {
  writeRowStates(driver, table, [{ key, state }], stamp)
}

/** In the order of their keys, which is that of the table: a random order touches more of its pages. */
export function writeRowStates (driver: Driver, table: string, rows: ReadonlyArray<{ key: string, state: RowState }>, stamp: number): void {
  const sorted = rows.length === 1 ? rows : rows.toSorted((a, b) => a.key < b.key ? -1 : 1)
  runInGroups(driver,
    sorted.map(({ key, state }) => [table, key, state.version, state.deleted ? 1 : 0, state.extra, state.jsonColumns.length === 0 ? null : JSON.stringify(state.jsonColumns), stamp]),
    count => `insert into _sync_row (tbl, key, server_version, deleted, extra, json_columns, stamp) values ${valuesSql(7, count)}
     on conflict (tbl, key) do update set server_version = excluded.server_version, deleted = excluded.deleted,
       extra = excluded.extra, json_columns = excluded.json_columns, stamp = excluded.stamp`)
}

export function forgetRowState (driver: Driver, table: string, key: string): void {
  driver.run('delete from _sync_row where tbl = ? and key = ?', [table, key])
}

export function readNames (json: string | null): string[] {
  return json === null ? [] : JSON.parse(json) as string[]
}
