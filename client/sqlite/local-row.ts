import { DriverError, type SqlParameter } from '../drivers/driver.js'
import type { ApplyContext } from './apply-context.js'
import { decodeRow, encodeRow, overlay, type Row } from './cell.js'
import { withoutTriggers } from './app-triggers.js'
import { expectedRow, expectRow } from './echo.js'
import { repairEchoes } from './echo-repair.js'
import { hasLocalWork } from './pending.js'
import { identifier, tableSql } from './quote.js'
import { hasKeySql, imageSql, keyColumnsSql, keySql } from './row-sql.js'
import type { TableInfo, UniqueIndex } from './table-info.js'
import { bindCell } from './wire-values.js'

/** Why a row could not be written; it goes to shadow under this name. */
export interface WriteProblem { reason: 'unique' | 'constraint', message: string }

/** The row on this device, also where it made way for a moment. */
export function readLocal (context: ApplyContext, table: TableInfo, key: string): Row | null {
  const parked = readParked(context, table, key)
  if (parked !== null) return parked
  const expected = expectedRow(context, table, key)
  if (expected === null) return null
  const found = context.driver.all<{ image: string }>(
    `select ${imageSql(table, 't')} as image from ${tableSql(table)} as t where ${hasKeySql(table, 't', '?')}`, [key])[0]
  const actual = found === undefined ? null : decodeRow(found.image)
  return expected === undefined ? actual : overlay(actual, expected)
}

export function deleteLocal (context: ApplyContext, table: TableInfo, key: string): void {
  unpark(context, table, key)
  const changes = despiteTriggers(context, table, () => deleteRow(context, table, key))
  expectRow(context, table, key, null)
  if (changes === 0) return
  context.removedFrom.add(table.name)
  context.changedTables.add(table.name)
}

/**
 * Writes the columns that `row` names; others keep their value, or get their default in a new row. Where a unique value is
 * still held by a row whose own change comes later in the window, that row makes way until then. `isQuiet`: the row itself
 * is known not to have made way.
 */
export function writeLocal (context: ApplyContext, table: TableInfo, key: string, row: Row, isQuiet = false): WriteProblem | null {
  const parked = isQuiet ? null : unpark(context, table, key)
  const before = parked ?? expectedRow(context, table, key) ?? null
  const cells = before === null ? row : overlay(before, row)
  const write = (): WriteProblem | null => despiteTriggers(context, table, () => tryWrite(context, table, key, cells))
  let problem = write()
  if (problem?.reason === 'unique' && (makeWay(context, table, key, cells) || repairEchoes(context))) problem = write()
  if (problem === null) {
    touch(context, table, key)
    expectRow(context, table, key, cells)
  } else if (parked !== null) park(context, table, key, parked)
  return problem
}

/** One statement; where it fails for a reason that is not SQLite's own, a trigger of the app is in the way, and it goes without. */
export function despiteTriggers<T> (context: ApplyContext, table: TableInfo, write: () => T): T {
  const triggers = context.appTriggers.onSynced.filter(trigger => trigger.table === table.name)
  if (triggers.length === 0) return write()
  try {
    const result = write()
    if (!isOfTrigger(table, result)) return result
  } catch (error) {
    // A function that only the app's own connection has, say; or RAISE in a trigger for deletions.
    if (!(error instanceof DriverError) || !['other', 'constraint'].includes(error.code) || !context.driver.inTransaction) throw error
  }
  return withoutTriggers(context.driver, triggers, write)
}

function isOfTrigger (table: TableInfo, result: unknown): boolean {
  const problem = result as WriteProblem | null
  if (problem?.reason === 'unique') return !problem.message.startsWith(`UNIQUE constraint failed: ${table.localName}.`) && !problem.message.startsWith('UNIQUE constraint failed: index ')
  return problem?.reason === 'constraint' && !/^(?:CHECK|NOT NULL) constraint failed|^cannot store /.test(problem.message)
}

/** Deletes a row, whoever has work on it. */
export function deleteRow (context: ApplyContext, table: TableInfo, key: string | Uint8Array): number {
  return context.driver.run(`delete from ${tableSql(table)} as t where ${isRowSql(table, key)}`, [key]).changes
}

/** A key that cannot travel is a blob, and found by looking at every row. */
function isRowSql (table: TableInfo, key: string | Uint8Array): string {
  return typeof key === 'string' ? hasKeySql(table, 't', '?') : `${keySql(table, 't')} = ?`
}

/** Writes a row, whoever has work on it. */
export function tryWrite (context: ApplyContext, table: TableInfo, key: string | Uint8Array, row: Row): WriteProblem | null {
  try {
    // A row that lacks columns may lack NOT NULL ones, over which an upsert trips even where the row exists.
    if (row.size >= table.columns.length || !update(context, table, key, row)) upsert(context, table, row)
    return null
  } catch (error) {
    if (!(error instanceof DriverError) || !context.driver.inTransaction) throw error
    if (error.code !== 'unique' && error.code !== 'constraint') throw error
    return { reason: error.code, message: error.message }
  }
}

function update (context: ApplyContext, table: TableInfo, key: string | Uint8Array, row: Row): boolean {
  const bound = bind(table, row).filter(({ name }) => !isKey(table, name))
  if (bound.length === 0) return context.driver.all(`select 1 from ${tableSql(table)} as t where ${isRowSql(table, key)}`, [key]).length > 0
  const sets = bound.map(({ name, sql }) => `${identifier(name)} = ${sql}`)
  const statement = `update${orAbort(table)} ${tableSql(table)} as t set ${sets.join(', ')} where ${isRowSql(table, key)}`
  return context.driver.run(statement, [...bound.map(({ value }) => value), key]).changes > 0
}

/** Only where the table itself says ON CONFLICT: the clause also overrides those of the app's triggers, which it would break. */
function orAbort (table: TableInfo): string {
  return table.hasConflictClause ? ' or abort' : ''
}

function upsert (context: ApplyContext, table: TableInfo, row: Row): void {
  const bound = bind(table, row)
  context.driver.run(upsertSql(table, bound, 1), bound.map(({ value }) => value))
}

/** Never REPLACE: it would remove other rows without a word. */
export function upsertSql (table: TableInfo, bound: ReadonlyArray<Pick<BoundColumn, 'name' | 'sql'>>, rows: number): string {
  const names = bound.map(({ name }) => identifier(name))
  const others = names.filter((_, i) => !isKey(table, bound[i]?.name as string))
  const action = others.length === 0 ? 'nothing' : `update set ${others.map(name => `${name} = excluded.${name}`).join(', ')}`
  const values = Array<string>(rows).fill(`(${bound.map(({ sql }) => sql).join(', ')})`).join(', ')
  return `insert${orAbort(table)} into ${tableSql(table)} (${names.join(', ')}) values ${values} ` +
    `on conflict (${keyColumnsSql(table)}) do ${action}`
}

function isKey (table: TableInfo, name: string): boolean {
  return table.key.some(column => column.name === name)
}

export interface BoundColumn { name: string, sql: string, value: SqlParameter }

/** The columns that a row names, in the order of the table, as they are bound. */
export function bind (table: TableInfo, row: Row): BoundColumn[] {
  const bound: BoundColumn[] = []
  for (const column of table.columns) {
    const cell = row.get(column.name)
    if (cell !== undefined) bound.push({ name: column.name, ...bindCell(column, cell) })
  }
  return bound
}

/** Parks the rows that hold a unique value of `row`, if each of them comes again in this window and carries no local work. */
function makeWay (context: ApplyContext, table: TableInfo, key: string, row: Row): boolean {
  const inTheWay = new Set<string>()
  const whole = overlay(readLocal(context, table, key), row)
  for (const index of table.uniques) {
    for (const other of holders(context, table, index, whole)) if (other !== key) inTheWay.add(other)
  }
  for (const other of inTheWay) {
    if (hasLocalWork(context.driver, table.name, other) || !context.comesAgain(table.name, other)) return false
  }
  for (const other of inTheWay) stepAside(context, table, other)
  return inTheWay.size > 0
}

function holders (context: ApplyContext, table: TableInfo, index: UniqueIndex, row: Row): string[] {
  const conditions: string[] = []
  const values: SqlParameter[] = []
  for (const { name, collation } of index.columns) {
    const column = table.byColumn.get(name)
    // A generated column: cannot be bound; matching on the others finds more rows than needed, which is safe.
    if (column === undefined) continue
    const { sql, value } = bindCell(column, row.get(name) ?? 'NULL')
    conditions.push(`t.${identifier(name)} = ${sql} collate ${identifier(collation)}`)
    values.push(value)
  }
  if (conditions.length === 0) return []
  return context.driver.all<{ key: string }>(
    `select ${keySql(table, 't')} as key from ${tableSql(table)} as t where ${conditions.join(' and ')}`, values).map(found => found.key)
}

/** Takes a row out of its table until it is written again in this transaction. */
export function stepAside (context: ApplyContext, table: TableInfo, key: string): void {
  const image = readLocal(context, table, key)
  if (image === null) return
  deleteLocal(context, table, key)
  park(context, table, key, image)
}

function park (context: ApplyContext, table: TableInfo, key: string, image: Row): void {
  context.driver.run('insert into _sync_parked (tbl, key, image) values (?, ?, ?) on conflict (tbl, key) do update set image = excluded.image',
    [table.name, key, encodeRow(image)])
}

/** The row as it was when it made way; null where it did not. */
export function readParked (context: ApplyContext, table: TableInfo, key: string): Row | null {
  const found = context.driver.all<{ image: string }>('select image from _sync_parked where tbl = ? and key = ?', [table.name, key])[0]
  return found === undefined ? null : decodeRow(found.image)
}

function unpark (context: ApplyContext, table: TableInfo, key: string): Row | null {
  const image = readParked(context, table, key)
  if (image !== null) context.driver.run('delete from _sync_parked where tbl = ? and key = ?', [table.name, key])
  return image
}

/** Rows that are still parked at the end of a window. */
export function parkedRows (context: ApplyContext): Array<{ table: string, key: string, row: Row }> {
  return context.driver.all<{ tbl: string, key: string, image: string }>('select tbl, key, image from _sync_parked')
    .map(({ tbl, key, image }) => ({ table: tbl, key, row: decodeRow(image) }))
}

/** Remembers a written row whose foreign keys must be looked at before the transaction ends. */
function touch (context: ApplyContext, table: TableInfo, key: string): void {
  context.changedTables.add(table.name)
  if (table.foreignKeys.length === 0) return
  context.driver.run('insert into _sync_touched (tbl, key) values (?, ?) on conflict do nothing', [table.name, key])
}
