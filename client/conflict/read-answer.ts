import { hexOfBytes } from '../sqlite/bytes.js'
import { blobCell, NULL_CELL, realCell, textCell, type Cell, type Row } from '../sqlite/cell.js'
import { fitsDouble, inInt64 } from '../sqlite/decimal.js'
import type { ColumnInfo, TableInfo } from '../sqlite/table-info.js'
import { valueOf } from '../sqlite/values.js'
import { decodeValue, encodeCell, Unrepresentable } from '../sqlite/wire-values.js'

/** An answer of a resolver that cannot be used. Its row is held with this message. */
export class BadAnswer extends Error {}

/**
 * Reads the row that a resolver answered, or throws `BadAnswer`. What it says must arrive at the server and come back as it
 * is, so nothing is converted: not even as SQLite itself would. `known`: rows whose values the answer may repeat.
 */
export function readAnswer (table: TableInfo, key: Row, answer: unknown, known: ReadonlyArray<Row | null>): Row {
  if (typeof answer !== 'object' || answer === null || Object.prototype.toString.call(answer) !== '[object Object]') {
    throw new BadAnswer(`The resolver of table ${table.name} answered ${describe(answer)}; an answer is 'keep', 'take' or a row.`)
  }
  const row = new Map<string, Cell>()
  for (const [name, value] of Object.entries(answer)) {
    const column = table.byColumn.get(name)
    if (column === undefined) throw new BadAnswer(`The resolver of table ${table.name} answered a column ${JSON.stringify(name)}, which the table does not have.`)
    const cell = repeated(name, value, known) ?? readValue(table, column, value)
    if (key.has(name) && cell !== key.get(name)) throw new BadAnswer(`The resolver of table ${table.name} answered another key.`)
    row.set(name, cell)
  }
  return row
}

/** The very cell that the value was shown for: 5 may be an integer here and a real there. */
function repeated (name: string, value: unknown, known: ReadonlyArray<Row | null>): Cell | null {
  for (const row of known) {
    const cell = row?.get(name)
    if (cell !== undefined && sameValue(valueOf(cell), value)) return cell
  }
  return null
}

function sameValue (a: unknown, b: unknown): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? hexOfBytes(a) === hexOfBytes(b) : a === b
}

function readValue (table: TableInfo, column: ColumnInfo, value: unknown): Cell {
  const cell = cellOf(column, value)
  if (typeof cell !== 'string') throw new BadAnswer(`The resolver of table ${table.name} answered ${describe(value)} for column ${column.name}${cell?.why ?? ', which SQLite does not store'}.`)
  try {
    encodeCell(column, cell, false)
    return cell
  } catch (error) {
    if (error instanceof Unrepresentable) throw new BadAnswer(`The resolver's answer for table ${table.name} cannot travel. ${error.message}`)
    throw error
  }
}

/** The value as SQLite will hold it in this column; null, or the reason, where it would hold another. */
function cellOf (column: ColumnInfo, value: unknown): Cell | { why: string } | null {
  if (value === null) return NULL_CELL
  if (value instanceof Uint8Array) return blobCell(hexOfBytes(value))
  switch (typeof value) {
    case 'string': return textFor(column, value)
    case 'number': return numberFor(column, value)
    case 'bigint': return integerFor(column, value)
    case 'boolean': return { why: ': SQLite keeps 1 and 0' }
    default: return null
  }
}

function textFor (column: ColumnInfo, text: string): Cell | { why: string } {
  if (column.isBlob || column.isJson) return textCell(text) // refused, or as it is
  try {
    const cell = decodeValue(column, JSON.stringify(text))
    return cell === textCell(text) ? cell : { why: ', which SQLite would turn into a number' }
  } catch (error) {
    if (error instanceof Unrepresentable) return { why: ', which the column cannot hold' }
    throw error
  }
}

function numberFor (column: ColumnInfo, value: number): Cell | { why: string } {
  if (!Number.isFinite(value)) return { why: ', which cannot travel' }
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 63 && (column.affinity !== 'none' || Number.isSafeInteger(value))) return integerFor(column, BigInt(value))
  return column.affinity === 'text' || column.isBlob ? OTHER_TYPE : realCell(value)
}

function integerFor (column: ColumnInfo, value: bigint): Cell | { why: string } {
  const digits = value.toString()
  if (!inInt64(digits)) return { why: ', which has more than 64 bits' }
  if (column.affinity === 'text' || column.isBlob) return OTHER_TYPE
  if (column.affinity !== 'real') return digits
  return fitsDouble(digits) ? realCell(Number(value)) : { why: ', which a double would round' }
}

const OTHER_TYPE = { why: ', which the column would hold as another type' }

function describe (value: unknown): string {
  if (typeof value === 'object' && value !== null) {
    return typeof (value as { then?: unknown }).then === 'function' ? 'a promise' : Array.isArray(value) ? 'an array' : 'an object'
  }
  if (typeof value === 'string') return JSON.stringify(value.length > 100 ? value.slice(0, 100) + '…' : value)
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  return String(value)
}
