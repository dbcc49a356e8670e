import type { Driver } from '../drivers/driver.js'
import { applyTransaction, type ApplyContext, type ApplyHost } from './apply-context.js'
import { dropStage, writeState } from './client-state.js'
import type { Tables } from './open-file.js'
import { reviveEditedHeld } from './pending.js'
import { identifier, tableSql } from './quote.js'
import { hasKeySql, imageSql } from './row-sql.js'
import { withoutTriggers } from './app-triggers.js'
import { DriverError } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import { TRIGGER_PREFIX } from './triggers.js'
import { transact, withoutForeignKeys } from './transaction.js'
import { randomUuid } from './uuid.js'

/** Changes that only this device has. */
export function countUnsent (driver: Driver): number {
  return driver.all<{ n: number }>(
    'select (select count(*) from _sync_pending) + (select count(*) from _sync_outbox) + (select count(*) from _sync_held) + (select count(*) from _sync_lost) as n')[0]?.n ?? 0
}

/** Rows that were noted and are as the server has them, also where it took an earlier batch unheard, are no changes. Call inside a transaction. */
export function dropUnchanged (driver: Driver, tables: Tables): void {
  reviveEditedHeld(driver)
  for (const table of tables.values()) {
    const row = `${tableSql(table)} as t where ${hasKeySql(table, 't', '_sync_pending.key')}`
    const now = `(select ${imageSql(table, 't')} from ${row})`
    driver.run(
      `delete from _sync_pending where tbl = ? and typeof(key) = 'text' and (tbl, key) not in (select tbl, key from _sync_outbox)
         and image is ${now} and (sent is null or sent = coalesce(${now}, 'deleted'))`, [table.name])
  }
}

/**
 * Takes a user off the file, in one transaction: the rows of every table that was ever synced, and all that the client knows.
 * Capture goes on. `newDevice`: also as another device.
 */
export function forgetUser (host: ApplyHost, { newDevice, mayForget }: { newDevice: { deviceId: string | undefined } | null, mayForget: (unsent: number) => void }): number {
  return applyTransaction(host, context => {
    const { driver } = context
    dropUnchanged(driver, context.tables)
    const unsent = countUnsent(driver)
    mayForget(unsent)
    const names = driver.all<{ tbl: string }>('select tbl from _sync_table').map(({ tbl }) => tbl)
    // With the app's triggers first, so that what they feed follows; then without, for they may bring rows back or refuse.
    for (const tbl of names) despite(driver, () => emptyTable(context, tbl))
    withoutTriggers(driver, context.appTriggers.all, () => { for (const tbl of names) emptyTable(context, tbl) })
    driver.run('delete from _sync_echo')
    for (const table of USERS_TABLES) driver.run(`delete from ${table}`)
    dropStage(driver)
    writeState(driver, {
      user_id: null,
      scope: null,
      epoch: null,
      url: null,
      rebuild: null,
      cursor: 0,
      include_self: 0,
      next_change_id: 1,
      acked_next: 1,
      progress: 0,
      ...(newDevice === null ? {} : { source_id: newDevice.deviceId ?? randomUuid() })
    })
    return unsent
  })
}

const USERS_TABLES = ['_sync_row', '_sync_pending', '_sync_outbox', '_sync_held', '_sync_shadow', '_sync_lost', '_sync_seen', '_sync_conflict']

/** Also a table that this version of the app does not open: the next user must not find it. */
function emptyTable (context: ApplyContext, name: string): void {
  const localName = context.driver.all<{ name: string }>("select name from main.sqlite_schema where type = 'table' and lower(name) = ?", [name])[0]?.name
  if (localName === undefined) return
  context.driver.run(`delete from main.${identifier(localName)}`)
  context.changedTables.add(name)
}

/** Removes the client from the file, triggers and tables, and leaves the app's rows as they are. */
export function uninstall ({ driver, refreshTables }: Pick<ApplyHost, 'driver' | 'refreshTables'>, mayForget: (unsent: number) => void): number {
  return withoutForeignKeys(driver, () => transact(driver, () => {
    dropUnchanged(driver, readable(refreshTables))
    const unsent = countUnsent(driver)
    mayForget(unsent)
    for (const type of ['trigger', 'table'] as const) {
      const found = driver.all<{ name: string }>(
        'select name from main.sqlite_schema where type = ? and substr(name, 1, ?) = ?', [type, TRIGGER_PREFIX.length, TRIGGER_PREFIX])
      for (const { name } of found) driver.exec(`drop ${type} main.${identifier(name)}`)
    }
    return unsent
  }))
}

/** A table that the app has dropped or rebuilt does not keep it from taking the client off the file. */
function readable (refreshTables: () => Tables): Tables {
  try {
    return refreshTables()
  } catch (error) {
    if (error instanceof SyncClientError) return new Map()
    throw error
  }
}

function despite (driver: Driver, fn: () => void): void {
  try {
    fn()
  } catch (error) {
    if (!(error instanceof DriverError) || !driver.inTransaction) throw error
  }
}
