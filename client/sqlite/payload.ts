import type { Cell, Row } from './cell.js'
import { membersOf, objectText } from '../http/json-text.js'
import { keyCells, keyPart } from './key-text.js'
import type { TableInfo } from './table-info.js'
import { decodeValue, encodeCell, isJsonValue, Unrepresentable } from './wire-values.js'

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
  const row = new Map<string, Cell>(keyCells(table, key))
  const isKey = new Set(row.keys())
  const extra = before?.extra == null ? new Map<string, string>() : membersOf(before.extra)
  const jsonColumns = new Set(before?.jsonColumns)
  for (const [name, raw] of membersOf(payload)) {
    if (isKey.has(name)) continue
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
    // A blob of a key travels as the uuid that it is.
    const part = column.isBlob ? keyPart(table, key, column.name) : undefined
    members.push([column.name, part === undefined ? encodeCell(column, cell, known?.jsonColumns.includes(column.name) ?? false) : JSON.stringify(part)])
  }
  if (known?.extra != null) {
    for (const [name, raw] of membersOf(known.extra)) if (!table.byColumn.has(name)) members.push([name, raw])
  }
  return objectText(members)
}

/** The message, where the error is a value that cannot travel; anything else is thrown on. */
export function unrepresentable (error: unknown): string {
  if (error instanceof Unrepresentable) return error.message
  throw error
}
