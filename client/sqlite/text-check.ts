import type { Driver } from '../drivers/driver.js'
import { hexOfText } from './bytes.js'
import { cellKind, textOf, type Row } from './cell.js'
import { identifier, tableSql } from './quote.js'
import { hasKeySql } from './row-sql.js'
import type { TableInfo } from './table-info.js'

/**
 * SQLite stores any bytes as text. Those that are no UTF-8 reach JavaScript as U+FFFD, which is also a character of its own:
 * only the bytes tell. Names the column; null where all is well.
 */
export function textProblem (driver: Driver, table: TableInfo, key: string, row: Row): string | null {
  for (const [column, cell] of row) {
    if (cellKind(cell) !== 'text' || !cell.includes('\ufffd')) continue
    const stored = driver.all<{ hex: string }>(
      `select hex(t.${identifier(column)}) as hex from ${tableSql(table)} as t where ${hasKeySql(table, 't', '?')}`, [key])[0]?.hex
    if (stored !== hexOfText(textOf(cell))) return `Column ${column} holds a text that is not valid UTF-8.`
  }
  return null
}
