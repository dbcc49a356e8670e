import type { Driver } from '../drivers/driver.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { decodeRow, encodeRow, NULL_CELL, overlay, type Row } from './cell.js'
import { recordConflict } from './conflict-log.js'

/*
 * A migration may drop the table or the columns in which a change was made that has not gone up. It goes up as it was made
 * (old-shape.ts). Where that cannot be, or the server has another row by now, its values have no place any more, here or
 * there: then they are put on record, so that nothing is lost in silence.
 */

/** What nobody can send any more. `mine`: the row as it was changed here, null for a deletion; `columns`: those of which the record is the last trace. */
export function recordDropped (driver: Driver, table: string, key: string, change: { before: Row | null, mine: Row | null, columns: Iterable<string> }): void {
  recordConflict(driver, table, key, { kind: 'dropped', rule: 'migration', theirs: null, result: null, ...change, columns: [...change.columns] })
}

/** Of the columns that a table has lost: the values that a change gave them. */
export function droppedCells (dropped: readonly string[], before: Row | null, now: Row | null): Row {
  if (now === null) return new Map()
  const value = (row: Row | null, name: string): string => row?.get(name) ?? NULL_CELL
  return new Map(dropped.filter(name => value(before, name) !== value(now, name)).map(name => [name, value(now, name)]))
}

/** Changes in the outbox keep the values of columns that are dropped now, while their images are brought into the new shape. */
export function keepDroppedCells (driver: Driver, table: string, dropped: readonly string[]): void {
  if (dropped.length === 0) return
  for (let after = 0; ;) {
    const rows = driver.all<{ id: number, image: string | null, sent: string, dropped: string | null }>(
      'select source_change_id as id, image, sent, dropped from _sync_outbox where +tbl = ? and sent is not null and source_change_id > ? order by source_change_id limit ?', [table, after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.id
      const cells = droppedCells(dropped, decodeRow(row.image), decodeRow(row.sent))
      if (cells.size > 0) driver.run('update _sync_outbox set dropped = ? where source_change_id = ?', [encodeRow(overlay(decodeRow(row.dropped), cells)), row.id])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** Whether the app has dropped the table: nothing can be made of a change of it but what it was when it was sent. */
export function isDropped (driver: Driver, table: string): boolean {
  return driver.all('select 1 from _sync_table where tbl = ? and is_gone = 1', [table]).length > 0
}
