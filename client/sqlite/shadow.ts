import type { Driver } from '../drivers/driver.js'
import type { ApplyContext } from './apply-context.js'
import type { ServerState } from '../http/read-reply.js'
import { membersOf, objectText } from '../http/json-text.js'
import { READ_CHUNK_ROWS } from '../limits.js'

/**
 * Why a server row cannot be shown now. `frozen`: the row is in the outbox and waits for its verdict. `dangling`: its parent
 * is not here. `unique`, `constraint`: a local rule forbids it. `unknown-table`, `value`, `key`: this version of the app has
 * no place for it. `resolver`: the app's rule failed over it; `undecided`: that rule has not been asked yet.
 */
export type ShadowReason = 'frozen' | 'dangling' | 'unique' | 'constraint' | 'unknown-table' | 'value' | 'key' | 'resolver' | 'undecided'

/** Keeps a server row until it can be shown. The younger of two states of a row wins; what its payload does not name stays. */
export function putShadow (context: ApplyContext, table: string, key: string, state: ServerState, reason: ShadowReason, message: string): void {
  context.counts.shadowed++
  context.driver.run(
    `insert into _sync_shadow (tbl, key, server_version, deleted, payload, reason, message) values (?, ?, ?, ?, ?, ?, ?)
     on conflict (tbl, key) do update set server_version = excluded.server_version, deleted = excluded.deleted,
       payload = excluded.payload, reason = excluded.reason, message = excluded.message
     where excluded.server_version >= _sync_shadow.server_version`,
    [table, key, state.version, state.deleted ? 1 : 0, state.payload, reason, message])
}

export function readShadow (context: ApplyContext, table: string, key: string): ServerState | null {
  const row = context.driver.all<{ server_version: number, deleted: number, payload: string | null }>(
    'select server_version, deleted, payload from _sync_shadow where tbl = ? and key = ?', [table, key])[0]
  return row === undefined ? null : { version: row.server_version, deleted: row.deleted === 1, payload: row.payload }
}

/** What waits there in a younger version than `version` stays: another process may have fetched it meanwhile. */
export function dropShadow (context: ApplyContext, table: string, key: string, version: number | null = null): void {
  context.driver.run(`delete from _sync_shadow where tbl = ? and key = ?${version === null ? '' : ' and server_version <= ?'}`, version === null ? [table, key] : [table, key, version])
}

/** A younger state laid on an older one that was never shown: members that it does not name keep their value. */
export function foldStates (older: ServerState, younger: ServerState): ServerState {
  if (younger.payload === null || older.payload === null) return younger
  return { ...younger, payload: objectText(new Map([...membersOf(older.payload), ...membersOf(younger.payload)])) }
}

/** Shadow rows of tables that are open, in the order in which they were kept. */
export function * shadowRows (context: ApplyContext): Generator<{ table: string, key: string, state: ServerState }> {
  const last = context.driver.all<{ id: number | null }>('select max(id) as id from _sync_shadow')[0]?.id ?? 0
  for (let id = 0; ;) {
    const rows = context.driver.all<{ id: number, tbl: string, key: string, server_version: number, deleted: number, payload: string | null }>(
      'select id, tbl, key, server_version, deleted, payload from _sync_shadow where id > ? and id <= ? order by id limit ?',
      [id, last, READ_CHUNK_ROWS])
    for (const row of rows) {
      id = row.id
      if (context.tables.has(row.tbl)) yield { table: row.tbl, key: row.key, state: { version: row.server_version, deleted: row.deleted === 1, payload: row.payload } }
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** A row of the server that this device cannot show yet. */
export interface ShadowRow {
  table: string
  key: string
  version: number
  deleted: boolean
  reason: ShadowReason
  /** A sentence for people. */
  message: string
}

export function readShadowRows (driver: Driver): ShadowRow[] {
  return driver.all<{ tbl: string, key: string, server_version: number, deleted: number, reason: ShadowReason, message: string }>(
    'select tbl, key, server_version, deleted, reason, message from _sync_shadow order by id')
    .map(({ tbl, key, server_version: version, deleted, reason, message }) => ({ table: tbl, key, version, deleted: deleted === 1, reason, message }))
}
