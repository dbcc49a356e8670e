import type { ApplyContext } from './apply-context.js'
import { decodeRow, type Row } from './cell.js'
import { recordConflict } from './conflict-log.js'
import { deleteLocal, readLocal, writeLocal } from './local-row.js'
import { unrepresentable, writePayload } from './payload.js'
import { hasLocalWork, imageOfEdit, isFrozen, settle } from './pending.js'
import { identifier, tableSql } from './quote.js'
import { formerlyReferredRow } from './references.js'
import { hasKeySql, imageSql, keySql } from './row-sql.js'
import { readRowState, type RowState } from './row-state.js'
import { putShadow } from './shadow.js'
import type { ForeignKey, TableInfo } from './table-info.js'

interface DanglingRow { key: string, image: string }

/**
 * Before the transaction ends: every row whose parent is not here finds it, or goes to shadow until it comes. `foreign_keys`
 * is off meanwhile, so SQLite would not notice, but the app's next statement would.
 *
 * - A parent that was deleted here, while another device gave it a child, comes back: the server would refuse its deletion.
 * - A row with local work stays visible; the server's verdict about it (`fk_missing`) will tell the app.
 *
 * Same result as `pragma foreign_key_check`, which cannot name rows of WITHOUT ROWID tables and reads whole tables.
 */
export function settleDangling (context: ApplyContext): void {
  const skip = new Set<string>()
  // Each round restores, removes or skips every row it finds, and a row is found again only if its parent went meanwhile.
  for (let isSettled = false; !isSettled;) {
    isSettled = true
    for (const table of context.tables.values()) {
      for (const foreignKey of table.foreignKeys) {
        const canMove = ({ key }: DanglingRow): boolean => !skip.has(`${table.name}:${key}`) && !hasLocalWork(context.driver, table.name, key)
        let rows = danglingRows(context, table, foreignKey).filter(canMove)
        // Parents first, all of them: one that is back is back for every row that refers to it.
        if (rows.filter(({ image }) => restoreParent(context, foreignKey, decodeRow(image))).length > 0) {
          isSettled = false
          rows = danglingRows(context, table, foreignKey).filter(canMove)
        }
        for (const { key } of rows) {
          if (shadowVisible(context, table, key)) isSettled = false
          else skip.add(`${table.name}:${key}`)
        }
      }
    }
  }
}

/** Rows without their parent: among those written in this transaction, or all where rows of the parent's table went. */
function danglingRows (context: ApplyContext, table: TableInfo, { columns, parent, parentColumns }: ForeignKey): DanglingRow[] {
  const parentTable = context.tables.get(parent) as TableInfo
  const present = columns.map(column => `t.${identifier(column)} is not null`)
  const matches = columns.map((column, i) => `p.${identifier(parentColumns[i] as string)} = t.${identifier(column)}`)
  const orphan = `${present.join(' and ')} and not exists (select 1 from ${tableSql(parentTable)} as p where ${matches.join(' and ')})`
  const select = `select ${keySql(table, 't')} as key, ${imageSql(table, 't')} as image`
  const child = `${tableSql(table)} as t`
  return context.removedFrom.has(parent)
    ? context.driver.all(`${select} from ${child} where ${orphan}`)
    : context.driver.all(`${select} from _sync_touched as x cross join ${child} on ${hasKeySql(table, 't', 'x.key')} where x.tbl = ? and ${orphan}`, [table.name])
}

function restoreParent (context: ApplyContext, foreignKey: ForeignKey, child: Row): boolean {
  const parent = formerlyReferredRow(context.driver, context.tables, foreignKey, child)
  if (parent === null || isFrozen(context.driver, parent.table.name, parent.key)) return false
  const { table, key } = parent
  const image = imageOfEdit(context.driver, table.name, key)
  if (image == null || readLocal(context, table, key) !== null) return false
  if (writeLocal(context, table, key, image) !== null) return false
  settle(context.driver, table.name, key)
  recordConflict(context.driver, table.name, key, { kind: 'parent-restored', columns: [], rule: 'children', before: image, mine: null, theirs: image, result: image })
  context.counts.conflicts++
  return true
}

/** Takes a row out of sight, whole, until its parent comes. A row that the server is not known to hold stays. */
function shadowVisible (context: ApplyContext, table: TableInfo, key: string): boolean {
  const row = readLocal(context, table, key)
  const known = readRowState(context.driver, table.name, key)
  if (row === null || known === null) return false
  const payload = payloadOf(table, key, row, known)
  if (payload === null) return false
  deleteLocal(context, table, key)
  putShadow(context, table.name, key, { version: known.version, deleted: false, payload }, 'dangling', 'The row that it refers to is not on this device.')
  context.counts.applied = Math.max(0, context.counts.applied - 1) // it was taken over a moment ago, or shown before: not now
  return true
}

function payloadOf (table: TableInfo, key: string, row: Row, known: RowState): string | null {
  try {
    return writePayload(table, key, row, known)
  } catch (error) {
    unrepresentable(error) // a trigger of the app put a value there that cannot travel: such a row cannot be kept aside
    return null
  }
}
