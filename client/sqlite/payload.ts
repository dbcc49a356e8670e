import { blobCell, cellKind, hexOf, NULL_CELL, textCell, textOf, type Cell, type Row } from './cell.js'
import { membersOf, objectText } from '../http/json-text.js'
import type { Tables } from './open-file.js'
import type { ForeignKey, TableInfo } from './table-info.js'
import { dashed } from './uuid.js'
import { decodeValue, encodeCell, isJsonValue, Unrepresentable } from './wire-values.js'

/** The cell of a row's key, from the key's text. */
export function keyCell (table: TableInfo, key: string): Cell {
  switch (table.key.type) {
    case 'text': return textCell(key)
    case 'integer': return key
    case 'blob': return blobCell(key.replaceAll('-', ''))
  }
}

/** A server row read for this device. */
export interface ReadPayload {
  /** The columns that the payload names and this device has, and the key. */
  row: Row
  /** The members that this device has no column for; null for none. */
  extra: string | null
  jsonColumns: string[]
}

/**
 * Reads a raw payload; throws `Unrepresentable` where a value would be altered here. `before`: what was known of the row,
 * for a payload says nothing about the members that it lacks.
 */
export function readPayload (table: TableInfo, key: string, payload: string, before: { extra: string | null, jsonColumns: readonly string[] } | null): ReadPayload {
  const row = new Map<string, Cell>([[table.key.name, keyCell(table, key)]])
  const extra = before?.extra == null ? new Map<string, string>() : membersOf(before.extra)
  const jsonColumns = new Set(before?.jsonColumns)
  for (const [name, raw] of membersOf(payload)) {
    if (name === table.key.name) continue
    const column = table.byColumn.get(name)
    if (column === undefined) {
      extra.set(name, raw)
      continue
    }
    row.set(name, decodeValue(column, raw))
    if (isJsonValue(column, raw)) jsonColumns.add(name)
    else jsonColumns.delete(name)
  }
  return { row, extra: extra.size === 0 ? null : objectText(extra), jsonColumns: [...jsonColumns] }
}

/**
 * The payload of a row, raw: every column, and what the server's row has besides, so that a device that reads only this
 * change has all of it. Throws `Unrepresentable` where a value cannot travel.
 */
export function writePayload (table: TableInfo, key: string, row: Row, known: { extra: string | null, jsonColumns: readonly string[] } | null): string {
  const members: Array<[string, string]> = []
  for (const column of table.columns) {
    const cell = row.get(column.name)
    if (cell === undefined) continue
    const isBlobKey = column.name === table.key.name && table.key.type === 'blob'
    members.push([column.name, isBlobKey ? JSON.stringify(key) : encodeCell(column, cell, known?.jsonColumns.includes(column.name) ?? false)])
  }
  if (known?.extra != null) {
    for (const [name, raw] of membersOf(known.extra)) if (!table.byColumn.has(name)) members.push([name, raw])
  }
  return objectText(members)
}

/** The row that a foreign key of `row` points at, where that is a row by its key; null where it points nowhere. */
export function referredRow (tables: Tables, { columns, parent, parentColumns }: ForeignKey, row: Row): { table: TableInfo, key: string } | null {
  const table = tables.get(parent)
  if (table === undefined || columns.length > 1 || parentColumns[0]?.toLowerCase() !== table.key.name.toLowerCase()) return null
  const key = keyOfCell(table, row.get(columns[0] as string) ?? NULL_CELL)
  return key === null ? null : { table, key }
}

function keyOfCell (table: TableInfo, cell: Cell): string | null {
  switch (table.key.type) {
    case 'text': return cellKind(cell) === 'text' ? textOf(cell) : null
    case 'integer': return cellKind(cell) === 'integer' ? cell : null
    case 'blob': return /^X'[0-9A-F]{32}'$/.test(cell) ? dashed(hexOf(cell).toLowerCase()) : null
  }
}

/** The message, where the error is a value that cannot travel; anything else is thrown on. */
export function unrepresentable (error: unknown): string {
  if (error instanceof Unrepresentable) return error.message
  throw error
}
