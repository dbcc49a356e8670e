import { DriverError, type Driver, type SqlParameter } from '../drivers/driver.js'
import type { ApplyHost } from './apply-context.js'
import { knownColumns, decodeRow, encodeRow, NULL_CELL, overlay, UNKNOWN_CELL, type Row } from './cell.js'
import { readConflict, type StoredConflict, type UndoChoice } from './conflict-log.js'
import { identifier, tableSql } from './quote.js'
import { hasKeySql, imageSql } from './row-sql.js'
import { readNames } from './row-state.js'
import type { TableInfo } from './table-info.js'
import { transact } from './transaction.js'
import { bindCell } from './wire-values.js'

/**
 * What came of `undoConflict`. Where nothing was undone nothing was written. `not_found`: no such record (any more).
 * `table_not_open`: the client was not opened with this table. `changed_since`: the row is not as it was decided: somebody has
 * edited, deleted or made it since. `nothing_to_undo`: the row holds those values already. `refused`: SQLite says no, a
 * unique value is taken perhaps, or rows refer to it.
 */
export type Undone =
  | { undone: true }
  | { undone: false, reason: 'not_found' | 'table_not_open' | 'changed_since' | 'nothing_to_undo' | 'refused', message: string }

/**
 * Writes another row of a record in the place of what was decided, with the triggers awake: the edit is captured and sent
 * like one of the app's, and foreign keys act as they do for the app.
 */
export function undoConflict (host: ApplyHost, id: number, choice: UndoChoice, overwrite: boolean): Undone {
  const { driver } = host
  const record = readConflict(driver, id)
  if (record === null) return not('not_found', 'There is no such record.')
  try {
    const undone = transact(driver, () => {
      const table = host.refreshTables().get(record.tbl)
      return table === undefined
        ? not('table_not_open', `The client was opened without table ${record.tbl}.`)
        : undo(driver, table, record, choice, overwrite)
    })
    if (undone.undone) host.afterCommit(new Set([record.tbl]))
    return undone
  } catch (error) {
    if (error instanceof DriverError && (error.code === 'unique' || error.code === 'constraint')) return not('refused', error.message)
    throw error
  }
}

function undo (driver: Driver, table: TableInfo, record: StoredConflict, choice: UndoChoice, overwrite: boolean): Undone {
  if (record.kind === 'dropped') return not('nothing_to_undo', 'Nothing was decided: the record is what is left of a change whose table or columns were dropped.')
  const current = readRow(driver, table, record.key)
  const decided = decodeRow(record.result)
  const recorded = decodeRow(record[choice])
  // What nobody knew (a rebuild found two pasts) cannot be put back.
  const chosen = knownColumns(recorded)
  const columns = readNames(record.columns).filter(name => recorded?.get(name) !== UNKNOWN_CELL)
  const target = chosen === null || decided === null || (current === null && overwrite) ? chosen : only(chosen, columns)

  if (isAsIn(table, current, target)) return not('nothing_to_undo', 'The row holds that already.')
  // Where a row comes or goes all of it counts; else only what is written over.
  const seen = target === null || decided === null ? decided : only(decided, columns)
  if (!overwrite && !isAsIn(table, current, seen)) return not('changed_since', current === null ? 'The row is gone.' : 'The row was edited since.')
  writeRow(driver, table, record.key, current, target)
  const result = target === null ? null : encodeRow(overlay(current, target))
  driver.run('update _sync_conflict set undone = ?, result = ? where id = cast(? as integer)', [choice, result, String(record.id)])
  return { undone: true }
}

function not (reason: (Undone & { undone: false })['reason'], message: string): Undone {
  return { undone: false, reason, message }
}

function only (row: Row, columns: readonly string[]): Row {
  return new Map(columns.map(column => [column, row.get(column) ?? NULL_CELL]))
}

/** Whether the row holds what `wanted` says of the columns that the table still has. */
function isAsIn (table: TableInfo, current: Row | null, wanted: Row | null): boolean {
  if (current === null || wanted === null) return current === wanted
  return [...wanted].every(([column, cell]) => !table.byColumn.has(column) || current.get(column) === cell)
}

function readRow (driver: Driver, table: TableInfo, key: string): Row | null {
  const found = driver.all<{ image: string }>(
    `select ${imageSql(table, 't')} as image from ${tableSql(table)} as t where ${hasKeySql(table, 't', '?')}`, [key])[0]
  return found === undefined ? null : decodeRow(found.image)
}

/** Never REPLACE: another row that holds a unique value stays, and the edit is refused. */
function writeRow (driver: Driver, table: TableInfo, key: string, current: Row | null, target: Row | null): void {
  const name = tableSql(table)
  if (target === null) {
    driver.run(`delete from ${name} as t where ${hasKeySql(table, 't', '?')}`, [key])
    return
  }
  const bound: Array<{ name: string, sql: string, value: SqlParameter }> = []
  for (const column of table.columns) {
    const cell = target.get(column.name)
    if (cell !== undefined && (current === null || cell !== current.get(column.name))) bound.push({ name: identifier(column.name), ...bindCell(column, cell) })
  }
  const values = bound.map(({ value }) => value)
  if (current === null) driver.run(`insert or abort into ${name} (${bound.map(column => column.name).join(', ')}) values (${bound.map(({ sql }) => sql).join(', ')})`, values)
  else driver.run(`update or abort ${name} as t set ${bound.map(column => `${column.name} = ${column.sql}`).join(', ')} where ${hasKeySql(table, 't', '?')}`, [...values, key])
}
