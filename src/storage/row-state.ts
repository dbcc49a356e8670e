import { sql, type RawBuilder, type Transaction } from 'kysely'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'

/** What the stream knows of a row. */
export interface RowState {
  version: number
  deleted: boolean
  /** Position of its latest change. */
  serverId: number
  /** Hash of the keys of its payload; 0 where it is deleted. */
  shape: number
}

export interface RowKey {
  tableId: number
  pk: string
}

/** One text for a row within a scope. */
export function rowKey (tableId: number, pk: string): string {
  return `${tableId}:${pk}`
}

/** The states of the given rows, by rowKey; rows that the stream has never had are absent. */
export async function readRowStates (trx: Transaction<Database>, metadata: Metadata, scopeId: number, keys: RowKey[]): Promise<Map<string, RowState>> {
  if (keys.length === 0) return new Map()
  const { rows } = await sql<StateRow>`select * from ${statesOf(metadata, sql`${String(scopeId)}::bigint`, wantedRows(keys))}`.execute(trx)
  return toStates(rows)
}

/** A parameter of `statesOf`. */
export function wantedRows (keys: RowKey[]): string {
  return JSON.stringify(keys.map(({ tableId, pk }) => ({ t: tableId, k: pk })))
}

/** A row of `statesOf`. */
export interface StateRow { table_id: number, pk: string, version: string, deleted: boolean, server_id: string, shape: string }

/**
 * The states of the rows that `wanted` names (`wantedRows`) as something to select from; `scopeId` is an expression. A lateral
 * look-up with a limit keeps to the index whatever the planner believes of the table's size.
 */
export function statesOf (metadata: Metadata, scopeId: RawBuilder<unknown>, wanted: string): RawBuilder<StateRow> {
  return sql`(
      select r.table_id, r.pk, r.version::text, r.deleted, r.server_id::text, r.shape::text
      from json_to_recordset(${wanted}::text::json) as x (t smallint, k text)
      cross join lateral (
        select s.table_id, s.pk, s.version, s.deleted, s.server_id, s.shape from ${metadata.table('row_state')} s
        where s.scope_id = ${scopeId} and s.table_id = x.t and s.pk = x.k collate "C" limit 1) r
    ) as state`
}

export function toStates (rows: StateRow[]): Map<string, RowState> {
  return new Map(rows.map(row => [
    rowKey(row.table_id, row.pk),
    { version: Number(row.version), deleted: row.deleted, serverId: Number(row.server_id), shape: Number(row.shape) }
  ]))
}
