import { isWritable, type TableSpec } from '../materializer/table-spec.js'
import type { RowWrite } from '../materializer/row-write.js'
import type { Write } from './decide.js'
import { columnsOf } from './server-changes.js'

export interface RowWrites {
  rows: RowWrite[]
  /** Whether the tables have the rows once these are written, by row. */
  inTable: Map<string, boolean>
  /** Rows that the tables have of the scope before the batch or during it. */
  held: Set<string>
  /** Rows that are inserted without a column that has a default. */
  defaulted: Set<string>
}

export function isWrittenToTable ({ materialize, materializer }: TableSpec): boolean {
  return materialize || materializer !== null
}

/**
 * The changes as the materializer writes them. A row that failed is in the stream and not, or not so, in its table: `failed`
 * says which, by row, and `failures` are the changes of this batch that failed. What the table does not have is inserted and
 * never updated or deleted: a row under its key would be somebody else's.
 */
export function toRowWrites (writes: Write[], failed: ReadonlyMap<string, boolean>, failures: ReadonlyMap<number, unknown>): RowWrites {
  const inTable = new Map<string, boolean>()
  const held = new Set<string>()
  const defaulted = new Set<string>()
  const rows: RowWrite[] = []
  for (const write of writes) {
    const { index, row, table, op } = write.change
    if (!isWrittenToTable(table)) continue
    const isThere = inTable.get(row) ?? failed.get(row) ?? write.hadLiveRow
    const fails = failures.has(index)
    if (isThere || (!fails && op !== 'DELETE')) held.add(row)
    inTable.set(row, fails ? isThere : op !== 'DELETE')
    if (fails || (!isThere && op === 'DELETE')) continue
    const rowWrite = toRowWrite(write, rows.length, isThere)
    rows.push(rowWrite)
    if (rowWrite.verb === 'insert' && hasAbsentDefault(rowWrite)) defaulted.add(row)
  }
  return { rows, inTable, held, defaulted }
}

function toRowWrite ({ change, hadLiveRow, version, stored }: Write, place: number, isThere: boolean): RowWrite {
  const { index, row, table, op, pk, columns, parents } = change
  const isWhole = hadLiveRow && !isThere && stored.text !== null
  return {
    index,
    place,
    row,
    table,
    pk,
    version,
    payload: isWhole ? stored.text : change.payload,
    whole: stored.text,
    columns: isWhole ? columnsOf(table, stored.text as string).filter(name => isWritable(table, name)) : columns,
    isWhole,
    hadRow: isThere,
    verb: op === 'DELETE' ? 'delete' : isThere ? 'update' : 'insert',
    references: parents.map(({ constraint, name }) => ({ constraint, name }))
  }
}

function hasAbsentDefault ({ table, columns }: RowWrite): boolean {
  for (const { name, hasDefault } of table.columns.values()) if (hasDefault && !columns.includes(name)) return true
  return false
}

/** Pairs of rows of which one refers to the other. */
export function tiesOf (writes: Write[]): Array<[string, string]> {
  return writes.flatMap(({ change }) => change.parents.map(({ row }): [string, string] => [change.row, row]))
}
