import { DriverError } from '../drivers/driver.js'
import type { ApplyContext } from './apply-context.js'
import { upsertSql } from './local-row.js'
import { identifier, tableSql } from './quote.js'
import type { BoundRow } from './read-row.js'
import { binary, storedSql } from './row-sql.js'
import type { KeyColumn, TableInfo } from './table-info.js'

/**
 * Writes or deletes rows of one shape by one statement: all of them, or none, where a rule of the table forbids one (false).
 * For rows without local work in a table without triggers of the app.
 */
export function writeRows (context: ApplyContext, table: TableInfo, rows: readonly BoundRow[]): boolean {
  const { driver } = context
  const columns = rows[0]?.columns ?? null
  const values = rows.length === 1 ? rows[0]?.values ?? [] : rows.flatMap(row => row.values)
  try {
    const { changes } = driver.run(columns === null ? deleteSql(table, rows.length) : textOf(columns, rows.length, () => upsertSql(table, columns, rows.length)), values)
    if (columns === null && changes > 0) context.removedFrom.add(table.name)
    if (columns !== null || changes > 0) context.changedTables.add(table.name)
  } catch (error) {
    if (!(error instanceof DriverError) || !driver.inTransaction) throw error
    if (error.code !== 'unique' && error.code !== 'constraint') throw error
    return false
  }
  return true
}

/** Remembers written rows: their parents are looked for before the transaction ends. */
export function touchRows (context: ApplyContext, table: TableInfo, rows: readonly BoundRow[]): void {
  const keys = rows.filter(({ columns }) => columns !== null).map(({ key }) => key)
  if (table.foreignKeys.length === 0 || keys.length === 0) return
  context.driver.run('insert into _sync_touched (tbl, key) select ?, value from json_each(?) where true on conflict do nothing', [table.name, JSON.stringify(keys)])
}

function deleteSql (table: TableInfo, rows: number): string {
  const { name, type } = table.key[0] as KeyColumn
  return `delete from ${tableSql(table)} as t where t.${identifier(name)}${binary(type)} in (${Array<string>(rows).fill(storedSql({ name, type }, '?')).join(', ')})`
}

const texts = new WeakMap<object, Map<number, string>>()

/** The text for so many rows of these columns, made once. */
function textOf (columns: object, rows: number, make: () => string): string {
  let bySize = texts.get(columns)
  if (bySize === undefined) texts.set(columns, bySize = new Map())
  let text = bySize.get(rows)
  if (text === undefined) bySize.set(rows, text = make())
  return text
}
