import type { Driver } from '../drivers/driver.js'
import { NULL_CELL, type Cell, type Row } from './cell.js'
import { keyOfCells } from './key-text.js'
import type { Tables } from './open-file.js'
import { identifier, tableSql } from './quote.js'
import { keySql } from './row-sql.js'
import type { ForeignKey, TableInfo } from './table-info.js'
import { bindCell } from './wire-values.js'

export interface Reference { table: TableInfo, key: string }

/** Whether a foreign key leads to the parent's primary key, in whatever order, and not to another unique value of it. */
export function refersToKey (table: TableInfo, { parentColumns }: ForeignKey): boolean {
  return parentColumns.length === table.key.length && table.key.every(({ name }) => parentColumns.includes(name))
}

/** The row that a foreign key of `row` points at; null where it points nowhere, or at a unique value that no row here has. */
export function referredRow (driver: Driver, tables: Tables, foreignKey: ForeignKey, row: Row): Reference | null {
  const table = tables.get(foreignKey.parent)
  const cells = cellsOf(foreignKey, row)
  if (table === undefined || cells === null) return null
  const key = refersToKey(table, foreignKey)
    ? keyOfCells(table, table.key.map(({ name }) => cells[foreignKey.parentColumns.indexOf(name)] ?? NULL_CELL))
    : keyByUnique(driver, table, foreignKey, cells)
  return key === null ? null : { table, key }
}

/** The row that had the referred values before it was deleted or changed here. */
export function formerlyReferredRow (driver: Driver, tables: Tables, foreignKey: ForeignKey, row: Row): Reference | null {
  const table = tables.get(foreignKey.parent)
  const cells = cellsOf(foreignKey, row)
  if (table === undefined || cells === null) return null
  if (refersToKey(table, foreignKey)) return referredRow(driver, tables, foreignKey, row)
  const hadValue = foreignKey.parentColumns.map(() => 'exists (select 1 from json_each(p.image) as c where c.key = ? and c.value = ?)').join(' and ')
  const params = [table.name, ...foreignKey.parentColumns.flatMap((name, i) => [name, cells[i] as string])]
  const found = driver.all<{ key: string }>(
    `select p.key from _sync_pending as p where p.tbl = ? and typeof(p.key) = 'text' and p.image is not null and ${hadValue}
     union all select p.key from _sync_held as p where p.tbl = ? and typeof(p.key) = 'text' and p.image is not null and ${hadValue} limit 1`, [...params, ...params])[0]
  return found === undefined ? null : { table, key: found.key }
}

/** null where a column is NULL: then the row refers to nothing. */
function cellsOf ({ columns }: ForeignKey, row: Row): Cell[] | null {
  const cells = columns.map(column => row.get(column) ?? NULL_CELL)
  return cells.includes(NULL_CELL) ? null : cells
}

function keyByUnique (driver: Driver, table: TableInfo, { parentColumns }: ForeignKey, cells: readonly Cell[]): string | null {
  const bound = parentColumns.map((name, i) => {
    const column = table.byColumn.get(name)
    return column === undefined ? null : { name, ...bindCell(column, cells[i] as Cell) }
  })
  if (bound.includes(null)) return null // a generated column, or none
  const known = bound as Array<NonNullable<typeof bound[number]>>
  const found = driver.all<{ key: string | Uint8Array }>(
    `select ${keySql(table, 't')} as key from ${tableSql(table)} as t where ${known.map(({ name, sql }) => `t.${identifier(name)} = ${sql}`).join(' and ')} limit 1`,
    known.map(({ value }) => value))[0]
  return typeof found?.key === 'string' ? found.key : null
}
