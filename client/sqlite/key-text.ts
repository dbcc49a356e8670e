import { blobCell, cellKind, hexOf, NULL_CELL, textCell, textOf, type Cell, type Row } from './cell.js'
import type { KeyColumn, TableInfo } from './table-info.js'
import { dashed } from './uuid.js'

/**
 * A key on the wire is text: the one part as it is, or the JSON array of the parts without white space. JSON.stringify,
 * PostgreSQL's array_to_json and SQLite's json_array (`keySql`) escape the same characters in the same way.
 */
export function joinKey (parts: readonly string[]): string {
  return parts.length === 1 ? parts[0] as string : JSON.stringify(parts)
}

/** The parts of a key; null where the text is no key of so many columns, or another spelling of one. */
export function splitKey (table: TableInfo, key: string): string[] | null {
  if (table.key.length === 1) return [key]
  try {
    const parts: unknown = JSON.parse(key)
    const isKey = Array.isArray(parts) && parts.length === table.key.length && parts.every(part => typeof part === 'string') && JSON.stringify(parts) === key
    return isKey ? parts : null
  } catch {
    return null
  }
}

/** The key columns of a row, from the key's text. The text must be a key of the table (see `keyProblem`). */
export function keyCells (table: TableInfo, key: string): Row {
  const parts = splitKey(table, key) ?? []
  return new Map(table.key.map((column, i) => [column.name, cellOfPart(column, parts[i] ?? '')]))
}

/** A part of a key by the name of its column, as text; undefined for other columns. */
export function keyPart (table: TableInfo, key: string, name: string): string | undefined {
  const i = table.key.findIndex(column => column.name === name)
  return i === -1 ? undefined : splitKey(table, key)?.[i]
}

/** The text of a key whose parts are these cells, in the order of the key; null where they are none. */
export function keyOfCells (table: TableInfo, cells: readonly Cell[]): string | null {
  const parts = table.key.map((column, i) => partOfCell(column, cells[i] ?? NULL_CELL))
  return parts.includes(null) ? null : joinKey(parts as string[])
}

function cellOfPart ({ type }: KeyColumn, part: string): Cell {
  switch (type) {
    case 'text': return textCell(part)
    case 'integer': return part
    case 'blob': return blobCell(part.replaceAll('-', ''))
  }
}

function partOfCell ({ type }: KeyColumn, cell: Cell): string | null {
  switch (type) {
    case 'text': return cellKind(cell) === 'text' ? textOf(cell) : null
    case 'integer': return cellKind(cell) === 'integer' ? cell : null
    case 'blob': return /^X'[0-9A-F]{32}'$/.test(cell) ? dashed(hexOf(cell).toLowerCase()) : null
  }
}
