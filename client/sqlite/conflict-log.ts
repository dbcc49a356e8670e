import type { ConflictKind } from '../conflict/merge.js'
import type { Driver } from '../drivers/driver.js'
import { MAX_CONFLICTS_KEPT } from '../limits.js'
import { decodeRow, encodeRow, type Row } from './cell.js'
import { readNames } from './row-state.js'
import { valuesOf, type RowValues } from './values.js'

export interface ConflictEntry {
  kind: ConflictKind
  columns: string[]
  rule: string
  before: Row | null
  mine: Row | null
  theirs: Row | null
  result: Row | null
}

/** An automatic decision, as `conflicts()` shows it. */
export interface ConflictRecord {
  id: number
  table: string
  key: string
  kind: ConflictKind
  /** The columns that both sides changed, or that the other side changed against a deletion. */
  columns: string[]
  /** The rule that decided. */
  rule: string
  /** The server's row before either change. */
  before: RowValues | null
  /** This device's row. */
  mine: RowValues | null
  /** The server's row. */
  theirs: RowValues | null
  /** What the device holds since. */
  result: RowValues | null
  /** When it was decided, ISO 8601, by the device's clock: for people. */
  at: string
}

export function recordConflict (driver: Driver, table: string, key: string, entry: ConflictEntry): void {
  const text = (row: Row | null): string | null => row === null ? null : encodeRow(row)
  driver.run(
    'insert into _sync_conflict (tbl, key, kind, columns, rule, before, mine, theirs, result, at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    [table, key, entry.kind, JSON.stringify(entry.columns), entry.rule, text(entry.before), text(entry.mine), text(entry.theirs), text(entry.result), new Date().toISOString()])
  driver.run('delete from _sync_conflict where id <= (select max(id) from _sync_conflict) - ?', [MAX_CONFLICTS_KEPT])
}

interface StoredConflict {
  id: number
  tbl: string
  key: string
  kind: ConflictKind
  columns: string
  rule: string
  before: string | null
  mine: string | null
  theirs: string | null
  result: string | null
  at: string
}

/** The record of decisions, oldest first; those after `after` only. */
export function readConflicts (driver: Driver, after = 0): ConflictRecord[] {
  return driver.all<StoredConflict>('select id, tbl, key, kind, columns, rule, before, mine, theirs, result, at from _sync_conflict where id > cast(? as integer) order by id', [String(after)])
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
