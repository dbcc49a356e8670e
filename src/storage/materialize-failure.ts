import { sql, type Kysely, type Transaction } from 'kysely'
import { MAX_LISTED_FAILURES } from '../limits.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { rowKey, type RowKey } from './row-state.js'

/** A row of the stream that could not be written to its table. */
export interface NewFailure extends RowKey {
  sourceNo: number
  version: number
  op: 'INSERT' | 'UPDATE' | 'DELETE'
  reason: string
  message: string
  sqlstate: string | null
  constraint: string | null
  /** The table has an older state of the row. Where it has none, a row under its key is somebody else's. */
  inTable: boolean
}

/** A failure as operators see it. */
export interface ListedFailure {
  id: number
  scope: string
  user_id: string | null
  source_id: string | null
  schema: string
  table: string
  pk: string
  op: 'INSERT' | 'UPDATE' | 'DELETE'
  server_version: number
  reason: string
  message: string
  sqlstate: string | null
  constraint: string | null
  attempts: number
  first_seen: string
  last_seen: string
}

/** Notes failures, one a row: a later one takes the place of an earlier one and counts its attempts on. */
export async function writeFailures (trx: Transaction<Database>, metadata: Metadata, scopeId: number, failures: NewFailure[]): Promise<void> {
  if (failures.length === 0) return
  const entries = failures.map(({ tableId, pk, sourceNo, version, op, reason, message, sqlstate, constraint, inTable }) => ({ t: tableId, k: pk, q: sourceNo, v: version, o: op[0], r: reason, m: storable(message), s: sqlstate, c: constraint, i: inTable }))
  await sql`
    insert into ${metadata.table('materialize_failure')} as f (scope_id, table_id, pk, source_no, version, op, reason, message, sqlstate, constraint_name, in_table)
    select ${String(scopeId)}::bigint, t, k, q, v, o, r, m, s, c, i
    from json_to_recordset(${JSON.stringify(entries)}::text::json) as x (t smallint, k text, q integer, v bigint, o "char", r text, m text, s text, c text, i boolean)
    on conflict (scope_id, table_id, pk) do update
    set source_no = case excluded.source_no when 0 then f.source_no else excluded.source_no end, version = excluded.version, op = excluded.op, reason = excluded.reason, message = excluded.message,
      sqlstate = excluded.sqlstate, constraint_name = excluded.constraint_name, in_table = excluded.in_table, attempts = f.attempts + 1, last_seen = now()`.execute(trx)
}

/** A materializer's message may be any text. */
function storable (text: string): string {
  return text.replaceAll('\0', '').toWellFormed()
}

/** Which of the rows have failed, by rowKey, and whether the table has an older state of them. */
export async function readFailed (trx: Transaction<Database>, metadata: Metadata, scopeId: number, rows: RowKey[]): Promise<Map<string, boolean>> {
  if (rows.length === 0) return new Map()
  const { rows: found } = await sql<{ table_id: number, pk: string, in_table: boolean }>`
    select r.table_id, r.pk, r.in_table
    from json_to_recordset(${JSON.stringify(rows.map(({ tableId, pk }) => ({ t: tableId, k: pk })))}::text::json) as x (t smallint, k text)
    cross join lateral (
      select * from ${metadata.table('materialize_failure')} f
      where f.scope_id = ${String(scopeId)}::bigint and f.table_id = x.t and f.pk = x.k collate "C" limit 1) r`.execute(trx)
  return new Map(found.map(row => [rowKey(row.table_id, row.pk), row.in_table]))
}

/** Tables of which there are failures in any scope: they may be left from a time when the table had other options. */
export async function findFailedTables (db: Kysely<Database>, metadata: Metadata): Promise<Set<number>> {
  const { rows } = await sql<{ table_id: number }>`
    select distinct f.table_id from ${metadata.table('materialize_failure')} f`.execute(db)
  return new Set(rows.map(row => row.table_id))
}

/** Forgets the failures of rows that are written by now. */
export async function forgetFailures (trx: Transaction<Database>, metadata: Metadata, scopeId: number, rows: RowKey[]): Promise<void> {
  if (rows.length === 0) return
  await sql`
    delete from ${metadata.table('materialize_failure')} f
    using json_to_recordset(${JSON.stringify(rows.map(({ tableId, pk }) => ({ t: tableId, k: pk })))}::text::json) as x (t smallint, k text)
    where f.scope_id = ${String(scopeId)}::bigint and f.table_id = x.t and f.pk = x.k collate "C"`.execute(trx)
}

/** The failures of a user, oldest first: of the user's own stream, and of changes that the user made in other scopes. */
export async function listFailures (db: Kysely<Database>, metadata: Metadata, user: string): Promise<ListedFailure[]> {
  const { rows } = await selectFailures(db, metadata, sql`sc.name = ${user} or so.user_id = ${user}`)
  return rows
}

export async function findFailure (db: Kysely<Database>, metadata: Metadata, id: number): Promise<ListedFailure | null> {
  const { rows } = await selectFailures(db, metadata, sql`f.id = ${String(id)}::bigint`)
  return rows[0] ?? null
}

async function selectFailures (db: Kysely<Database>, metadata: Metadata, condition: ReturnType<typeof sql>) {
  const { rows } = await sql<{ failure: string }>`
    select json_build_object(
      'id', f.id, 'scope', sc.name, 'user_id', so.user_id, 'source_id', so.source_id, 'schema', t.schema_name, 'table', t.table_name, 'pk', f.pk,
      'op', case f.op when 'I' then 'INSERT' when 'U' then 'UPDATE' else 'DELETE' end, 'server_version', f.version,
      'reason', f.reason, 'message', f.message, 'sqlstate', f.sqlstate, 'constraint', f.constraint_name,
      'attempts', f.attempts, 'first_seen', f.first_seen, 'last_seen', f.last_seen)::text as failure
    from ${metadata.table('materialize_failure')} f
    join ${metadata.table('scope')} sc on sc.scope_id = f.scope_id
    join ${metadata.table('synced_table')} t on t.table_id = f.table_id
    left join ${metadata.table('source')} so on so.scope_id = f.scope_id and so.source_no = f.source_no
    where ${condition}
    order by f.id limit ${sql.lit(MAX_LISTED_FAILURES)}`.execute(db)
  return { rows: rows.map(({ failure }) => JSON.parse(failure) as ListedFailure) }
}

/** Claims a failure until the end of the transaction; false where somebody else has it. No row is locked, so that nobody can wait for another in a circle. */
export async function claimFailure (trx: Transaction<Database>, metadata: Metadata, id: number): Promise<boolean> {
  const { rows } = await sql<{ claimed: boolean }>`
    select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(${`${metadata.schema}.materialize_failure ${id}`}, 0)) as claimed`.execute(trx)
  return rows[0]?.claimed === true
}
