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

export function readRowState (driver: Driver, table: string, key: string): RowState | null {
  const row = driver.all<{ server_version: number, deleted: number, extra: string | null, json_columns: string | null }>(
    'select server_version, deleted, extra, json_columns from _sync_row where tbl = ? and key = ?', [table, key])[0]
  return row === undefined
    ? null
    : { version: row.server_version, deleted: row.deleted === 1, extra: row.extra, jsonColumns: readNames(row.json_columns) }
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
