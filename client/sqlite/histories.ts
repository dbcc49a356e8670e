import { objectText, membersOf } from '../http/json-text.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import type { Driver } from '../drivers/driver.js'
import type { ServerState } from '../http/read-reply.js'
import type { ApplyContext } from './apply-context.js'
import { equalRows, overlay, UNKNOWN_CELL, type Row } from './cell.js'
import { wholeRow } from './defaults.js'
import { readLocal } from './local-row.js'
import { readPayload, type ReadPayload } from './payload.js'
import { imageOfEdit, setPending, settle } from './pending.js'
import { forgetRowState, readNames, writeRowState, type RowState } from './row-state.js'
import type { TableInfo } from './table-info.js'
import { Unrepresentable } from './wire-values.js'

/** What a rebuild found. */
export interface RebuildCounts {
  /** Rows and deletions that the server had lost: they are pending. */
  queued: number
  /** Rows of which the server has another past than this device: they are merged by rule, like a conflict. */
  diverged: number
  /** Rows that were removed because the server no longer has them. */
  removed: number
}

interface KnownRow {
  tbl: string
  key: string
  server_version: number
  deleted: number
  extra: string | null
  json_columns: string | null
  last_id: number | null
  same_id: number | null
  is_foreign: number
}

/**
 * The server was restored or replaced: compares every row whose version this device knows with the window as it is laid out, which
 * has all of the new history, before the window is applied.
 *
 * - The window has the known version with the known content: the server knows what we know, and maybe more. Nothing to do.
 * - It ends before the known version, or has nothing of the row: the server lost it. The row, or its deletion, becomes
 *   pending, with the server's row as image.
 * - It has other content at that version, or ends before it with a change by a source that the old history did not have
 *   (another device that brought back what it knew, or went on): two pasts. Columns in which they differ count as changed
 *   on both sides and go by the table's rule, on record.
 */
export function compareHistories (context: ApplyContext, counts: RebuildCounts): void {
  forgetClosedTables(context)
  for (let [tbl, key] = ['', '']; ;) {
    const rows = context.driver.all<KnownRow>(
      `select r.tbl, r.key, r.server_version, r.deleted, r.extra, r.json_columns,
         (select max(s.server_id) from _sync_stage s where s.tbl = r.tbl and s.key = r.key) as last_id,
         (select max(s.server_id) from _sync_stage s where s.tbl = r.tbl and s.key = r.key and s.server_version = r.server_version) as same_id,
         exists (select 1 from _sync_stage s where s.tbl = r.tbl and s.key = r.key and s.source_id not in (select source_id from _sync_seen)) as is_foreign
       from _sync_row as r where (r.tbl, r.key) > (?, ?) order by r.tbl, r.key limit ?`, [tbl, key, READ_CHUNK_ROWS])
    for (const row of rows) {
      ;({ tbl, key } = row)
      compareRow(context, context.tables.get(tbl) as TableInfo, row, counts)
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** Rows of tables that this version of the app does not open cannot be compared: when they are opened again, all are pending. */
function forgetClosedTables ({ driver, tables }: ApplyContext): void {
  for (const { tbl } of driver.all<{ tbl: string }>('select distinct tbl from _sync_row')) {
    if (tables.has(tbl)) continue
    driver.run('delete from _sync_row where tbl = ?', [tbl])
    driver.run('update _sync_table set is_gone = 2 where tbl = ?', [tbl])
  }
}

function compareRow (context: ApplyContext, table: TableInfo, known: KnownRow, counts: RebuildCounts): void {
  const { driver } = context
  const image = imageOfEdit(driver, table.name, known.key)
  const isEdited = image !== undefined
  /** The row as the server had it when this device last heard. */
  const before = known.deleted === 1 ? null : isEdited ? image : readLocal(context, table, known.key)
  // It waits in shadow (see lost.ts), or the app lost it: the window shows it again.
  if (!isEdited && before === null && known.deleted === 0) return forgetRowState(driver, table.name, known.key)
  if (known.last_id === null) {
    // Version 0, and not forgotten: columns that this app does not have go up again with the row, and a deletion, sent or not,
    // of which the server lost the row too still counts where another device brings that back.
    const isDeleted = (isEdited ? readLocal(context, table, known.key) : before) === null
    writeRowState(driver, table.name, known.key, { ...stateOfKnown(known), version: 0, deleted: isDeleted }, context.stamp)
    if (isDeleted) return settle(driver, table.name, known.key)
    setPending(driver, table.name, known.key, null)
    counts.queued++
    return
  }
  const last = laidOut(context, known.last_id)
  if (known.same_id !== null) {
    const same = laidOut(context, known.same_id)
    // Triggers were away for a while: the difference is an edit that was missed, see recheck.ts, which notes it when the window is applied.
    if (context.recheck && !isEdited && known.deleted === 0 && !same.deleted) return
    if (!isSame(driver, table, known, before, same)) diverge(context, table, known, before, last, counts)
    return
  }
  if (last.version > known.server_version) return // the window's older changes of the row are gone
  const read = tryRead(table, known, last)
  if (known.is_foreign === 1 || read === 'unreadable') diverge(context, table, known, before, last, counts)
  else bringBack(context, table, known, { before, isEdited, last, read }, counts)
}

/** The server has an older version of the row: what is here is an edit of that. */
function bringBack (context: ApplyContext, table: TableInfo, known: KnownRow, row: { before: Row | null, isEdited: boolean, last: ServerState, read: ReadPayload | null }, counts: RebuildCounts): void {
  const { driver } = context
  const { before, isEdited, last, read } = row
  const mine = stateOfKnown(known)
  const extra = mine.extra === null || read?.extra == null ? mine.extra ?? read?.extra ?? null : objectText(new Map([...membersOf(read.extra), ...membersOf(mine.extra)]))
  writeRowState(driver, table.name, known.key, { version: last.version, deleted: last.deleted, extra, jsonColumns: known.deleted === 1 ? read?.jsonColumns ?? [] : mine.jsonColumns }, context.stamp)
  const server = read === null ? null : wholeRow(driver, table, before, read.row)
  if (!isEdited && extra === (read?.extra ?? null) && (before === null || server === null ? before === server : equalRows(before, server))) return
  // Columns that this app does not have may be all that differs.
  const image = server !== null && extra !== read?.extra ? overlay(server, new Map([[table.key[0]?.name ?? '', UNKNOWN_CELL]])) : server
  setPending(driver, table.name, known.key, image)
  counts.queued++
}

/** Only the server's last row is merged, and what both pasts agree on is the base. */
function diverge (context: ApplyContext, table: TableInfo, known: KnownRow, before: Row | null, last: ServerState, counts: RebuildCounts): void {
  const { driver } = context
  driver.run('delete from _sync_stage where tbl = ? and key = ? and server_id < ?', [table.name, known.key, known.last_id])
  const read = tryRead(table, known, last)
  const theirs = read === 'unreadable' || read === null ? null : wholeRow(driver, table, before, read.row)
  const base = new Map([...before ?? theirs ?? []].map(([column, cell]) => [column, before !== null && theirs?.get(column) === cell ? cell : UNKNOWN_CELL]))
  forgetRowState(driver, table.name, known.key)
  const isGoneInBoth = before === null && read === null
  if (!isGoneInBoth) {
    setPending(driver, table.name, known.key, base)
    counts.diverged++
  }
}

function isSame (driver: Driver, table: TableInfo, known: KnownRow, before: Row | null, state: ServerState): boolean {
  if (state.deleted) return known.deleted === 1
  if (known.deleted === 1) return false
  if (before === null) return true // nothing to compare with
  const read = tryRead(table, known, state)
  return read === 'unreadable' || read === null || equalRows(before, wholeRow(driver, table, before, read.row))
}

function tryRead (table: TableInfo, { key }: KnownRow, { payload }: ServerState): ReadPayload | null | 'unreadable' {
  if (payload === null) return null
  try {
    return readPayload(table, key, payload, null)
  } catch (error) {
    if (error instanceof Unrepresentable) return 'unreadable'
    throw error
  }
}

function laidOut ({ driver }: ApplyContext, serverId: number): ServerState {
  const [row] = driver.all<{ server_version: number, deleted: number, payload: string | null }>(
    'select server_version, deleted, payload from _sync_stage where server_id = ?', [serverId])
  return { version: row?.server_version ?? 0, deleted: row?.deleted === 1, payload: row?.payload ?? null }
}

function stateOfKnown (row: KnownRow): RowState {
  return { version: row.server_version, deleted: row.deleted === 1, extra: row.extra, jsonColumns: readNames(row.json_columns) }
}
