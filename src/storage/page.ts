import { sql, type Kysely, type RawBuilder } from 'kysely'
import { MAX_PAGE_BYTES, MAX_SCANNED_POSITIONS } from '../limits.js'
import type { Identity } from '../options.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { SERVER_SOURCE_ID } from './source.js'
import { runNamed } from './statement-traits.js'
import { epochOf } from './stream.js'

export interface PageRequest {
  after: number
  limit: number
  /** Upper bound of the window; 0 opens a new one. */
  until: number
  includeSelf: boolean
  /** Only tables of this PostgreSQL schema. */
  schema: string | null
  /** Numbers of tables whose rows go up only. */
  hiddenTables: number[]
  /** Columns that do not travel, of tables that have some: payloads may be older than the exclusion. */
  excluded: Array<{ tableId: number, columns: string[] }>
}

export interface Page {
  /** The changes as JSON text, between commas, in UTF-8. */
  changes: Buffer
  count: number
  /** Position up to which the log has been looked at. */
  examined: number
  windowUntil: number
  head: number
  floor: number
  epoch: string
  maxChangeId: number
}

/**
 * Reads head, floor and page in one statement, so that they are of one moment; null where the scope is new. The texts of
 * the changes are put together by PostgreSQL and go out untouched. Work is bounded by positions, by the limit and by
 * bytes, whichever ends first.
 *
 * The innermost select bounds the scan by LIMIT, of which there can be no more entries than positions. Bounded by a second
 * condition on server_id alone, the range looks to PostgreSQL like a handful of rows: it would read and sort all 10,000
 * positions for a page of 100.
 */
export async function readPage (db: Kysely<Database>, metadata: Metadata, identity: Required<Identity>, { after, limit, until, includeSelf, schema, hiddenTables, excluded }: PageRequest): Promise<Page | null> {
  const from = sql`${String(after)}::bigint`
  const rows = await runNamed(db, sql<{
    scope_id: string,
    epoch: string,
    head: string,
    floor: string,
    window_until: string,
    max_change_id: string | null
    found: string,
    sent: string,
    last: string | null,
    /** A text where the app's own dialect read it. */
    changes: Buffer | string | null
  }>`
    with stream as (
      select st.scope_id, st.head, st.floor, m.epoch,
        greatest(${from}, least(st.head, case when ${String(until)}::bigint between greatest(1, st.compacted_through) and st.head then ${String(until)}::bigint else st.head end)) as window_until
      from ${metadata.table('scope')} sc
      join ${metadata.table('stream')} st on st.scope_id = sc.scope_id
      cross join ${metadata.table('meta')} m
      where sc.name = ${identity.scope}
    ), self as (
      select so.source_no, so.max_change_id from ${metadata.table('source')} so
      where so.scope_id = (select scope_id from stream) and so.user_id = ${identity.userId} and so.source_id = ${identity.deviceId}
    ), found as (
      select l.*, sum(l.payload_bytes) over (order by l.server_id) - l.payload_bytes as bytes_before
      from stream s cross join lateral (
        select * from (
          select * from ${metadata.table('change_log')} e where e.scope_id = s.scope_id and e.server_id > ${from}
          order by e.server_id limit least(s.window_until - ${from}, ${sql.lit(MAX_SCANNED_POSITIONS)})) c
        where c.server_id <= least(s.window_until, ${from} + ${sql.lit(MAX_SCANNED_POSITIONS)})
          and (${includeSelf}::boolean or c.source_no is distinct from (select source_no from self))
          and (${schema}::text is null or c.table_id in (select t.table_id from ${metadata.table('synced_table')} t where t.schema_name = ${schema}::text))
          ${hiddenTables.length === 0 ? sql`` : sql`and c.table_id not in (${sql.join(hiddenTables.map(id => sql.lit(id)))})`}
        order by c.server_id limit ${limit}::int) l
    ), sent as (
      select p.server_id,
        '{"server_id":' || p.server_id || ',"schema":' || to_json(t.schema_name)::text || ',"table":' || to_json(t.table_name)::text
        || ',"op":"' || case p.op when 'I' then 'INSERT' when 'U' then 'UPDATE' else 'DELETE' end
        || '","pk":' || to_json(p.pk)::text || coalesce(',"payload":' || ${payloadText(excluded)}, '')
        || ',"server_version":' || p.version || ',"deleted":' || case p.op when 'D' then 'true' else 'false' end
        || ',"source_id":' || to_json(coalesce(so.source_id, ${SERVER_SOURCE_ID}::text))::text
        || ',"source_change_id":' || case when p.source_change_id > 0 then p.source_change_id else p.server_id end
        || ',"ts":' || to_json(p.ts)::text || '}' as change
      from found p
      join ${metadata.table('synced_table')} t on t.table_id = p.table_id
      left join ${metadata.table('source')} so on so.scope_id = p.scope_id and so.source_no = p.source_no
      where p.bytes_before < ${sql.lit(MAX_PAGE_BYTES)}
    )
    select s.scope_id::text, s.epoch, s.head::text, s.floor::text, s.window_until::text,
      (select max_change_id::text from self) as max_change_id,
      (select count(*)::text from found) as found,
      page.sent, page.last, page.changes
    from stream s
    cross join (select count(*)::text as sent, max(server_id)::text as last, string_agg(change, ',' order by server_id) as changes from sent) page`, { bytesOf: 'changes' })
  const row = rows[0]
  if (row === undefined) return null
  const windowUntil = Number(row.window_until)
  const cutShort = Number(row.found) === limit || Number(row.sent) < Number(row.found)
  return {
    changes: Buffer.isBuffer(row.changes) ? row.changes : Buffer.from(row.changes ?? ''),
    count: Number(row.sent),
    examined: cutShort ? Number(row.last) : Math.min(windowUntil, after + MAX_SCANNED_POSITIONS),
    windowUntil,
    head: Number(row.head),
    floor: Number(row.floor),
    epoch: epochOf(row.epoch, row.scope_id),
    maxChangeId: Number(row.max_change_id ?? 0)
  }
}

/** The payload of `p` as it was stored, without the members that do not travel. */
function payloadText (excluded: PageRequest['excluded']): RawBuilder<string> {
  const tables = excluded.map(({ tableId, columns }) => sql`when p.payload is not null and p.table_id = ${sql.lit(tableId)} then (
          select '{' || coalesce(string_agg(to_json(m.key)::text || ':' || m.value::text, ',' order by m.place), '') || '}'
          from json_each(p.payload) with ordinality as m (key, value, place)
          where m.key not in (select json_array_elements_text(${JSON.stringify(columns)}::text::json)))`)
  return tables.length === 0 ? sql`p.payload::text` : sql`case ${sql.join(tables, sql` `)} else p.payload::text end`
}
