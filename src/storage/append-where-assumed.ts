import { sql, type CompiledQuery, type Kysely } from 'kysely'
import type { Identity } from '../options.js'
import { entriesText, type NewEntry } from './change-log.js'
import { once } from './compiled.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { statesOf, wantedRows, type RowKey } from './row-state.js'
import { SERVER_SOURCE_NO } from './source.js'

const SETTING = 'oversync.as_assumed'

/** SQL that is true where the transaction has appended what it was to append where all is as was assumed. */
export const IS_AS_ASSUMED = `coalesce(current_setting('${SETTING}', true) = 'yes', false)`

/** What an upload was judged by in place of what the database knows. Of its own rows the entries tell it. */
export interface Assumptions {
  identity: Required<Identity>
  /** The history that the stream has; null where the device did not say. */
  epoch: string | null
  /** Above every number that the device has used. */
  unusedFrom: number
  /** Rows that are live in the stream. */
  live: RowKey[]
}

export interface AssumedAppend extends Assumptions {
  /** In the order of their positions, which are counted from the head as if it were 0. What was sent is what is stored. */
  entries: NewEntry[]
  /** The highest number of the device by now. */
  maxChangeId: number
}

/** The stream as it was before. */
export interface AppendedRow { scope_id: string, head: string, epoch: string }

/**
 * Appends entries to the log and brings row states, head and device up to date, where all is as was assumed: then it has a
 * row. Else it writes nothing. An earlier statement takes the stream's lock; of a scope that is made at that moment there is
 * none, and of two uploads that append without, the key of the log lets one through.
 *
 * Of each row the first entry says what was assumed: a new row was not there; another was live, one version below, and an
 * entry that is no deletion has the keys that it had. A device that was never there is registered.
 */
export function appendWhereAssumed (db: Kysely<Database>, metadata: Metadata, { identity, epoch, unusedFrom, live, entries, maxChangeId }: AssumedAppend): CompiledQuery<AppendedRow> {
  return append(db, metadata, {
    scope: identity.scope,
    user: identity.userId,
    device: identity.deviceId,
    epoch,
    unusedFrom: String(unusedFrom),
    live: wantedRows(live),
    liveCount: live.length,
    entries: entriesText(entries),
    count: String(entries.length),
    maxChangeId: String(maxChangeId)
  })
}

interface Values extends Record<string, unknown> {
  scope: string
  user: string
  device: string
  epoch: string | null
  unusedFrom: string
  live: string
  liveCount: number
  entries: string
  count: string
  maxChangeId: string
}

/*
 * What depends on parameters is an expression of `upload` and no condition, `upload` has a LIMIT, and `meta` is no table that it
 * joins: else PostgreSQL believes a plan for any parameters to be so much dearer than one for these that it would plan each
 * upload anew, or compile it, or it reads whole tables (test/server/round-trips.test.ts).
 */
const append = once<AppendedRow, Values>(metadata => sql`
    with upload as materialized (
      select st.scope_id, st.head, (select epoch from ${metadata.table('meta')}) as epoch, so.source_no is null as is_new_source,
        coalesce(so.source_no, (select coalesce(max(other.source_no), ${sql.lit(SERVER_SOURCE_NO)}) + 1 from ${metadata.table('source')} other where other.scope_id = st.scope_id)) as source_no,
        coalesce(so.max_change_id, 0) < ${'unusedFrom'}::bigint
          and st.head <= ${sql.lit(Number.MAX_SAFE_INTEGER)} - ${'count'}::bigint
          and (${'epoch'}::text is null or ${'epoch'}::text = (select epoch from ${metadata.table('meta')}) || '.' || st.scope_id) as fits
      from ${metadata.table('scope')} sc
      join ${metadata.table('stream')} st on st.scope_id = sc.scope_id
      left join ${metadata.table('source')} so on so.scope_id = sc.scope_id and so.user_id = ${'user'} and so.source_id = ${'device'}
      where sc.name = ${'scope'} limit 1
    ), entry as materialized (
      select s, c, t, o, k, v, h, p, coalesce(f, true) as f, coalesce(l, true) as l, coalesce(w, true) as w
      from json_to_recordset(${'entries'}::text::json)
        as x (s bigint, c bigint, t smallint, o "char", k text, v bigint, h bigint, p json, f boolean, l boolean, w boolean)
    ), assumed as materialized (
      select u.*, set_config(${sql.lit(SETTING)}, 'yes', true) from upload u
      where u.fits
        and not exists (
          select from entry x
          left join lateral (
            select s.version, s.deleted, s.shape from ${metadata.table('row_state')} s
            where s.scope_id = u.scope_id and s.table_id = x.t and s.pk = x.k collate "C" limit 1) r on true
          where x.f and case when x.w then r.version is not null else r.version is distinct from x.v - 1 or r.deleted or (x.o <> 'D' and r.shape <> x.h) end)
        and ${'liveCount'}::int = (
          select count(*) from ${statesOf(metadata, sql`u.scope_id`, 'live')} where not state.deleted)
    ), log as (
      insert into ${metadata.table('change_log')} (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
      select u.scope_id, u.head + s, u.source_no, c, t, o, k, v, p, coalesce(octet_length(p::text), 0) from assumed u cross join entry order by s
    ), new_row as (
      insert into ${metadata.table('row_state')} (scope_id, table_id, pk, version, deleted, server_id, shape)
      select u.scope_id, t, k, v, o = 'D', u.head + s, h from assumed u cross join entry where l and w
    ), known_row as (
      insert into ${metadata.table('row_state')} (scope_id, table_id, pk, version, deleted, server_id, shape)
      select u.scope_id, t, k, v, o = 'D', u.head + s, h from assumed u cross join entry where l and not w
      on conflict (scope_id, table_id, pk) do update
      set version = excluded.version, deleted = excluded.deleted, server_id = excluded.server_id, shape = excluded.shape
    ), stream as (
      update ${metadata.table('stream')} set head = head + ${'count'}::bigint where scope_id = (select scope_id from assumed)
    ), new_source as (
      insert into ${metadata.table('source')} (scope_id, source_no, user_id, source_id, max_change_id)
      select scope_id, source_no, ${'user'}, ${'device'}, ${'maxChangeId'}::bigint from assumed where is_new_source
    ), source as (
      update ${metadata.table('source')} set max_change_id = ${'maxChangeId'}::bigint, last_seen = now()
      where scope_id = (select scope_id from assumed where not is_new_source) and source_no = (select source_no from assumed)
    )
    select scope_id::text, head::text, epoch from assumed`)
