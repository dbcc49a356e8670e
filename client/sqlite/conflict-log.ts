import type { ConflictKind, RuleName } from '../conflict/merge.js'
import type { Driver } from '../drivers/driver.js'
import { MAX_CONFLICTS_KEPT } from '../limits.js'
import { decodeRow, encodeRow, type Row } from './cell.js'
import { readNames } from './row-state.js'
import type { AnyDatabase, ColumnName, FoldedName, RowOf, TableName } from '../table-types.js'
import { valuesOf } from './values.js'

export interface ConflictEntry {
  kind: ConflictKind
  columns: string[]
  rule: RuleName
  before: Row | null
  mine: Row | null
  theirs: Row | null
  result: Row | null
}

/** An automatic decision, as `conflicts()` shows it: by the name of its table, so that its rows have their columns. */
export type ConflictRecord<Database = AnyDatabase> = { [Table in TableName<Database>]: RecordOf<FoldedName<Table>, ColumnName<Database, Table>, RowOf<Database, Table>> }[TableName<Database>]

interface RecordOf<Table extends string, Column extends string, Values> {
  id: number
  table: Table
  key: string
  kind: ConflictKind
  /** The columns that were decided: those that both sides changed, what else a resolver set, or what the other side changed against a deletion. */
  columns: Column[]
  /** What decided. */
  rule: RuleName
  /** The server's row before either change. */
  before: Values | null
  /** This device's row. */
  mine: Values | null
  /** The server's row. */
  theirs: Values | null
  /** What the device held then; after `undoConflict`, what it put there. */
  result: Values | null
  /** When it was decided, ISO 8601, by the device's clock: for people. */
  at: string
  /** Which row `undoConflict` took instead; null where the decision stands. */
  undone: UndoChoice | null
}

/** A row of a record. */
export type UndoChoice = 'mine' | 'theirs' | 'before'

export function recordConflict (driver: Driver, table: string, key: string, entry: ConflictEntry): void {
  const text = (row: Row | null): string | null => row === null ? null : encodeRow(row)
  driver.run(
    'insert into _sync_conflict (tbl, key, kind, columns, rule, before, mine, theirs, result, at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    [table, key, entry.kind, JSON.stringify(entry.columns), entry.rule, text(entry.before), text(entry.mine), text(entry.theirs), text(entry.result), new Date().toISOString()])
  driver.run('delete from _sync_conflict where id <= (select max(id) from _sync_conflict) - ?', [MAX_CONFLICTS_KEPT])
}

export interface StoredConflict {
  id: number
  tbl: string
  key: string
  kind: ConflictKind
  columns: string
  rule: RuleName
  before: string | null
  mine: string | null
  theirs: string | null
  result: string | null
  at: string
  undone: UndoChoice | null
}

const COLUMNS = 'id, tbl, key, kind, columns, rule, before, mine, theirs, result, at, undone'

/** The record of decisions, oldest first; those after `after` only. */
export function readConflicts (driver: Driver, after = 0): ConflictRecord[] {
  return driver.all<StoredConflict>(`select ${COLUMNS} from _sync_conflict where id > cast(? as integer) order by id`, [String(after)])
    .map(({ tbl, columns, before, mine, theirs, result, ...rest }) => ({
      ...rest,
      table: tbl,
      columns: readNames(columns),
      before: valuesOf(decodeRow(before)),
      mine: valuesOf(decodeRow(mine)),
      theirs: valuesOf(decodeRow(theirs)),
      result: valuesOf(decodeRow(result))
    }))
}

export function readConflict (driver: Driver, id: number): StoredConflict | null {
  return driver.all<StoredConflict>(`select ${COLUMNS} from _sync_conflict where id = cast(? as integer)`, [String(id)])[0] ?? null
}

/** Takes records out of the list: these, those decided before a time, or all. Returns how many. */
export function forgetConflicts (driver: Driver, which: number | readonly number[] | { before: Date } | undefined): number {
  if (which === undefined) return driver.run('delete from _sync_conflict').changes
  if (typeof which === 'object' && 'before' in which) return driver.run('delete from _sync_conflict where at < ?', [which.before.toISOString()]).changes
  return driver.run('delete from _sync_conflict where id in (select value from json_each(?))', [JSON.stringify([which].flat())]).changes
}
