import type { Driver } from '../drivers/driver.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { decodeRow, encodeRow, NULL_CELL, overlay, type Cell, type Row } from './cell.js'
import type { ColumnInfo, KeyColumn, TableInfo } from './table-info.js'
import { decodeValue, encodeCell, Unrepresentable } from './wire-values.js'

/** What a table looked like when its images were made: kept in `_sync_table`, so that they can be read in another shape. */
export interface Shape { key: readonly KeyColumn[], columns: ColumnInfo[] }

export function shapeOf (table: TableInfo): string {
  return JSON.stringify({ key: table.key, columns: table.columns } satisfies Shape)
}

/** Reads a row of the old shape in the new one: columns that are gone are left out, new ones have their default, others their value as the new type holds it. */
export type Translate = (row: Row) => Row

export function translator (old: Shape, table: TableInfo, defaults: Row): Translate {
  const before = new Map(old.columns.map(column => [column.name, column]))
  return row => {
    const translated = new Map<string, Cell>()
    for (const column of table.columns) {
      const was = before.get(column.name)
      const cell = row.get(column.name)
      if (was === undefined) translated.set(column.name, defaults.get(column.name) ?? NULL_CELL)
      else if (cell !== undefined) translated.set(column.name, isSameType(was, column) ? cell : retype(was, column, cell))
    }
    return translated
  }
}

function isSameType (a: ColumnInfo, b: ColumnInfo): boolean {
  return a.affinity === b.affinity && a.isBlob === b.isBlob && a.isJson === b.isJson
}

/** By way of the wire: what another device would hold whose column has the new type. */
function retype (was: ColumnInfo, column: ColumnInfo, cell: Cell): Cell {
  try {
    return decodeValue(column, encodeCell(was, cell, false))
  } catch (error) {
    if (!(error instanceof Unrepresentable)) throw error
    return cell
  }
}

/** Where images of local work are kept. */
const BOOKS = [['_sync_pending', 'id', ['image', 'sent']], ['_sync_held', 'id', ['image']], ['_sync_outbox', 'source_change_id', ['image', 'sent', 'sent_before']]] as const

/** Columns that came to be here with values that the server's row has had all along, and every change of the row with it. */
export function completeImages (driver: Driver, table: string, key: string, more: Row): void {
  for (const [book, id, columns] of BOOKS) {
    for (const column of columns) {
      const found = driver.all<{ id: number, image: string }>(`select ${id} as id, ${column} as image from ${book} where tbl = ? and key = ? and ${column} is not null and ${column} <> 'deleted'`, [table, key])[0]
      if (found !== undefined) driver.run(`update ${book} set ${column} = ? where ${id} = ?`, [encodeRow(overlay(decodeRow(found.image), more)), found.id])
    }
  }
}

/** Rewrites the images of a table's local work. */
export function translateImages (driver: Driver, table: TableInfo, translate: Translate): void {
  for (const [book, id, columns] of BOOKS) {
    for (const column of columns) {
      for (let after = 0; ;) {
        const rows = driver.all<{ id: number, image: string }>(
          `select ${id} as id, ${column} as image from ${book} where +tbl = ? and ${id} > ? and ${column} is not null and ${column} <> 'deleted' order by ${id} limit ?`, [table.name, after, READ_CHUNK_ROWS])
        for (const row of rows) {
          after = row.id
          driver.run(`update ${book} set ${column} = ? where ${id} = ?`, [encodeRow(translate(decodeRow(row.image))), row.id])
        }
        if (rows.length < READ_CHUNK_ROWS) break
      }
    }
  }
}
