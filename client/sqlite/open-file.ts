import type { Driver } from '../drivers/driver.js'
import { BUSY_TIMEOUT_MS } from '../limits.js'
import type { Settings } from '../options.js'
import { identifier } from './quote.js'
import { migrate } from './schema.js'
import { claimDevice, claimFile } from './claim.js'
import { readTableInfo, refuseOpenForeignKeys, type TableInfo } from './table-info.js'
import { noteAllRows, TRIGGER_PREFIX, triggersOf } from './triggers.js'
import { transact } from './transaction.js'

export type Tables = ReadonlyMap<string, TableInfo>

/** Prepares a file for sync, in one transaction: the client's tables, the user, the triggers, rows that were there before. */
export function openFile (driver: Driver, settings: Settings): Tables {
  // Raised, never lowered: the connection is the app's.
  const { timeout = 0 } = driver.all<{ timeout: number }>('pragma busy_timeout')[0] ?? {}
  if (timeout < BUSY_TIMEOUT_MS) driver.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`)
  return transact(driver, () => {
    migrate(driver)
    claimDevice(driver, settings)
    if (settings.user !== null) claimFile(driver, settings.user)
    const tables = new Map<string, TableInfo>()
    for (const name of settings.tables.keys()) {
      const table = readTableInfo(driver, name)
      tables.set(table.name, table)
    }
    refuseOpenForeignKeys(tables)
    for (const table of tables.values()) {
      renewTriggers(driver, table)
      const isNew = driver.run('insert into _sync_table (tbl) values (?) on conflict do nothing', [table.name]).changes === 1
      if (isNew) driver.run(noteAllRows(table))
    }
    return tables
  })
}

/** Leaves triggers alone that are as they should be: a trigger that is made again invalidates every prepared statement. */
function renewTriggers (driver: Driver, table: TableInfo): void {
  const found = new Map(driver.all<{ name: string, sql: string }>(
    "select name, sql from sqlite_schema where type = 'trigger' and lower(tbl_name) = ? and substr(name, 1, ?) = ?",
    [table.name, TRIGGER_PREFIX.length, TRIGGER_PREFIX]).map(({ name, sql }) => [name, sql]))
  const wanted = triggersOf(table)
  for (const [name, sql] of found) {
    if (!wanted.some(trigger => trigger.name === name && sameSql(trigger.sql, sql))) driver.exec(`drop trigger ${identifier(name)}`)
  }
  for (const trigger of wanted) {
    if (!sameSql(trigger.sql, found.get(trigger.name) ?? '')) driver.exec(trigger.sql)
  }
}

/** SQLite keeps the text as given, its first words in upper case. */
function sameSql (a: string, b: string): boolean {
  const normal = (sql: string): string => sql.replace(/^create trigger /i, 'create trigger ')
  return normal(a) === normal(b)
}
