/**
 * A cell is one value, exactly, as text. It is the one form in which images, local rows and server rows are compared and
 * merged, so that like meets like:
 *
 *   NULL          null
 *   42            integer, all digits to 2^63
 *   1.5  1e+21    real, the shortest text that gives the same double; always with a dot or an exponent
 *   'it''s'       text
 *   X'00FF'       blob
 *   T'610062'     text that contains NUL, as the hex of its bytes (quote() would end it there)
 *
 * SQLite writes cells with `quote()` (see row-sql.ts); its reals may have another spelling, which `canonicalCell` evens out.
 */
export type Cell = string

/** A row by column name. A column that is absent is one about which this row says nothing. */
export type Row = ReadonlyMap<string, Cell>

export type CellKind = 'null' | 'integer' | 'real' | 'text' | 'blob' | 'nul-text'

export const NULL_CELL: Cell = 'NULL'
/** In an image: the server's value before is not known, so that any value of either side counts as a change. Never in a row. */
export const UNKNOWN_CELL: Cell = '?'
const INFINITY = '9.0e+999' // as quote() writes it

export function cellKind (cell: Cell): CellKind {
  switch (cell[0]) {
    case 'N': return 'null'
    case "'": return 'text'
    case 'X': return 'blob'
    case 'T': return 'nul-text'
    default: return /[.eE]/.test(cell) ? 'real' : 'integer'
  }
}

export function realCell (value: number): Cell {
  if (value === Infinity) return INFINITY
  if (value === -Infinity) return '-' + INFINITY
  if (value === 0) return '0.0' // SQLite keeps no -0.0
  const text = String(value)
  return /[.e]/.test(text) ? text : text + '.0'
}

export function realOf (cell: Cell): number {
  return Number(cell) // the text of infinity overflows to it
}

export function textCell (text: string): Cell {
  return `'${text.replaceAll("'", "''")}'`
}

export function textOf (cell: Cell): string {
  return cell.slice(1, -1).replaceAll("''", "'")
}

export function blobCell (hex: string): Cell {
  return `X'${hex.toUpperCase()}'`
}

/** Hex digits of a blob cell or of a text with NUL. */
export function hexOf (cell: Cell): string {
  return cell.slice(2, -1)
}

export function canonicalCell (cell: Cell): Cell {
  const first = cell.charCodeAt(0)
  const isNumber = first === 45 || (first >= 48 && first <= 57)
  return isNumber && cellKind(cell) === 'real' ? realCell(Number(cell)) : cell
}

/** A row as one text, for images and records: a JSON object of cells, made by hand so that any column name is safe. */
export function encodeRow (row: Row): string {
  const members: string[] = []
  for (const [column, cell] of row) members.push(JSON.stringify(column) + ':' + JSON.stringify(cell))
  return '{' + members.join(',') + '}'
}

export function decodeRow (text: string): Row
export function decodeRow (text: string | null): Row | null
export function decodeRow (text: string | null): Row | null {
  if (text === null) return null
  const row = new Map<string, Cell>()
  for (const [column, cell] of Object.entries(JSON.parse(text) as Record<string, Cell>)) row.set(column, canonicalCell(cell))
  return row
}

/** A row without the columns that nobody knows. */
export function knownColumns (row: Row | null): Row | null {
  return row === null ? null : new Map([...row].filter(([, cell]) => cell !== UNKNOWN_CELL))
}

/** `over` laid on `under`: columns that `over` does not have keep their value. */
export function overlay (under: Row | null, over: Row): Row {
  return under === null ? over : new Map([...under, ...over])
}

/** Whether a whole local row holds just what the server's row says; a column of which the server's row says nothing counts as NULL. */
export function equalRows (local: Row | null, server: Row | null): boolean {
  if (local === null || server === null) return local === server
  for (const [column, cell] of local) {
    if (cell !== (server.get(column) ?? NULL_CELL)) return false
  }
  return true
}
