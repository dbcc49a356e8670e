import type { SqlParameter } from '../drivers/driver.js'
import type { PageChange } from '../http/read-reply.js'
import { keyCells } from './key-text.js'
import { bind, type BoundColumn } from './local-row.js'
import { readPayload } from './payload.js'
import type { RowState } from './row-state.js'
import type { ColumnInfo, TableInfo } from './table-info.js'
import { bindCell, Unrepresentable } from './wire-values.js'

/** A server row, or its deletion, as it is bound to a statement. */
export interface BoundRow {
  key: string
  /** Equal for rows that one statement can write. */
  shape: string
  /** null for a deletion: its value is the key. */
  columns: ReadonlyArray<Pick<BoundColumn, 'name' | 'sql'>> | null
  values: readonly SqlParameter[]
  state: RowState
}

/** Reads a change for `writeRows`; null where it takes more than that. `known`: what was known of the row. */
export function readRow (table: TableInfo, change: PageChange, known: RowState | null): BoundRow | null {
  const { key, version, deleted } = change
  if (deleted) {
    return table.key.length === 1 ? { key, shape: 'deleted', columns: null, values: [key], state: { version, deleted, extra: null, jsonColumns: [] } } : null
  }
  if (change.hasPlainNumbers && (known === null || (known.extra === null && known.jsonColumns.length === 0))) {
    const values = plainValues(table, change)
    if (values !== null) return { key, shape: 'plain', columns: columnsOf(table), values, state: { version, deleted, extra: null, jsonColumns: [] } }
  }
  try {
    const { payload } = change
    if (payload === null) return null
    const { row, extra, jsonColumns } = readPayload(table, key, payload, known)
    const bound = bind(table, row)
    return {
      key,
      shape: bound.map(({ name, sql }) => `${sql} ${name}`).join('\n'),
      columns: bound,
      values: bound.map(({ value }) => value),
      state: { version, deleted, extra, jsonColumns }
    }
  } catch (error) {
    if (error instanceof Unrepresentable) return null
    throw error
  }
}

/**
 * The values of a payload that has just the columns of the table, and none that needs a second look: what `readPayload` and
 * `bindCell` would make of it, without the way through cells. null for every other payload.
 */
function plainValues (table: TableInfo, { key, members }: PageChange): SqlParameter[] | null {
  if (members === null) return null
  const values = keyValues(table, key)
  let named = 0
  for (const { name } of table.key) if (Object.hasOwn(members, name)) named++
  for (const column of table.columns) {
    if (isKey(table, column.name)) continue
    const value = plainValue(column, members[column.name])
    if (value === undefined) return null
    values.push(value)
    named++
  }
  return Object.keys(members).length === named ? values : null
}

/**
 * undefined: not one of the plain ones, or not there. A number is bound as one where its column settles what is stored; a text
 * in such a column only where no one could take it for a number.
 */
function plainValue ({ affinity, isBlob, isJson }: ColumnInfo, value: unknown): SqlParameter | undefined {
  if (value === null) return null
  if (isBlob || isJson) return undefined
  const isNumeric = affinity === 'integer' || affinity === 'numeric'
  switch (typeof value) {
    case 'string':
      if (value.includes('\0') || !value.isWellFormed()) return undefined
      return affinity === 'text' || affinity === 'none' || /[^\d\s+\-.eE]/.test(value) ? value : undefined
    case 'number': return isNumeric || affinity === 'real' ? value : affinity === 'text' ? String(value) : undefined
    case 'boolean': return isNumeric ? Number(value) : affinity === 'text' ? String(value) : undefined
    default: return undefined
  }
}

function keyValues (table: TableInfo, key: string): SqlParameter[] {
  const [first] = table.key
  if (table.key.length === 1 && first?.type === 'text') return [key]
  const cells = keyCells(table, key)
  return table.key.map(({ name }) => {
    const column = table.byColumn.get(name) as ColumnInfo
    return bindCell(column, cells.get(name) as string).value
  })
}

const columnsByTable = new WeakMap<TableInfo, Array<Pick<BoundColumn, 'name' | 'sql'>>>()

/** All columns, the key first: in the order of `plainValues`. */
function columnsOf (table: TableInfo): Array<Pick<BoundColumn, 'name' | 'sql'>> {
  let columns = columnsByTable.get(table)
  if (columns === undefined) {
    const names = [...table.key.map(({ name }) => name), ...table.columns.map(({ name }) => name).filter(name => !isKey(table, name))]
    columnsByTable.set(table, columns = names.map(name => ({ name, sql: '?' })))
  }
  return columns
}

function isKey (table: TableInfo, name: string): boolean {
  return table.key.some(column => column.name === name)
}
