import type { Driver } from '../drivers/driver.js'
import { MAX_FK_RETRIES } from '../limits.js'
import type { ApplyContext, ApplyHost } from './apply-context.js'
import { decodeRow, knownColumns, overlay, type Row } from './cell.js'
import { deleteLocal, despiteTriggers, readLocal, writeLocal } from './local-row.js'
import { readPayload, unrepresentable, writePayload } from './payload.js'
import { isDropped } from './dropped.js'
import { reviveEditedHeld } from './pending.js'
import { tableSql } from './quote.js'
import { hasKeySql, keySql } from './row-sql.js'
import { readRowState, type RowState } from './row-state.js'
import { putShadow, readShadow } from './shadow.js'
import type { TableInfo } from './table-info.js'
import type { AnyDatabase, FoldedName, RowOf, TableName } from '../table-types.js'
import { valuesOf } from './values.js'

/** A row that was refused, or that cannot be sent. It stays as it is on the device and waits; it blocks no other. */
export type HeldRow<Database = AnyDatabase> = { [Table in TableName<Database>]: HeldOf<FoldedName<Table>, RowOf<Database, Table>> }[TableName<Database>]

interface HeldOf<Table extends string, Values> {
  id: number
  table: Table
  /** The row's key as text; as an SQL literal where it cannot travel. */
  key: string
  /** The server's reason, or one of the client's own (docs/client.md lists them). More may come. */
  reason: string
  /** A sentence for people. */
  message: string
  /** What else the server said, by reason. */
  details: Record<string, unknown> | null
  /** The server's row as far as it is known; null where it has none. `discardHeld` takes it. */
  server: Values | null
  /** Times it was tried again by itself. */
  attempts: number
  /** ISO 8601, by the device's clock. */
  since: string
}

/** A row to set aside. `key` is a blob where it cannot travel. */
export interface Holding {
  table: string
  key: string | Uint8Array
  image: string | null
  reason: string
  message: string
  details: Record<string, unknown> | null
  /** Parents that the server has not: table, and key; null for any row of the table. */
  missing: Array<[string, string | null]> | null
  attempts: number
}

export function hold (driver: Driver, holding: Holding, stamp: number): void {
  driver.run(
    `insert into _sync_held (tbl, key, image, reason, message, details, missing, attempts, stamp, since) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     on conflict (tbl, key) do update set image = excluded.image, reason = excluded.reason, message = excluded.message,
       details = excluded.details, missing = excluded.missing, attempts = excluded.attempts, stamp = excluded.stamp, since = excluded.since`,
    [holding.table, holding.key, holding.image, holding.reason, holding.message, holding.details === null ? null : JSON.stringify(holding.details),
      holding.missing === null ? null : JSON.stringify(holding.missing), holding.attempts, stamp, new Date().toISOString()])
}

interface StoredHeld {
  id: number
  tbl: string
  key: string
  reason: string
  message: string
  details: string | null
  image: string | null
  attempts: number
  since: string
  /** The server's row that waits in shadow, where one does. */
  waiting: string | null
  is_gone: number | null
}

/** Held rows, those after `after` only. */
export function readHeld ({ driver, knownTables }: Pick<ApplyHost, 'driver' | 'knownTables'>, after = 0): HeldRow[] {
  const tables = knownTables()
  return driver.all<StoredHeld>(
    `select h.id, h.tbl, cast(h.key as text) as key, h.reason, h.message, h.details, h.image, h.attempts, h.since, s.payload as waiting, s.deleted as is_gone
     from _sync_held as h left join _sync_shadow as s on s.tbl = h.tbl and s.key = h.key
     where h.id > cast(? as integer) order by h.id`, [String(after)])
    .map(({ tbl, details, image, waiting, is_gone: isGone, ...rest }) => ({
      ...rest,
      table: tbl,
      details: details === null ? null : JSON.parse(details) as Record<string, unknown>,
      server: isGone === 1 ? null : valuesOf(newest(tables.get(tbl), rest.key, decodeRow(image), waiting))
    }))
}

/** The server's row that the change began from, with what waits in shadow laid on it. */
function newest (table: TableInfo | undefined, key: string, image: Row | null, waiting: string | null): Row | null {
  if (table === undefined || waiting === null) return image
  try {
    return overlay(image, readPayload(table, key, waiting, null).row)
  } catch (error) {
    unrepresentable(error) // it waits for that very reason
    return image
  }
}

/** Makes held rows pending again: one, or all. Returns how many. */
export function retryHeld (driver: Driver, id: number | null): number {
  reviveEditedHeld(driver)
  const condition = id === null ? 'true' : 'id = cast(? as integer)'
  return moveToPending(driver, condition, id === null ? [] : [String(id)], '0')
}

/** fk_missing: when a parent that was missing has come to be on the server since. Bounded by attempts. */
export function reviveOrphans (driver: Driver): number {
  return moveToPending(driver,
    `reason = 'fk_missing' and attempts < ${MAX_FK_RETRIES} and (
       exists (select 1 from json_each(_sync_held.missing) as m join _sync_row as r
                 on r.tbl = json_extract(m.value, '$[0]') and r.key = json_extract(m.value, '$[1]')
               where r.deleted = 0 and r.stamp >= _sync_held.stamp)
       or exists (select 1 from json_each(_sync_held.missing) as m join _sync_row as r on r.tbl = json_extract(m.value, '$[0]')
                  where json_extract(m.value, '$[1]') is null and r.deleted = 0 and r.stamp >= _sync_held.stamp))`, [], 'attempts + 1')
}

/** constraint_violation: another row may have freed the value, if anything was taken over since it was refused. */
export function reviveRefused (driver: Driver): number {
  return moveToPending(driver,
    "reason = 'constraint_violation' and stamp < (select progress from _sync_client)", [], 'attempts + 1')
}

/** resolver_failed: when the file is opened, for the app may have another resolver than before. */
export function reviveFailed (driver: Driver): number {
  return moveToPending(driver, "reason = 'resolver_failed'", [], 'attempts + 1')
}

function moveToPending (driver: Driver, condition: string, params: string[], attempts: string): number {
  const { changes } = driver.run(
    `insert into _sync_pending (tbl, key, image, attempts) select tbl, key, image, ${attempts} from _sync_held where ${condition} and tbl not in (select tbl from _sync_table where is_gone = 1)
     on conflict (tbl, key) do update set image = excluded.image, attempts = excluded.attempts`, params)
  if (changes > 0) driver.run('delete from _sync_held where exists (select 1 from _sync_pending p where p.tbl = _sync_held.tbl and p.key = _sync_held.key)')
  return changes
}

/** Gives up the local change of a held row: the row becomes the server's again, or, where its table was dropped, is forgotten. False where there is no such row any more. */
export function discardHeld (context: ApplyContext, id: number): boolean {
  const { driver } = context
  const found = driver.all<{ tbl: string, key: string, is_odd: number, image: string | null }>(
    "select tbl, cast(key as text) as key, typeof(key) = 'blob' as is_odd, image from _sync_held where id = cast(? as integer)", [String(id)])[0]
  const table = found === undefined ? undefined : context.tables.get(found.tbl)
  if (found === undefined) return false
  if (table === undefined) return isDropped(driver, found.tbl) && driver.run('delete from _sync_held where id = cast(? as integer)', [String(id)]).changes > 0
  const image = knownColumns(decodeRow(found.image))
  if (image === null) {
    // Inside SQLite: a key that cannot travel may not survive the way through JavaScript either.
    const key = '(select key from _sync_held where id = cast(? as integer))'
    const isThisRow = found.is_odd === 1 ? `${keySql(table, 't')} = ${key}` : hasKeySql(table, 't', key)
    despiteTriggers(context, table, () => driver.run(`delete from ${tableSql(table)} as t where ${isThisRow}`, [String(id)]))
    driver.run('update _sync_echo set image = null where tbl = ? and key = (select key from _sync_held where id = cast(? as integer))', [table.name, String(id)])
    context.removedFrom.add(table.name)
    context.changedTables.add(table.name)
  }
  const mine = image === null ? null : readLocal(context, table, found.key)
  // The server's row says nothing of some columns: they begin anew, and do not keep what was given up.
  if (image !== null && image.size < table.columns.length) deleteLocal(context, table, found.key)
  const problem = image === null ? null : writeLocal(context, table, found.key, image)
  if (image !== null && problem !== null) {
    // A unique value of the server's row is taken by another local row: it waits in shadow until that one is settled.
    const known = readRowState(driver, table.name, found.key)
    const payload = known === null ? null : payloadOf(table, found.key, image, known)
    if (known === null || payload === null) {
      if (mine !== null) writeLocal(context, table, found.key, mine)
      return false
    }
    deleteLocal(context, table, found.key)
    // What waits there already is younger.
    if (readShadow(context, table.name, found.key) === null) putShadow(context, table.name, found.key, { version: known.version, deleted: false, payload }, problem.reason, problem.message)
  }
  driver.run('delete from _sync_held where id = cast(? as integer)', [String(id)])
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
