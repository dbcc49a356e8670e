import { NULL_CELL, type Cell, type Row } from '../sqlite/cell.js'

/** Who wins a column that both sides changed. */
export type ConflictRule = 'serverWins' | 'clientWins'

/** Who wins where one side deleted a row that the other edited. `editWins`, `deleteWins`: whichever side did that. */
export type DeleteRule = ConflictRule | 'editWins' | 'deleteWins'

/**
 * `update-update`: both sides changed these columns. `insert-insert`: both sides made a row with this key. `update-delete`:
 * edited here, deleted on the server. `delete-update`: deleted here, edited on the server. `parent-restored`: deleted here,
 * while another device gave it a child. `dropped`: changed here, and could not be sent before a migration dropped the table
 * or the columns; nothing was decided, the record is what is left of it.
 */
export type ConflictKind = 'update-update' | 'insert-insert' | 'update-delete' | 'delete-update' | 'parent-restored' | 'dropped'

/** What decided, in a record: a rule by its name, the app's function (`resolver`), a child that needs its parent (`children`), or the app's `migration`. */
export type RuleName = DeleteRule | 'resolver' | 'children' | 'migration'

export interface Merged {
  /** The row as it shall be on this device; null: there shall be none. */
  result: Row | null
  /** What had to be decided by rule; null where both sides' changes fit together. */
  conflict: { kind: ConflictKind, columns: string[] } | null
}

/**
 * Three-way merge of a row: `base` is the server's row that the local edit began from, null where there was none. A change
 * on one side stands; the same change on both sides is one change; two different changes of a column go to `rule`, an edit
 * against a deletion to `deleted`.
 */
export function merge (base: Row | null, local: Row | null, server: Row | null, rule: ConflictRule, deleted: DeleteRule = rule): Merged {
  if (local === null && server === null) return settled(null)
  if (base === null) {
    if (local === null) return settled(server)
    if (server === null) return settled(local)
    return mergeColumns(null, local, server, rule)
  }
  if (local === null) {
    if (sameWhereBothSpeak(base, server as Row)) return settled(null)
    return { result: keepsDeletion(deleted) ? null : server, conflict: { kind: 'delete-update', columns: changedColumns(base, server as Row) } }
  }
  if (server === null) {
    if (sameWhereBothSpeak(base, local)) return settled(null)
    return { result: keepsEdit(deleted) ? local : null, conflict: { kind: 'update-delete', columns: changedColumns(base, local) } }
  }
  return mergeColumns(base, local, server, rule)
}

function keepsDeletion (deleted: DeleteRule): boolean {
  return deleted === 'clientWins' || deleted === 'deleteWins'
}

function keepsEdit (deleted: DeleteRule): boolean {
  return deleted === 'clientWins' || deleted === 'editWins'
}

function settled (result: Row | null): Merged {
  return { result, conflict: null }
}

function mergeColumns (base: Row | null, local: Row, server: Row, rule: ConflictRule): Merged {
  const result = new Map<string, Cell>()
  const columns: string[] = []
  for (const column of new Set([...local.keys(), ...server.keys()])) {
    const mine = local.get(column)
    const theirs = server.get(column)
    // A column that no image knows was added since: it began empty.
    const before = base === null ? undefined : base.get(column) ?? NULL_CELL
    if (theirs === undefined || mine === theirs || (mine !== undefined && theirs === before)) result.set(column, mine ?? theirs as Cell)
    else if (mine === undefined || mine === before) result.set(column, theirs)
    else {
      columns.push(column)
      result.set(column, rule === 'clientWins' ? mine : theirs)
    }
  }
  return { result, conflict: columns.length === 0 ? null : { kind: base === null ? 'insert-insert' : 'update-update', columns } }
}

function changedColumns (base: Row, other: Row): string[] {
  return [...other].filter(([column, cell]) => cell !== (base.get(column) ?? NULL_CELL)).map(([column]) => column)
}

function sameWhereBothSpeak (base: Row, other: Row): boolean {
  return changedColumns(base, other).length === 0
}
