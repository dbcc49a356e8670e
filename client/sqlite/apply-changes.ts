import type { PageChange } from '../http/read-reply.js'
import type { ApplyContext } from './apply-context.js'
import { groupsOf } from './groups.js'
import { readRow, type BoundRow } from './read-row.js'
import { lookAtRows, writeRowStates, type RowLook } from './row-state.js'
import { applyServerState } from './server-row.js'
import type { TableInfo } from './table-info.js'
import { keyProblem } from './wire-key.js'
import { touchRows, writeRows } from './write-rows.js'

/** A change that can be written together with others: nothing on this device is in its way. */
interface Ready { change: PageChange, row: BoundRow }

/**
 * Takes over changes of a window. Most rows of most windows have nothing in their way here, and are written by statements
 * over many rows; all others, and those that such a statement would not take, go one by one through `applyServerState`,
 * which has the rules. What comes of it is the same. `at` is told the position before each single one, and the last.
 *
 * Tables do not meddle with each other in a window (foreign keys are off, and where the app has triggers all rows go one by
 * one), so changes are taken table by table.
 */
export function applyChanges (context: ApplyContext, changes: readonly PageChange[], at: (serverId: number) => void): void {
  const one = (change: PageChange): void => {
    at(change.serverId)
    applyServerState(context, change.table, change.key, change)
  }
  if (context.appTriggers.onSynced.length > 0) return changes.forEach(one)
  const byTable = new Map<string, Map<string, PageChange>>()
  for (const change of changes) {
    let rows = byTable.get(change.table)
    if (rows === undefined) byTable.set(change.table, rows = new Map())
    if (rows.has(change.key)) {
      applyRows(context, change.table, [...rows.values()], one)
      rows.clear()
    }
    rows.set(change.key, change)
  }
  for (const [table, rows] of byTable) applyRows(context, table, [...rows.values()], one)
  const last = changes.at(-1)
  if (last !== undefined) at(last.serverId)
}

/** Changes of different rows of one table. */
function applyRows (context: ApplyContext, name: string, changes: readonly PageChange[], one: (change: PageChange) => void): void {
  const table = context.tables.get(name)
  if (table === undefined) return changes.forEach(one)
  const looks = lookAtRows(context.driver, name, changes.map(({ key }) => key))
  const news = changes.filter(change => !isKnown(context, change, looks.get(change.key)))
  context.counts.skipped += changes.length - news.length
  const written = table.uniques.length === 0 ? writeGroups(context, table, news, looks, one) : writeInOrder(context, table, news, looks, one)
  touchRows(context, table, written)
  writeRowStates(context.driver, name, written, context.stamp)
  context.counts.applied += written.length
}

/** No row is in another's way: they are written in whatever order is quickest. Returns what was written together. */
function writeGroups (context: ApplyContext, table: TableInfo, changes: readonly PageChange[], looks: ReadonlyMap<string, RowLook>, one: (change: PageChange) => void): BoundRow[] {
  const byShape = new Map<string, Ready[]>()
  for (const change of changes) {
    const row = prepare(table, change, looks.get(change.key))
    if (row === null) {
      one(change)
      continue
    }
    const alike = byShape.get(row.shape)
    if (alike === undefined) byShape.set(row.shape, [{ change, row }])
    else alike.push({ change, row })
  }
  const written: BoundRow[] = []
  for (const alike of byShape.values()) {
    for (const group of groupsOf(inKeyOrder(table, alike), alike[0]?.row.values.length ?? 1)) {
      const rows = group.map(({ row }) => row)
      if (writeRows(context, table, rows)) written.push(...rows)
      else for (const { change } of group) one(change)
    }
  }
  return written
}

/** As in the index of the key: a random order touches more of its pages. Numbers come in a good order by themselves. */
function inKeyOrder (table: TableInfo, ready: Ready[]): Ready[] {
  return table.key.length === 1 && table.key[0]?.type === 'integer' ? ready : ready.sort((a, b) => a.row.key < b.row.key ? -1 : 1)
}

/** Rows may want each other's unique value, so each is written in its turn; and a statement over several would undo too much. */
function writeInOrder (context: ApplyContext, table: TableInfo, changes: readonly PageChange[], looks: ReadonlyMap<string, RowLook>, one: (change: PageChange) => void): BoundRow[] {
  const written: BoundRow[] = []
  let hasMadeWay = false
  for (const change of changes) {
    // Once a row has made way for another, what was seen of the rest no longer holds.
    const row = hasMadeWay ? null : prepare(table, change, looks.get(change.key))
    if (row !== null && writeRows(context, table, [row])) written.push(row)
    else {
      one(change)
      hasMadeWay ||= context.driver.all('select 1 from _sync_parked limit 1').length > 0
    }
  }
  return written
}

/** Nothing of it is new here. */
function isKnown ({ recheck }: ApplyContext, { version }: PageChange, look: RowLook | undefined): boolean {
  return !recheck && look?.isQuiet === true && look.known !== null && version <= look.known.version
}

function prepare (table: TableInfo, change: PageChange, look: RowLook | undefined): BoundRow | null {
  const known = look?.known ?? null
  if (look?.isQuiet === false || (known !== null && (known.version === 0 || change.version <= known.version))) return null
  return keyProblem(table, change.key) === null ? readRow(table, change, known) : null
}
