import { sql, type RawBuilder, type Transaction } from 'kysely'
import type { Identity } from '../options.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import type { Source } from './source.js'
import { runNamed } from './statement-traits.js'

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
  const { rows } = await sql<StateRow>`select * from ${statesOf(metadata, scopeId, keys)}`.execute(trx)
  return toStates(rows)
}

/** The states of the given rows and what is known of a device, null where it is new: in one statement, since every upload reads both. */
export async function readSourceAndStates (trx: Transaction<Database>, metadata: Metadata, scopeId: number, { userId, deviceId }: Identity, keys: RowKey[]): Promise<{ source: Source | null, states: Map<string, RowState> }> {
  const rows = await runNamed(trx, sql<{ source_no: number | null, max_change_id: string | null } & (StateRow | Record<keyof StateRow, null>)>`
    select so.source_no, so.max_change_id::text, state.*
    from (select) as one
    left join ${metadata.table('source')} so on so.scope_id = ${String(scopeId)}::bigint and so.user_id = ${userId} and so.source_id = ${deviceId}
    left join ${statesOf(metadata, scopeId, keys)} on true`)
  const [{ source_no: no, max_change_id: maxChangeId }] = rows as [typeof rows[0]]
  return { source: no === null ? null : { no, maxChangeId: Number(maxChangeId) }, states: toStates(rows.filter(row => row.pk !== null) as StateRow[]) }
}

interface StateRow { table_id: number, pk: string, version: string, deleted: boolean, server_id: string, shape: string }

/** A lateral look-up with a limit keeps to the index whatever the planner believes of the table's size. */
function statesOf (metadata: Metadata, scopeId: number, keys: RowKey[]): RawBuilder<StateRow> {
  const wanted = JSON.stringify(keys.map(({ tableId, pk }) => ({ t: tableId, k: pk })))
  return sql`(
      select r.table_id, r.pk, r.version::text, r.deleted, r.server_id::text, r.shape::text
      from json_to_recordset(${wanted}::text::json) as x (t smallint, k text)
      cross join lateral (
        select s.table_id, s.pk, s.version, s.deleted, s.server_id, s.shape from ${metadata.table('row_state')} s
        where s.scope_id = ${String(scopeId)}::bigint and s.table_id = x.t and s.pk = x.k collate "C" limit 1) r
    ) as state`
}

function toStates (rows: StateRow[]): Map<string, RowState> {
  return new Map(rows.map(row => [
    rowKey(row.table_id, row.pk),
    { version: Number(row.version), deleted: row.deleted, serverId: Number(row.server_id), shape: Number(row.shape) }
  ]))
}
