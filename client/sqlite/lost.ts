import { membersOf } from '../http/json-text.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import type { ApplyContext } from './apply-context.js'
import { merge } from '../conflict/merge.js'
import { DEFAULT_RULE } from '../conflict/resolver.js'
import { recordConflict } from './conflict-log.js'
import { readLocal, writeLocal } from './local-row.js'
import { readPayload } from './payload.js'
import { imageOfEdit, isFrozen, setPending } from './pending.js'
import { readRowState, writeRowState } from './row-state.js'
import type { TableInfo } from './table-info.js'
import { Unrepresentable } from './wire-values.js'
import { keyProblem } from './wire-key.js'

interface ShadowedRow { id: number, tbl: string, key: string, server_version: number, deleted: number, payload: string | null, last_version: number | null, same_payload: string | null, same_deleted: number | null, is_foreign: number }

/**
 * The server was restored: a row that waits in shadow may be one that the server lost, and then this device alone has it. It
 * waits from now on as ours. Call before the window is applied.
 */
export function keepLostShadow ({ driver }: ApplyContext): void {
  for (let id = 0; ;) {
    const rows = driver.all<ShadowedRow>(
      `select h.id, h.tbl, h.key, h.server_version, h.deleted, h.payload,
         (select s.server_version from _sync_stage s where s.tbl = h.tbl and s.key = h.key order by s.server_id desc limit 1) as last_version,
         (select s.payload from _sync_stage s where s.tbl = h.tbl and s.key = h.key and s.server_version = h.server_version) as same_payload,
         (select s.deleted from _sync_stage s where s.tbl = h.tbl and s.key = h.key and s.server_version = h.server_version) as same_deleted,
         exists (select 1 from _sync_stage s where s.tbl = h.tbl and s.key = h.key and s.source_id not in (select source_id from _sync_seen)) as is_foreign
       from _sync_shadow as h where h.id > ? order by h.id limit ?`, [id, READ_CHUNK_ROWS])
    for (const row of rows) {
      id = row.id
      const isAhead = row.last_version !== null && row.last_version > row.server_version && row.same_deleted === null
      const isShared = row.same_deleted !== null && row.same_deleted === row.deleted && samePayload(row.same_payload, row.payload)
      if (isAhead || isShared) continue
      driver.run('delete from _sync_shadow where id = ?', [id])
      // Where the server has other news of the row, those stand, as they do against any row that nobody edited here.
      if (row.payload === null || row.is_foreign === 1 || row.same_deleted !== null) continue
      driver.run('insert into _sync_lost (tbl, key, payload) values (?, ?, ?) on conflict (tbl, key) do update set payload = excluded.payload', [row.tbl, row.key, row.payload])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

function samePayload (a: string | null, b: string | null): boolean {
  if (a === null || b === null) return a === b
  const [mine, theirs] = [membersOf(a), membersOf(b)]
  return mine.size === theirs.size && [...mine].every(([name, raw]) => theirs.get(name) === raw)
}

/** Shows the rows that only this device has, as local rows, as soon as there is a place for them. */
export function bringBackLost (context: ApplyContext): void {
  for (const { tbl, key, payload } of context.driver.all<{ tbl: string, key: string, payload: string }>('select tbl, key, payload from _sync_lost')) {
    const table = context.tables.get(tbl)
    if (table === undefined || keyProblem(table, key) !== null || isFrozen(context.driver, tbl, key)) continue
    if (show(context, table, key, payload)) context.driver.run('delete from _sync_lost where tbl = ? and key = ?', [tbl, key])
  }
}

function show (context: ApplyContext, table: TableInfo, key: string, payload: string): boolean {
  const { driver } = context
  const known = readRowState(driver, table.name, key)
  try {
    const read = readPayload(table, key, payload, known)
    const local = readLocal(context, table, key)
    const image = imageOfEdit(driver, table.name, key)
    if (image !== undefined) {
      // A function of the app's is not asked about a row that no server has: what is known for certain is kept.
      const { conflict: wanted, deleted } = context.rules.get(table.name) ?? DEFAULT_RULE
      const rule = typeof wanted === 'function' ? 'serverWins' : wanted
      const { result, conflict } = merge(image, local, read.row, rule, deleted)
      if (result !== null && writeLocal(context, table, key, result) !== null) return false
      if (conflict !== null) recordConflict(driver, table.name, key, { ...conflict, rule: conflict.kind === 'update-delete' || conflict.kind === 'delete-update' ? deleted : rule, before: image, mine: local, theirs: read.row, result })
      return true
    }
    if (writeLocal(context, table, key, read.row) !== null) return false
    setPending(driver, table.name, key, local)
    writeRowState(driver, table.name, key, { version: known?.version ?? 0, deleted: known?.deleted ?? false, extra: read.extra, jsonColumns: read.jsonColumns }, context.stamp)
    return true
  } catch (error) {
    if (error instanceof Unrepresentable) return false
    throw error
  }
}
