import { decodeRow, encodeRow, overlay, type Row } from './cell.js'
import type { ApplyContext } from './apply-context.js'
import { readAppTriggers, type AppTrigger } from './app-triggers.js'
import type { Driver } from '../drivers/driver.js'
import type { Tables } from './open-file.js'
import type { TableInfo } from './table-info.js'
import { triggersOf } from './triggers.js'

/*
 * The app's own triggers run while the client writes server rows: those that feed a search index or a log of the app must.
 * But what they write to synced tables (an updated_at, a counter in the parent's row) is no edit of the user's, and the
 * server's row has it already, from the device where the user edited. So while the client writes, every row that is touched
 * is noted in `_sync_echo`, with what it should be: what the client wrote, or else what it was before. Before the
 * transaction ends, rows that are something else are put right (echo-repair.ts). Nothing of this happens in a file without
 * triggers of the app on synced tables.
 */

/** The app's triggers that the client's writes can fire, after making sure that their echoes are noted. */
export function watchAppTriggers (driver: Driver, tables: Tables): { all: AppTrigger[], onSynced: AppTrigger[] } {
  const all = readAppTriggers(driver)
  const onSynced = all.filter(({ table }) => tables.has(table))
  if (onSynced.length > 0) makeEchoTriggers(driver, tables)
  return { all, onSynced }
}

function makeEchoTriggers (driver: Driver, tables: Tables): void {
  const wanted = [...tables.values()].flatMap(table => triggersOf(table, 'echo'))
  const found = new Map(driver.all<{ name: string, sql: string }>("select name, sql from main.sqlite_schema where type = 'trigger' and name like '\\_sync\\_%\\_echo\\_%' escape '\\'").map(({ name, sql }) => [name, sql]))
  for (const { name, sql } of wanted) if (!found.has(name)) driver.exec(sql)
}

/** What the row should be: undefined where nothing has touched it in this transaction, null where it should not be there. */
export function expectedRow (context: ApplyContext, table: TableInfo, key: string): Row | null | undefined {
  if (context.appTriggers.onSynced.length === 0) return undefined
  const found = context.driver.all<{ image: string | null }>('select image from _sync_echo where tbl = ? and key = ?', [table.name, key])[0]
  return found === undefined ? undefined : decodeRow(found.image)
}

/** Notes what the client has just written. Columns that `row` does not name should be as they were. */
export function expectRow (context: ApplyContext, table: TableInfo, key: string, row: Row | null): void {
  if (context.appTriggers.onSynced.length === 0) return
  const image = row === null ? null : encodeRow(overlay(expectedRow(context, table, key) ?? null, row))
  context.driver.run('insert into _sync_echo (tbl, key, image) values (?, ?, ?) on conflict (tbl, key) do update set image = excluded.image', [table.name, key, image])
}
