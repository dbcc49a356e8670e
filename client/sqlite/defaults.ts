import type { Driver } from '../drivers/driver.js'
import { decodeRow, NULL_CELL, type Cell, type Row } from './cell.js'
import { cellSql } from './row-sql.js'
import type { TableInfo } from './table-info.js'

/** What ADD COLUMN puts into rows that were there: the default, NULL without one. */
export function defaultsOf (driver: Driver, table: TableInfo): Row {
  const defaults = new Map<string, Cell>()
  for (const { name, sql } of driver.all<{ name: string, sql: string | null }>("select name, dflt_value as sql from pragma_table_xinfo(?, 'main') where hidden = 0", [table.localName])) {
    const column = table.byColumn.get(name)
    if (sql === null || column === undefined) continue
    const type = column.affinity === 'none' ? 'blob' : column.affinity
    // Through a column of the same affinity, as in the table itself.
    const value = column.affinity === 'none' ? '(d.v)' : `cast((d.v) as ${type})`
    const cell = driver.all<{ cell: string }>(`select ${cellSql(value)} as cell from (select (${sql}) as v) as d`)[0]?.cell
    if (cell !== undefined) defaults.set(name, decodeRow(JSON.stringify({ c: cell })).get('c') ?? NULL_CELL)
  }
  return defaults
}

/**
 * `mine` as the base for a server's row that speaks of the columns `said`, and did not come of it. Columns of which the server
 * says nothing are empty there, whatever is here: the row was made by a version of the app that does not have them. Only what
 * an update of the app puts into every row (the default) says no more than nothing, and stays.
 */
export function baseFrom (driver: Driver, table: TableInfo, mine: Row, said: { has: (column: string) => boolean }): Row {
  const isShared = ([column, cell]: [string, Cell]): boolean => said.has(column) || cell === NULL_CELL
  if ([...mine].every(isShared)) return mine
  const defaults = defaultsOf(driver, table)
  return new Map([...mine].filter(entry => isShared(entry) || entry[1] === defaults.get(entry[0])))
}
