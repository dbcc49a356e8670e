import { bytesOfHex } from './bytes.js'
import { cellKind, hexOf, knownColumns, realOf, textOf, type Cell, type Row } from './cell.js'

/** A value as the app sees it; integers that a number would round are bigints. */
export type SqlValue = null | number | bigint | string | Uint8Array

export type RowValues = Record<string, SqlValue>

export function valuesOf (row: Row | null): RowValues | null {
  const known = knownColumns(row)
  return known === null ? null : Object.fromEntries([...known].map(([column, cell]) => [column, valueOf(cell)]))
}

export function valueOf (cell: Cell): SqlValue {
  switch (cellKind(cell)) {
    case 'null': return null
    case 'integer': return Number.isSafeInteger(Number(cell)) ? Number(cell) : BigInt(cell)
    case 'real': return realOf(cell)
    case 'text': return textOf(cell)
    case 'blob': return bytesOfHex(hexOf(cell))
    case 'nul-text': return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytesOfHex(hexOf(cell)))
  }
}
