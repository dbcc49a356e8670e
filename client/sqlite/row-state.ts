import type { Driver } from '../drivers/driver.js'

/** What the server is known to hold of a row. */
export interface RowState {
  version: number
  deleted: boolean
  /** Members of the server's row that have no column here, as a JSON object with exact numbers; null for none. */
  extra: string | null
  /** TEXT columns whose last server value was a JSON object or array. */
  jsonColumns: readonly string[]
}

interface StateRow { server_version: number, deleted: number, extra: string | null, json_columns: string | null }

export function readRowState (driver: Driver, table: string, key: string): RowState | null {
  const row = driver.all<StateRow>('select server_version, deleted, extra, json_columns from _sync_row where tbl = ? and key = ?', [table, key])[0]
  return row === undefined ? null : toState(row)
}

/**
 * The same, and whether nothing else is known of the row: no local work on it, nothing of it in shadow, and it has not made
 * way. In one statement, for most rows of a window are like that.
 */
export function lookAtRow (driver: Driver, table: string, key: string): { known: RowState | null, isQuiet: boolean } {
  const row = driver.all<{ is_quiet: number, server_version: number | null } & Omit<StateRow, 'server_version'>>(LOOK, [table, key])[0]
  return {
    known: row === undefined || row.server_version === null ? null : toState(row as StateRow),
    isQuiet: row?.is_quiet === 1
  }
}

const NOISE = ['_sync_shadow', '_sync_outbox', '_sync_pending', '_sync_held', '_sync_parked']
const LOOK = `
  select r.server_version, r.deleted, r.extra, r.json_columns,
    not (${NOISE.map(table => `exists (select 1 from ${table} as n where n.tbl = x.tbl and n.key = x.key)`).join(' or ')}) as is_quiet
  from (select ? as tbl, ? as key) as x left join _sync_row as r on r.tbl = x.tbl and r.key = x.key`

function toState (row: StateRow): RowState {
  return { version: row.server_version, deleted: row.deleted === 1, extra: row.extra, jsonColumns: readNames(row.json_columns) }
}

export function writeRowState (driver: Driver, table: string, key: string, state: RowState, stamp: number): void {
  driver.run(
    `insert into _sync_row (tbl, key, server_version, deleted, extra, json_columns, stamp) values (?, ?, ?, ?, ?, ?, ?)
     on conflict (tbl, key) do update set server_version = excluded.server_version, deleted = excluded.deleted,
       extra = excluded.extra, json_columns = excluded.json_columns, stamp = excluded.stamp`,
    [table, key, state.version, state.deleted ? 1 : 0, state.extra, state.jsonColumns.length === 0 ? null : JSON.stringify(state.jsonColumns), stamp])
}

export function forgetRowState (driver: Driver, table: string, key: string): void {
  driver.run('delete from _sync_row where tbl = ? and key = ?', [table, key])
}

export function readNames (json: string | null): string[] {
  return json === null ? [] : JSON.parse(json) as string[]
}
