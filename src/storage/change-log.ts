import { sql, type CompiledQuery, type Transaction } from 'kysely'
import { MAX_TOUCHED_BYTES } from '../limits.js'
import { once } from './compiled.js'
import type { Database } from './database.js'
import { jsonArray } from './json-array.js'
import type { Metadata } from './metadata.js'
import { SERVER_SOURCE_NO } from './source.js'

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

/** Told how many bytes of payloads an upload touches; throws where that is too much. */
export type Spend = (bytes: number) => void

/** The entries of a source under the given numbers. */
export async function readLedger (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, sourceChangeIds: number[], spend: Spend): Promise<Map<number, LedgerEntry>> {
  if (sourceChangeIds.length === 0) return new Map()
  const { rows } = await sql<LedgerRow>`
    with found as materialized (
      select l.* from json_array_elements_text(${JSON.stringify(sourceChangeIds)}::text::json) as x (id)
      cross join lateral (
        select c.source_change_id, c.table_id, c.pk, c.op, c.version, c.server_id, c.payload, c.payload_bytes, c.carried, c.sent_digest from ${metadata.table('change_log')} c
        where c.scope_id = ${String(scopeId)}::bigint and c.source_no = ${sourceNo}::int and c.source_change_id = x.id::bigint limit 1) l)
    select source_change_id::text, table_id, pk, op = 'D' as deletes, version::text, server_id::text, ${PAYLOAD}, carried, sent_digest from found, ${TOTAL}`.execute(trx)
  spend(Number(rows[0]?.total ?? 0))
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

interface LedgerRow { source_change_id: string, table_id: number, pk: string, deletes: boolean, version: string, server_id: string, payload: string | null, total: string, carried: number, sent_digest: string | null }

/*
 * Large payloads lie apart from their rows (TOAST) and are not fetched before they become texts: so `found` holds none of
 * them, and none is fetched where all together are more than an upload may touch. Then `spend` throws.
 */
const TOTAL = sql`(select coalesce(sum(payload_bytes), 0) as bytes from found) as total`
const PAYLOAD = sql`total.bytes::text as total, case when total.bytes <= ${sql.lit(MAX_TOUCHED_BYTES)} then payload::text end as payload`

/** Payloads as stored, by position. */
export async function readPayloads (trx: Transaction<Database>, metadata: Metadata, scopeId: number, serverIds: number[], spend: Spend): Promise<Map<number, string | null>> {
  if (serverIds.length === 0) return new Map()
  const { rows } = await sql<{ server_id: string, payload: string | null, total: string }>`
    with found as materialized (
      select l.* from json_array_elements_text(${JSON.stringify(serverIds)}::text::json) as x (id)
      cross join lateral (
        select c.server_id, c.payload, c.payload_bytes from ${metadata.table('change_log')} c
        where c.scope_id = ${String(scopeId)}::bigint and c.server_id = x.id::bigint limit 1) l)
    select server_id::text, ${PAYLOAD} from found, ${TOTAL}`.execute(trx)
  spend(Number(rows[0]?.total ?? 0))
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
  /** The row's first change in this batch. */
  first: boolean
  /** Its last: the one that row_state will tell. */
  last: boolean
  /** The stream has never had the row before this batch. */
  isNew: boolean
}

export interface Append {
  scopeId: number
  /** The source whose changes these are, and the highest number that it has used by now. */
  sourceNo: number
  maxChangeId: number
  /** In the order of their positions, which follow the head without a gap. */
  entries: NewEntry[]
  /** The new head. */
  head: number
}

/**
 * Appends entries to the log and brings row states, head and source up to date, in one statement. Needs the stream lock. Rows
 * that are new go in without a look for those that are there, which costs a tenth of the statement. (`insert … on conflict`
 * for the others keeps to the index whatever the planner believes; `update … from` does not.)
 */
export function appendStatement (trx: Transaction<Database>, metadata: Metadata, { scopeId, sourceNo, maxChangeId, entries, head }: Append): CompiledQuery {
  return append(trx, metadata, { entries: entriesText(entries), scopeId: String(scopeId), head: String(head), sourceNo, maxChangeId: String(maxChangeId) })
}

/**
 * Payloads go in as their own text, between the braces of one JSON document: PostgreSQL's json keeps text as sent. What is so
 * of nearly all entries is left out.
 */
export function entriesText (entries: NewEntry[]): string {
  let alike: NewEntry | undefined
  let traits = ''
  return jsonArray(entries.map(entry => {
    if (alike === undefined || !isAlike(alike, entry)) traits = traitsText(alike = entry)
    return `{"s":${entry.serverId},"c":${entry.sourceChangeId},"k":${JSON.stringify(entry.pk)}${traits}${entry.payload === null ? '}' : `,"p":${entry.payload}}`}`
  }))
}

/** Whether two entries are the same but for position, number, key and payload. */
function isAlike (a: NewEntry, b: NewEntry): boolean {
  return a.sourceNo === b.sourceNo && a.tableId === b.tableId && a.op === b.op && a.version === b.version && a.shape === b.shape &&
    a.carried === b.carried && a.digest === b.digest && a.first === b.first && a.last === b.last && a.isNew === b.isNew
}

function traitsText ({ sourceNo, tableId, op, version, shape, carried, digest, first, last, isNew }: NewEntry): string {
  return `,"t":${tableId},"o":"${op[0] as string}","v":${version},"h":${shape}` +
    (sourceNo === SERVER_SOURCE_NO ? '' : `,"q":${sourceNo}`) + (carried === 0 ? '' : `,"n":${carried}`) + (digest === null ? '' : `,"d":"${digest}"`) +
    (first ? '' : ',"f":false') + (last ? '' : ',"l":false') + (isNew ? '' : ',"w":false')
}

const append = once<unknown, { entries: string, scopeId: string, head: string, sourceNo: number, maxChangeId: string }>(metadata => sql`
    with entry as materialized (
      select s, c, t, o, k, v, h, p, coalesce(q, ${sql.lit(SERVER_SOURCE_NO)}) as q, coalesce(n, 0) as n, d, coalesce(l, true) as l, coalesce(w, true) as w
      from json_to_recordset(${'entries'}::text::json)
        as x (s bigint, c bigint, t smallint, o "char", k text, v bigint, h bigint, p json, q integer, n smallint, d text, l boolean, w boolean)
    ), log as (
      insert into ${metadata.table('change_log')} (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes, carried, sent_digest)
      select ${'scopeId'}::bigint, s, q, c, t, o, k, v, p, coalesce(octet_length(p::text), 0), n, d from entry order by s
    ), new_row as (
      insert into ${metadata.table('row_state')} (scope_id, table_id, pk, version, deleted, server_id, shape)
      select ${'scopeId'}::bigint, t, k, v, o = 'D', s, h from entry where l and w
    ), known_row as (
      insert into ${metadata.table('row_state')} (scope_id, table_id, pk, version, deleted, server_id, shape)
      select ${'scopeId'}::bigint, t, k, v, o = 'D', s, h from entry where l and not w
      on conflict (scope_id, table_id, pk) do update
      set version = excluded.version, deleted = excluded.deleted, server_id = excluded.server_id, shape = excluded.shape
    ), stream as (
      update ${metadata.table('stream')} set head = ${'head'}::bigint where scope_id = ${'scopeId'}::bigint
    )
    update ${metadata.table('source')} set max_change_id = greatest(max_change_id, ${'maxChangeId'}::bigint), last_seen = now()
    where scope_id = ${'scopeId'}::bigint and source_no = ${'sourceNo'}::int`)

/** Takes the number away from entries that an older client has used for a newer change of the row. */
export function releaseStatement (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, sourceChangeIds: number[]): CompiledQuery {
  return sql`
    update ${metadata.table('change_log')} set source_change_id = -server_id
    where scope_id = ${String(scopeId)}::bigint and source_no = ${sourceNo}::int
      and source_change_id in (select id::bigint from json_array_elements_text(${JSON.stringify(sourceChangeIds)}::text::json) as x (id))`.compile(trx)
}
