import { sql, type Transaction } from 'kysely'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { runNamed } from './statement-traits.js'

/** An applied change of a source, by its source_change_id. */
export interface LedgerEntry {
  tableId: number
  pk: string
  deletes: boolean
  version: number
  serverId: number
  /** As stored; null for a deletion. */
  payload: string | null
  /** Members at the payload's end that were not sent. */
  carried: number
  /** Digest of what was sent, where the database made another row of it; else null. */
  digest: string | null
}

/** Told how many bytes of payloads are about to be read; throws where that is too much. */
export type Spend = (bytes: number) => void

/** The entries of a source under the given numbers. */
export async function readLedger (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, sourceChangeIds: number[], spend: Spend): Promise<Map<number, LedgerEntry>> {
  if (sourceChangeIds.length === 0) return new Map()
  const ids = JSON.stringify(sourceChangeIds)
  const { rows: [size] } = await sql<{ bytes: string }>`
    select coalesce(sum(l.payload_bytes), 0)::text as bytes
    from json_array_elements_text(${ids}::text::json) as x (id)
    cross join lateral (
      select c.payload_bytes from ${metadata.table('change_log')} c
      where c.scope_id = ${String(scopeId)}::bigint and c.source_no = ${sourceNo}::int and c.source_change_id = x.id::bigint limit 1) l`.execute(trx)
  spend(Number(size?.bytes))
  const { rows } = await sql<{ source_change_id: string, table_id: number, pk: string, deletes: boolean, version: string, server_id: string, payload: string | null, carried: number, sent_digest: string | null }>`
    select l.source_change_id::text, l.table_id, l.pk, l.op = 'D' as deletes, l.version::text, l.server_id::text, l.payload::text, l.carried, l.sent_digest
    from json_array_elements_text(${ids}::text::json) as x (id)
    cross join lateral (
      select * from ${metadata.table('change_log')} c
      where c.scope_id = ${String(scopeId)}::bigint and c.source_no = ${sourceNo}::int and c.source_change_id = x.id::bigint limit 1) l`.execute(trx)
  return new Map(rows.map(row => [Number(row.source_change_id), {
    tableId: row.table_id,
    pk: row.pk,
    deletes: row.deletes,
    version: Number(row.version),
    serverId: Number(row.server_id),
    payload: row.payload,
    carried: row.carried,
    digest: row.sent_digest
  }]))
}

/** Whether the source has a change under a number from `from` to below `below`. */
export async function hasUsed (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, from: number, below: number): Promise<boolean> {
  const { rows } = await sql`
    select from ${metadata.table('change_log')}
    where scope_id = ${String(scopeId)}::bigint and source_no = ${sourceNo}::int
      and source_change_id >= ${String(from)}::bigint and source_change_id < ${String(below)}::bigint limit 1`.execute(trx)
  return rows.length > 0
}

/** Payloads as stored, by position. */
export async function readPayloads (trx: Transaction<Database>, metadata: Metadata, scopeId: number, serverIds: number[], spend: Spend): Promise<Map<number, string | null>> {
  if (serverIds.length === 0) return new Map()
  const ids = JSON.stringify(serverIds)
  const { rows: [size] } = await sql<{ bytes: string }>`
    select coalesce(sum(l.payload_bytes), 0)::text as bytes
    from json_array_elements_text(${ids}::text::json) as x (id)
    cross join lateral (
      select c.payload_bytes from ${metadata.table('change_log')} c
      where c.scope_id = ${String(scopeId)}::bigint and c.server_id = x.id::bigint limit 1) l`.execute(trx)
  spend(Number(size?.bytes))
  const { rows } = await sql<{ server_id: string, payload: string | null }>`
    select l.server_id::text, l.payload::text
    from json_array_elements_text(${ids}::text::json) as x (id)
    cross join lateral (
      select c.server_id, c.payload from ${metadata.table('change_log')} c
      where c.scope_id = ${String(scopeId)}::bigint and c.server_id = x.id::bigint limit 1) l`.execute(trx)
  return new Map(rows.map(row => [Number(row.server_id), row.payload]))
}

export interface NewEntry {
  sourceNo: number
  serverId: number
  sourceChangeId: number
  tableId: number
  op: 'INSERT' | 'UPDATE' | 'DELETE'
  pk: string
  version: number
  payload: string | null
  /** Members at the payload's end that were not sent. */
  carried: number
  digest: string | null
  /** Hash of the payload's keys. */
  shape: number
  /** The row's last change in this batch: the one that row_state will tell. */
  last: boolean
}

/**
 * Appends entries to the log and brings row states, head and source up to date, in one statement. `entries` are in the
 * order of their positions, which follow the head without a gap. Needs the stream lock.
 */
export async function appendEntries (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, entries: NewEntry[], head: number, maxChangeId: number): Promise<void> {
  // Payloads go in as their own text, between the braces of one JSON document: PostgreSQL's json keeps text as sent.
  const document = '[' + entries.map(entry =>
    `{"s":${entry.serverId},"q":${entry.sourceNo},"c":${entry.sourceChangeId},"t":${entry.tableId},"o":"${entry.op[0] as string}",` +
    `"k":${JSON.stringify(entry.pk)},"v":${entry.version},"h":${entry.shape},"n":${entry.carried},"l":${entry.last}${entry.digest === null ? '' : `,"d":"${entry.digest}"`}${entry.payload === null ? '' : `,"p":${entry.payload}`}}`
  ).join(',') + ']'
  const scope = sql`${String(scopeId)}::bigint`
  await runNamed(trx, sql`
    with entry as materialized (
      select * from json_to_recordset(${document}::text::json)
        as x (s bigint, q integer, c bigint, t smallint, o "char", k text, v bigint, h bigint, n smallint, l boolean, d text, p json)
    ), log as (
      insert into ${metadata.table('change_log')} (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes, carried, sent_digest)
      select ${scope}, s, q, c, t, o, k, v, p, coalesce(octet_length(p::text), 0), n, d from entry order by s
    ), state as (
      insert into ${metadata.table('row_state')} as r (scope_id, table_id, pk, version, deleted, server_id, shape)
      select ${scope}, t, k, v, o = 'D', s, h from entry where l
      on conflict (scope_id, table_id, pk) do update
      set version = excluded.version, deleted = excluded.deleted, server_id = excluded.server_id, shape = excluded.shape
    ), stream as (
      update ${metadata.table('stream')} set head = ${String(head)}::bigint where scope_id = ${scope}
    )
    update ${metadata.table('source')} set max_change_id = greatest(max_change_id, ${String(maxChangeId)}::bigint), last_seen = now()
    where scope_id = ${scope} and source_no = ${sourceNo}::int`)
}

/** Takes the number away from entries that an older client has used for a newer change of the row. */
export async function releaseChangeIds (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, sourceChangeIds: number[]): Promise<void> {
  if (sourceChangeIds.length === 0) return
  await sql`
    update ${metadata.table('change_log')} set source_change_id = -server_id
    where scope_id = ${String(scopeId)}::bigint and source_no = ${sourceNo}::int
      and source_change_id in (select id::bigint from json_array_elements_text(${JSON.stringify(sourceChangeIds)}::text::json) as x (id))`.execute(trx)
}
