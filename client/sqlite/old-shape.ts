import type { Driver } from '../drivers/driver.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { membersOf, objectText } from '../http/json-text.js'
import { decodeRow, equalRows, UNKNOWN_CELL, type Row } from './cell.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { unrepresentable, writePayload } from './payload.js'
import { droppedCells, keepDroppedCells, recordDropped } from './dropped.js'
import { reviveEditedHeld } from './pending.js'
import { readNames } from './row-state.js'
import type { Shape } from './shape.js'
import type { TableInfo } from './table-info.js'
import { keyProblem } from './wire-key.js'
import { encodeCell } from './wire-values.js'

interface OldRow { id: number, key: string, image: string | null, local: string | null, attempts: number, sent: string | null, version: number | null, extra: string | null, json_columns: string | null, is_blocked: number }

/**
 * Unsent changes of a table as it was before the migration go up as they were made: those of which `wanted` names columns
 * that will be lost move to the outbox with the content that `_sync_migration` kept. The server takes columns that it does
 * not know, or no longer has, for other devices. What cannot go (its row is on its way already or waits for the server's, a
 * value cannot travel, a rebuild is under way) goes on record.
 */
export function sendInOldShape (driver: Driver, schema: string, name: string, old: Shape, wanted: (image: Row | null, local: Row | null) => string[]): void {
  reviveEditedHeld(driver)
  const state = readState(driver) as ClientState
  // As much of the table as keys and payloads need.
  const table = { name, key: old.key, columns: old.columns, byColumn: new Map(old.columns.map(column => [column.name, column])) } as unknown as TableInfo
  let nextId = state.nextChangeId
  for (let after = 0; ;) {
    const rows = driver.all<OldRow>(
      `select p.id, cast(p.key as text) as key, p.image, p.attempts, p.sent, m.image as local, r.server_version as version, r.extra, r.json_columns,
         typeof(p.key) <> 'text' or exists (select 1 from _sync_shadow s where s.tbl = p.tbl and s.key = p.key) or exists (select 1 from _sync_outbox o where o.tbl = p.tbl and o.key = p.key) as is_blocked
       from _sync_pending as p left join _sync_migration as m on m.tbl = p.tbl and m.key = p.key left join _sync_row as r on r.tbl = p.tbl and r.key = p.key
       where +p.tbl = ? and p.id > ? order by p.id limit ?`, [name, after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.id
      const local = decodeRow(row.local)
      const image = decodeRow(row.image)
      if (local === null && image === null) {
        // Made and removed between two uploads, or sent by a batch whose fate is unknown.
        const sent = decodeRow(row.sent === 'deleted' ? null : row.sent)
        if (sent !== null && wanted(null, sent).length > 0) recordDropped(driver, name, row.key, { before: sent, mine: null, columns: sent.keys() })
        continue
      }
      const columns = wanted(image, local)
      if (columns.length === 0) continue
      const canGo = state.rebuild === null && row.is_blocked === 0 && keyProblem(table, row.key) === null && !isMangled(local)
      const payload = canGo ? payloadOf(table, row, local) : undefined
      if (payload === undefined) {
        recordDropped(driver, name, row.key, { before: image, mine: local, columns })
        continue
      }
      const id = nextId++
      const op = local === null ? 'DELETE' : image === null ? 'INSERT' : 'UPDATE'
      const change = JSON.stringify({ source_change_id: id, schema, table: name, op, pk: row.key, server_version: row.version ?? 0 }).slice(0, -1) + (payload === null ? '}' : `,"payload":${payload}}`)
      driver.run('insert into _sync_outbox (source_change_id, tbl, key, base_version, image, sent, change, attempts, sent_before, is_waiting) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)',
        [id, name, row.key, row.version ?? 0, row.image, row.local, change, row.attempts, row.sent])
      driver.run('delete from _sync_pending where id = ?', [row.id])
    }
    if (rows.length < READ_CHUNK_ROWS) break
  }
  writeState(driver, { next_change_id: nextId })
  recordHeld(driver, name, wanted)
}

/** Held rows were refused as they were, and can only be tried again in the new shape, if there is one. */
function recordHeld (driver: Driver, name: string, wanted: (image: Row | null, local: Row | null) => string[]): void {
  for (let after = 0; ;) {
    const rows = driver.all<{ id: number, key: string, image: string | null, local: string | null }>(
      `select h.id, cast(h.key as text) as key, h.image, m.image as local from _sync_held as h left join _sync_migration as m on m.tbl = h.tbl and m.key = h.key
       where h.tbl = ? and h.id > ? order by h.id limit ?`, [name, after, READ_CHUNK_ROWS])
    for (const { id, key, ...row } of rows) {
      after = id
      const [before, mine] = [decodeRow(row.image), decodeRow(row.local)]
      const columns = wanted(before, mine)
      if (columns.length > 0) recordDropped(driver, name, key, { before, mine, columns })
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** Every column, where the row was changed at all. */
export function allOf (image: Row | null, local: Row | null): string[] {
  return local !== null && image !== null && equalRows(local, image) ? [] : [...(local ?? image ?? new Map()).keys()]
}

/** Bytes that are no Unicode text have become U+FFFD on their way here. Who writes that sign is on the safe side too. */
function isMangled (local: Row | null): boolean {
  return local !== null && [...local.values()].some(cell => cell.includes('\ufffd'))
}

/** null: a deletion; undefined: a value cannot travel. */
function payloadOf (table: TableInfo, row: OldRow, local: Row | null): string | null | undefined {
  if (local === null) return null
  try {
    return writePayload(table, row.key, local, { extra: row.extra, jsonColumns: readNames(row.json_columns) })
  } catch (error) {
    unrepresentable(error)
    return undefined
  }
}

/** Values of columns that the migration dropped: unsent ones go up first; the others are kept with what else the server's row has. */
export function keepDroppedColumns (driver: Driver, schema: string, table: TableInfo, old: Shape): void {
  const dropped = old.columns.filter(({ name }) => !table.byColumn.has(name))
  if (dropped.length === 0) return
  const names = dropped.map(({ name }) => name)
  sendInOldShape(driver, schema, table.name, old, (image, local) => [...droppedCells(names, image, local).keys()])
  keepDroppedCells(driver, table.name, names)
  for (let after = '', isFirst = true; ; isFirst = false) {
    const rows = driver.all<{ key: string, image: string | null, extra: string | null, json_columns: string | null }>(
      `select m.key, r.extra, r.json_columns,
         case when o.key is not null then o.image when p.key is not null then p.image when h.key is not null then h.image else m.image end as image
       from _sync_migration as m cross join _sync_row as r on r.tbl = m.tbl and r.key = m.key
       left join _sync_outbox as o on o.tbl = m.tbl and o.key = m.key left join _sync_pending as p on p.tbl = m.tbl and p.key = m.key left join _sync_held as h on h.tbl = m.tbl and h.key = m.key
       where m.tbl = ? and r.deleted = 0 and typeof(m.key) = 'text' and m.key ${isFirst ? '>=' : '>'} ? order by m.key limit ?`, [table.name, after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.key
      const extra = new Map(row.extra === null ? [] : membersOf(row.extra))
      // What the server has, which is where an edit began.
      const cells = decodeRow(row.image)
      for (const column of dropped) {
        const cell = cells?.get(column.name) ?? UNKNOWN_CELL
        if (cell === UNKNOWN_CELL) continue
        try {
          extra.set(column.name, encodeCell(column, cell, readNames(row.json_columns).includes(column.name)))
        } catch (error) {
          unrepresentable(error) // it was held under its name, and goes with its column
        }
      }
      driver.run('update _sync_row set extra = ? where tbl = ? and key = ?', [objectText(extra), table.name, row.key])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}
