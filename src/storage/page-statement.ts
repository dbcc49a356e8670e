import { sql, type Kysely } from 'kysely'
import { MAX_PAGE_BYTES, MAX_SCANNED_POSITIONS } from '../limits.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { changesText, timeText } from './change-text.js'
import { compile, type Compiled } from './compiled.js'

/** What pages need to know of the registered tables. */
export interface PageTables {
  /** Their numbers by `schema.table`. */
  ids: ReadonlyMap<string, number>
  /** Numbers of tables whose rows go up only. */
  hidden: number[]
  /** Columns that do not travel, of tables that have some: payloads may be older than the exclusion. */
  excluded: Array<{ tableId: number, columns: string[] }>
}

export interface HeadRow {
  scope_id: string
  epoch: string
  head: string
  floor: string
  max_change_id: string | null
}

export interface PageRow extends HeadRow {
  window_until: string
  /** Changes that the limit lets in, and the last of them. */
  found: string
  last_found: string | null
  /** The last of the page; null where nothing is found, and where it takes the other statement to find out. */
  last: string | null
  /** Changes in the page. */
  count: string
  /** A text where the app's own dialect read it. */
  changes: Buffer | string | null
}

export function compileHead (db: Kysely<Database>, metadata: Metadata): Compiled<HeadRow> {
  return compile<HeadRow>(db, sql`
    select st.scope_id::text, (select epoch from ${metadata.table('meta')}) as epoch, st.head::text, st.floor::text,
      (select so.max_change_id::text from ${metadata.table('source')} so where so.scope_id = st.scope_id and so.user_id = ${'user'} and so.source_id = ${'device'}) as max_change_id
    from ${metadata.table('scope')} sc join ${metadata.table('stream')} st on st.scope_id = sc.scope_id
    where sc.name = ${'scope'}`)
}

/** Kinds of the statement, each with a text and a plan of its own. */
export interface PageKind {
  /** Only tables of one schema. */
  ofSchema: boolean
  /** Cuts the page where its bytes are enough. Without, it has no changes where they might be: counting on costs more than the texts of small rows. */
  byBytes: boolean
}

/**
 * The text of the changes is put together by PostgreSQL and goes out untouched. Work is bounded by positions, by the limit and
 * by bytes, whichever ends first: `page` finds out where, looking at narrow columns only, and then the text is made up to there.
 *
 * The range that `page` looks at is bounded by LIMIT, of which there can be no more entries than positions: by a second
 * condition on server_id, it looks to PostgreSQL like a handful of rows, which it would rather read and sort in full.
 *
 * What PostgreSQL believes of the work stays small, whatever the tables hold and whether or not they were ever analyzed:
 * believing it large, it would compile the statement before it runs it (jit), which takes seconds. Hence the limits that are
 * literals, the one of `stream`, and the one that is the number of rows that there are.
 */
export function compilePage (db: Kysely<Database>, metadata: Metadata, { ids, hidden, excluded }: PageTables, { ofSchema, byBytes }: PageKind): Compiled<PageRow> {
  const log = metadata.table('change_log')
  const [enough, mostPositions] = [sql.lit(MAX_PAGE_BYTES), sql.lit(MAX_SCANNED_POSITIONS)]
  const wanted = sql`c.source_no is distinct from (select own_no from stream)
        ${ofSchema ? sql`and c.table_id in (select t.table_id from ${metadata.table('synced_table')} t where t.schema_name = ${'schema'})` : sql``}
        ${hidden.length === 0 ? sql`` : sql`and c.table_id not in (${sql.join(hidden.map(id => sql.lit(id)))})`}`
  return compile<PageRow>(db, sql`
    with stream as materialized (
      select st.scope_id, st.head, st.floor, (select epoch from ${metadata.table('meta')}) as epoch, so.max_change_id, a.after,
        case when not ${'includeSelf'}::boolean then so.source_no end as own_no,
        greatest(a.after, least(st.head, case when a.until between greatest(1, st.compacted_through) and st.head then a.until else st.head end)) as window_until
      from (select ${'after'}::bigint as after, ${'until'}::bigint as until) a
      cross join ${metadata.table('scope')} sc
      join ${metadata.table('stream')} st on st.scope_id = sc.scope_id
      left join ${metadata.table('source')} so on so.scope_id = st.scope_id and so.user_id = ${'user'} and so.source_id = ${'device'}
      where sc.name = ${'scope'} limit 1
    ), found as (
      select c.server_id, c.ts, ${byBytes ? sql`sum(c.payload_bytes) over (order by c.server_id) - c.payload_bytes` : sql`c.payload_bytes`} as bytes
      from (
        select * from (
          select e.server_id, e.ts, e.source_no, e.payload_bytes, e.table_id from ${log} e
          where e.scope_id = (select scope_id from stream) and e.server_id > (select after from stream)
          order by e.server_id limit ${mostPositions}) a
        order by a.server_id limit (select least(window_until - after, ${mostPositions}) from stream)) c
      where c.server_id <= (select least(window_until, after + ${mostPositions}) from stream) and ${wanted}
      order by c.server_id limit ${'limit'}::int
    ), page as materialized (
      select count(*) as found, min(server_id) as first_found, max(server_id) as last_found,
        ${byBytes ? sql`max(server_id) filter (where bytes < ${enough})` : sql`case when sum(bytes) < ${enough} then max(server_id) end`} as last,
        min(ts) as first_ts, ${timeText(sql`min(ts)`)} as first_ts_text, max(ts) as last_ts, ${timeText(sql`max(ts)`)} as last_ts_text
      from found
    )
    select s.scope_id::text, s.epoch, s.head::text, s.floor::text, s.window_until::text, s.max_change_id::text,
      page.found::text, page.last_found::text, page.last::text, texts.count::text, texts.changes
    from stream s cross join page cross join (
      select count(*) as count, ${changesText(metadata, ids, excluded)} as changes
      from (
        select * from (
          select c.server_id, c.source_change_id, c.version, c.ts, c.source_no, c.table_id, c.op, c.pk, c.payload from ${log} c
          where c.scope_id = (select scope_id from stream) and c.server_id > (select after from stream) and c.server_id <= (select last from page) and ${wanted}
          order by c.server_id limit ${mostPositions}) a
        order by a.server_id limit (select found from page)) c) texts`)
}
