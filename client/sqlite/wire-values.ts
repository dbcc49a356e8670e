import { base64OfHex, bytesOfHex, hexOfBase64 } from './bytes.js'
import { blobCell, cellKind, hexOf, NULL_CELL, realCell, realOf, textCell, textOf, type Cell } from './cell.js'
import { fitsDouble, inInt64 } from './decimal.js'
import type { SqlParameter } from '../drivers/driver.js'
import type { ColumnInfo } from './table-info.js'
import { isWireUuid } from './uuid.js'

/** A value that would not arrive as it is. The row is held (or kept in shadow) under this message; it is never altered. */
export class Unrepresentable extends Error {
  constructor (column: ColumnInfo, why: string) {
    super(`Column ${column.name} holds ${why}.`)
  }
}

/**
 * A cell as raw JSON. The value travels as the type that is stored, not as the one that is declared: the text 'abc' in an
 * INTEGER column is a JSON string. `asJson`: the server's last value of this TEXT column was a JSON object or array.
 */
export function encodeCell (column: ColumnInfo, cell: Cell, asJson: boolean): string {
  switch (cellKind(cell)) {
    case 'null': return 'null'
    case 'integer': return cell
    case 'real':
      if (!Number.isFinite(realOf(cell))) throw new Unrepresentable(column, 'an infinite number, which JSON does not have')
      return cell
    case 'text': return encodeText(column, textOf(cell), asJson)
    case 'blob':
      if (!column.isBlob) throw new Unrepresentable(column, `a blob although it is declared ${column.affinity === 'none' ? 'without a type' : 'with another type'}: it would arrive as text`)
      return JSON.stringify(base64OfHex(hexOf(cell)))
    case 'nul-text': throw new Unrepresentable(column, 'a text that contains NUL, which PostgreSQL cannot hold')
  }
}

function encodeText (column: ColumnInfo, text: string, asJson: boolean): string {
  if (column.isBlob) throw new Unrepresentable(column, 'a text although it is declared BLOB: it would arrive as a blob')
  if (column.isJson) {
    if (!isJsonText(text)) throw new Unrepresentable(column, 'a text that is not JSON although it is declared as JSON')
    if (text.trim() === 'null') throw new Unrepresentable(column, 'the JSON value null, which would arrive as NULL')
    if (!isStorableJson(text)) throw new Unrepresentable(column, 'JSON with a NUL character or half of a surrogate pair in a text, which PostgreSQL cannot hold')
    return text
  }
  // Any other JSON value would not come back as this text: "a" without its quotes, null as NULL.
  return asJson && /^\s*[{[]/.test(text) && isJsonText(text) && isStorableJson(text) ? text : JSON.stringify(text)
}

/** Only an escape can spell what PostgreSQL refuses; most texts have none. */
function isStorableJson (text: string): boolean {
  if (!/\\u(?:0000|d[89a-f])/i.test(text)) return true
  let isStorable = true
  const look = (value: string): void => { if (value.includes('\0') || !value.isWellFormed()) isStorable = false }
  JSON.parse(text, (key, value: unknown) => {
    look(key)
    if (typeof value === 'string') look(value)
    return value
  })
  return isStorable
}

function isJsonText (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A raw JSON value as the cell that SQLite would store in this column, or `Unrepresentable` where it would store another. */
export function decodeValue (column: ColumnInfo, raw: string): Cell {
  const first = raw[0] as string
  if (first === 'n') return NULL_CELL
  if (first === '-' || (first >= '0' && first <= '9')) return decodeNumber(column, raw)
  if (column.isJson) return textCell(raw)
  switch (first) {
    case '"': return decodeText(column, JSON.parse(raw) as string)
    case 't':
    case 'f': return column.affinity === 'text' ? textCell(raw) : column.affinity === 'real' ? (first === 't' ? '1.0' : '0.0') : (first === 't' ? '1' : '0')
    default:
      if (column.isBlob) throw new Unrepresentable(column, 'a JSON object or array in the server\'s row although it is declared BLOB')
      return textCell(raw)
  }
}

function decodeText (column: ColumnInfo, text: string): Cell {
  if (column.isBlob) {
    // A reference to a uuid key comes as base64 from a device and dashed from PostgreSQL.
    const hex = isWireUuid(text.toLowerCase()) ? text.replaceAll('-', '') : hexOfBase64(text)
    if (hex === null) throw new Unrepresentable(column, 'a text in the server\'s row that is not base64')
    return blobCell(hex)
  }
  if (text.includes('\0') || !text.isWellFormed()) throw new Unrepresentable(column, 'a text in the server\'s row that SQLite cannot hold')
  if (column.affinity === 'text' || column.affinity === 'none') return textCell(text)
  if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/.test(text)) return decodeNumber(column, text)
  // White space as SQLite has it: a number between other blanks stays a text.
  if (/^[ \t-\r]*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[ \t-\r]*$/.test(text)) {
    throw new Unrepresentable(column, `the text ${JSON.stringify(text)} in the server's row, which SQLite would turn into another number`)
  }
  return textCell(text)
}

function decodeNumber (column: ColumnInfo, literal: string): Cell {
  if (column.affinity === 'text') return textCell(literal)
  if (/^-?\d+$/.test(literal) && column.affinity !== 'real') {
    if (!inInt64(literal)) throw new Unrepresentable(column, `the integer ${literal} in the server's row, which has more than 64 bits. Declare it TEXT`)
    return literal === '-0' ? '0' : literal
  }
  if (!fitsDouble(literal)) throw new Unrepresentable(column, `the number ${literal} in the server's row, which a double would round. Declare it TEXT`)
  const value = Number(literal)
  const becomesInteger = (column.affinity === 'integer' || column.affinity === 'numeric') && Number.isInteger(value) && Math.abs(value) < 2 ** 63
  return becomesInteger ? BigInt(value).toString() : realCell(value)
}

/** Whether the raw JSON value is one that a TEXT column shows as its JSON text. */
export function isJsonValue (column: ColumnInfo, raw: string): boolean {
  return !column.isJson && (raw[0] === '{' || raw[0] === '[')
}

/**
 * SQL and parameter that store a cell exactly. An integer travels as text, which the affinity of its column turns back;
 * where there is none, a cast does. A number is bound as REAL by some drivers and, where it is whole, as INTEGER by others.
 */
export function bindCell (column: ColumnInfo, cell: Cell): { sql: string, value: SqlParameter } {
  switch (cellKind(cell)) {
    case 'null': return { sql: '?', value: null }
    case 'integer': return { sql: column.affinity === 'none' ? 'cast(? as integer)' : '?', value: cell }
    case 'real': return { sql: column.affinity === 'none' ? 'cast(? as real)' : '?', value: realOf(cell) }
    case 'text': return { sql: '?', value: textOf(cell) }
    case 'blob': return { sql: '?', value: bytesOfHex(hexOf(cell)) }
    case 'nul-text': return { sql: 'cast(? as text)', value: bytesOfHex(hexOf(cell)) }
  }
}
