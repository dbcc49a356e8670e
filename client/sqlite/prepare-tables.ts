import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import type { Settings } from '../options.js'
import { fetchAgain, readState, writeState } from './client-state.js'
import { defaultsOf } from './defaults.js'
import { keepDroppedCells } from './dropped.js'
import { watchAppTriggers } from './echo.js'
import { refuseOpenForeignKeys } from './foreign-keys.js'
import { beginMigration, noteDropped, noteGone, noteMigrated } from './migration.js'
import { noteMissedRows } from './missed-rows.js'
import type { Tables } from './open-file.js'
import { identifier } from './quote.js'
import { shapeOf, translateImages, translator, type Shape } from './shape.js'
import { readTableInfo, type TableInfo } from './table-info.js'
import { noteAllRows, TRIGGER_PREFIX, triggersOf } from './triggers.js'

/**
 * Reads the synced tables and makes them ready, in a transaction: their triggers, and what became of their rows since the
 * file was last open. `isEnd`: the app's migration is over, by itself or because its process died; it is ended here. Without
 * it, throws `migrating` while one is under way.
 */
export function prepareTables (driver: Driver, settings: Pick<Settings, 'tables' | 'schema'>, isEnd: boolean): Tables {
  const isMigrating = readState(driver)?.migrating === true
  if (isMigrating && !isEnd) throw new SyncClientError('migrating', 'The app is migrating its tables in this file.')
  const tables = new Map<string, TableInfo>()
  for (const name of settings.tables.keys()) {
    const table = readTableInfo(driver, name)
    tables.set(table.name, table)
  }
  refuseOpenForeignKeys(tables)
  if (isMigrating) endMigration(driver, settings, tables)
  else noteDroppedTables(driver, tables)
  const { onSynced } = watchAppTriggers(driver, tables)
  for (const table of tables.values()) prepare(driver, table, onSynced.length > 0)
  return tables
}

/** Every table that was ever opened and can still be read: those too that this version of the app leaves out. */
export function startMigration (driver: Driver, tables: Tables): void {
  if (readState(driver)?.migrating === true) throw new SyncClientError('migrating', 'The app is migrating its tables in this file.')
  beginMigration(driver, new Map([...leftOut(driver, tables), ...tables]))
}

function leftOut (driver: Driver, tables: Tables): Map<string, TableInfo> {
  const found = new Map<string, TableInfo>()
  for (const { tbl } of driver.all<{ tbl: string }>('select tbl from _sync_table where is_gone = 0')) {
    if (tables.has(tbl)) continue
    try {
      found.set(tbl, readTableInfo(driver, tbl))
    } catch (error) {
      if (!(error instanceof SyncClientError)) throw error // dropped, or no longer of a kind that can be captured
    }
  }
  return found
}

function noteDroppedTables (driver: Driver, tables: Tables): void {
  const dropped = driver.all<{ tbl: string }>("select tbl from _sync_table where is_gone <> 1 and not exists (select 1 from main.sqlite_schema where type = 'table' and lower(name) = tbl)")
  for (const { tbl } of dropped) if (!tables.has(tbl)) noteDropped(driver, tbl)
}

function endMigration (driver: Driver, settings: Pick<Settings, 'schema'>, tables: Tables): void {
  const all = new Map([...leftOut(driver, tables), ...tables])
  for (const { tbl, shape } of driver.all<{ tbl: string, shape: string }>('select tbl, shape from _sync_table where is_gone = 0')) {
    const table = all.get(tbl)
    const old = JSON.parse(shape) as Shape
    if (table === undefined) noteGone(driver, settings.schema, tbl, old)
    else {
      noteMigrated(driver, settings.schema, table, old, translator(old, table, defaultsOf(driver, table)))
      driver.run('update _sync_table set shape = ? where tbl = ?', [shapeOf(table), tbl])
    }
    if (table !== undefined) for (const { sql } of triggersOf(table)) driver.exec(sql)
  }
  driver.run('delete from _sync_migration')
  writeState(driver, { migrating: 0 })
}

function prepare (driver: Driver, table: TableInfo, withEchoes: boolean): void {
  const missing = renewTriggers(driver, table, withEchoes)
  const known = driver.all<{ shape: string, is_gone: number }>('select shape, is_gone from _sync_table where tbl = ?', [table.name])[0]
  const shape = shapeOf(table)
  if (known === undefined || known.is_gone > 0) {
    driver.run('insert into _sync_table (tbl, shape) values (?, ?) on conflict do update set shape = excluded.shape, is_gone = 0', [table.name, shape])
    driver.run(noteAllRows(table))
    if (known === undefined) return
    driver.run('delete from _sync_row where tbl = ?', [table.name]) // verdicts about its last changes may have come since it went
    if (known.is_gone === 1) driver.run('update _sync_outbox set is_orphan = 1 where tbl = ?', [table.name])
    fetchAgain(driver)
    return
  }
  if (known.shape !== shape) {
    const old = JSON.parse(known.shape) as Shape
    keepDroppedCells(driver, table.name, old.columns.filter(({ name }) => !table.byColumn.has(name)).map(({ name }) => name))
    translateImages(driver, table, translator(old, table, defaultsOf(driver, table)))
    driver.run('update _sync_table set shape = ? where tbl = ?', [shape, table.name])
  }
  if (missing) {
    noteMissedRows(driver, table)
    fetchAgain(driver)
    writeState(driver, { recheck: 1 }) // and edits that were missed are found
  }
}

/**
 * Leaves triggers alone that are as they should be: a trigger that is made again invalidates every prepared statement.
 * Returns whether one that notes local changes was not there at all; where it was, if in an older form, nothing was missed.
 */
function renewTriggers (driver: Driver, table: TableInfo, withEchoes: boolean): boolean {
  const found = new Map(driver.all<{ name: string, sql: string }>(
    "select name, sql from main.sqlite_schema where type = 'trigger' and lower(tbl_name) = ? and substr(name, 1, ?) = ?",
    [table.name, TRIGGER_PREFIX.length, TRIGGER_PREFIX]).map(({ name, sql }) => [name, sql]))
  const capturing = triggersOf(table)
  const wanted = [...capturing, ...(withEchoes ? triggersOf(table, 'echo') : [])]
  for (const [name, sql] of found) {
    if (!wanted.some(trigger => trigger.name === name && sameSql(trigger.sql, sql))) driver.exec(`drop trigger main.${identifier(name)}`)
  }
  for (const trigger of wanted) {
    if (sameSql(trigger.sql, found.get(trigger.name) ?? '')) continue
    // Under the same name on another table, after a table was renamed.
    driver.exec(`drop trigger if exists main.${identifier(trigger.name)}`)
    driver.exec(trigger.sql)
  }
  return capturing.some(({ name }) => !found.has(name))
}

/** SQLite keeps the text as given, its first words in upper case. */
function sameSql (a: string, b: string): boolean {
  const normal = (sql: string): string => sql.replace(/^create trigger /i, 'create trigger ')
  return normal(a) === normal(b)
}
