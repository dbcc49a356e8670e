import { sql, type RawBuilder } from 'kysely'
import type { Metadata } from './metadata.js'
import type { PageTables } from './page-statement.js'
import { SERVER_SOURCE_ID, SERVER_SOURCE_NO } from './source.js'

/** What stands before the members of a page's first change, and of each other one. */
const BEFORE_FIRST = '{"changes":[{'
const BETWEEN = '},{'
/** Spaces behind the last change, over which the rest of the reply is written: a page is copied once less so. */
export const ROOM = 512

/**
 * Aggregates the entries `c` of the log, which come in their order, to the text of a reply up to its last change, whose brace
 * is still open, and ROOM; to null where there are none: a select with a LIMIT keeps its order, and sorting once more would
 * cost as much as a third of the text.
 *
 * The payloads are what string_agg puts together, and all else of a change is what it puts between two: a payload is copied
 * once so, and the whole text never. (What is put before the first is dropped.) `page` has the first and the last entry, and
 * the earliest and the latest time of them as members: entries of one upload have the same, and making it is dear.
 */
export function changesText (metadata: Metadata, ids: PageTables['ids'], excluded: PageTables['excluded']): RawBuilder<string> {
  const ofPage = (name: string) => sql`(select ${sql.ref(name)} from page)`
  const members = sql`'"server_id":' || c.server_id::text || ${tableText(metadata, ids)}
        || case c.op when 'I' then 'INSERT","deleted":false,"pk":' when 'U' then 'UPDATE","deleted":false,"pk":' else 'DELETE","deleted":true,"pk":' end || to_json(c.pk)::text
        || ',"server_version":' || c.version::text || ${sourceText(metadata)} || case when c.source_change_id > 0 then c.source_change_id else c.server_id end::text
        || case c.ts when ${ofPage('first_ts')} then ${ofPage('first_ts_text')} when ${ofPage('last_ts')} then ${ofPage('last_ts_text')} else ${timeText(sql`c.ts`)} end
        || case when c.payload is null then '' else ',"payload":' end`
  const payload = sql`coalesce(${payloadText(excluded)}, '')`
  const room = sql`repeat(' ', ${sql.lit(ROOM)})`
  return sql`string_agg(
          case c.server_id
            when ${ofPage('first_found')} then ${sql.lit(BEFORE_FIRST)} || ${members} || ${payload} || case c.server_id when ${ofPage('last')} then ${room} else '' end
            when ${ofPage('last')} then ${payload} || ${room}
            else ${payload} end,
          ${sql.lit(BETWEEN)} || ${members})`
}

/** A member of a change. */
export function timeText (time: RawBuilder<unknown>): RawBuilder<string> {
  return sql`',"ts":' || to_json(${time})::text`
}

/** Numbers whose texts are listed; those beyond are looked up for each change. */
const LISTED = 64

/** The names of the table of `c`. A number never changes its meaning; other processes may have registered more of them. */
function tableText (metadata: Metadata, ids: PageTables['ids']): RawBuilder<string> {
  const listed: Array<string | null> = []
  for (const [name, id] of ids) {
    const [schema, table] = name.split('.')
    if (id <= LISTED) listed[id - 1] = `,"schema":${JSON.stringify(schema)},"table":${JSON.stringify(table)},"op":"`
  }
  return sql`coalesce((array[${sql.join(Array.from(listed, text => sql.lit(text ?? null)))}]::text[])[c.table_id], (
          select ',"schema":' || to_json(t.schema_name)::text || ',"table":' || to_json(t.table_name)::text || ',"op":"' from ${metadata.table('synced_table')} t where t.table_id = c.table_id))`
}

/**
 * The device of `c`, and the name of the member behind it. A join would cost each change as much as all the rest, in whatever way PostgreSQL does it, and it
 * chooses the way by what it believes of the tables. Most streams have few devices, numbered without a gap: these are read
 * once for the page.
 */
function sourceText (metadata: Metadata): RawBuilder<string> {
  const text = (id: RawBuilder<unknown>) => sql`',"source_id":' || ${id} || ',"source_change_id":'`
  const id = text(sql`to_json(so.source_id)::text`)
  const sources = sql`from ${metadata.table('source')} so where so.scope_id = (select scope_id from stream)`
  const server = sql.lit(`,"source_id":${JSON.stringify(SERVER_SOURCE_ID)},"source_change_id":`)
  return sql`case c.source_no when ${sql.lit(SERVER_SOURCE_NO)} then ${server} else coalesce(
          (select case when max(so.source_no) = count(*) then array_agg(${id} order by so.source_no) end ${sources} and so.source_no between 1 and ${sql.lit(LISTED)})[c.source_no],
          (select ${id} ${sources} and so.source_no = c.source_no), ${server}) end`
}

/** The payload of `c` as it was stored, without the members that do not travel. */
function payloadText (excluded: PageTables['excluded']): RawBuilder<string> {
  const tables = excluded.map(({ tableId, columns }) => sql`when c.payload is not null and c.table_id = ${sql.lit(tableId)} then (
          select '{' || coalesce(string_agg(to_json(m.key)::text || ':' || m.value::text, ',' order by m.place), '') || '}'
          from json_each(c.payload) with ordinality as m (key, value, place)
          where m.key not in (${sql.join(columns.map(column => sql.lit(column)))}))`)
  return tables.length === 0 ? sql`c.payload::text` : sql`case ${sql.join(tables, sql` `)} else c.payload::text end`
}
