import { DriverError, type Driver } from '../drivers/driver.js'
import { decodeRow, NULL_CELL, type Cell, type Row } from './cell.js'
import { defaultSql } from './quote.js'
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
    const cell = evaluate(driver, `select ${cellSql(value)} as cell from (select (${defaultSql(sql)}) as v) as d`)
    if (cell !== undefined) defaults.set(name, decodeRow(JSON.stringify({ c: cell })).get('c') ?? NULL_CELL)
  }
  return defaults
}

/** A function of the app that this connection does not have makes no default: ADD COLUMN would not take it either. */
function evaluate (driver: Driver, sql: string): string | undefined {
  try {
    return driver.all<{ cell: string }>(sql)[0]?.cell
  } catch (error) {
    if (error instanceof DriverError && error.code === 'other') return undefined
    throw error
  }
}

/**
 * The server's row as this device has it. Of a column that `said` does not name the server has nothing, whatever is here or was
 * sent: the row was made by a version of the app without it. Only what an update of the app puts into every row, the default,
 * is no more than nothing either: it is taken over from `mine`.
 */
export function wholeRow (driver: Driver, table: TableInfo, mine: Row | null, said: Row): Row {
  const unsaid = [...mine ?? []].filter(([column]) => !said.has(column))
  const isEmpty = unsaid.every(([, cell]) => cell === NULL_CELL)
  const defaults = isEmpty ? null : defaultsOf(driver, table)
  return new Map([...unsaid.filter(([column, cell]) => cell === NULL_CELL || cell === defaults?.get(column)), ...said])
}
