import type { Driver } from '../drivers/driver.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { membersOf } from '../http/json-text.js'
import { decodeRow, encodeRow, textCell, type Row } from './cell.js'
import { writeState } from './client-state.js'
import { recordDropped } from './dropped.js'
import { allOf, keepDroppedColumns, sendInOldShape } from './old-shape.js'
import type { Tables } from './open-file.js'
import { identifier, tableSql } from './quote.js'
import { differsFromServer } from './recheck.js'
import { hasKeySql, imageSql, keySql } from './row-sql.js'
import { translateImages, type Shape, type Translate } from './shape.js'
import type { TableInfo } from './table-info.js'
import { TRIGGER_PREFIX } from './triggers.js'

/*
 * Capture through the app's own migration. Its statements may rebuild tables, and triggers would stand in their way. So the
 * triggers go, after every row was noted as it is (in `_sync_migration`, in the file, so that a crash loses nothing), and
 * afterwards the rows are compared: what the migration changed is a local change like any other.
 */

/** Call in a transaction. From here on nothing is captured. */
export function beginMigration (driver: Driver, tables: Tables): void {
  driver.run('delete from _sync_migration')
  for (const table of tables.values()) {
    driver.run(`insert into _sync_migration (tbl, key, image) select ?, ${keySql(table, 't')}, ${imageSql(table, 't')} from ${tableSql(table)} as t where true on conflict do nothing`, [table.name])
  }
  for (const { name } of driver.all<{ name: string }>(
    "select name from main.sqlite_schema where type = 'trigger' and substr(name, 1, ?) = ?", [TRIGGER_PREFIX.length, TRIGGER_PREFIX])) {
    driver.exec(`drop trigger main.${identifier(name)}`)
  }
  writeState(driver, { migrating: 1 })
}

/** Notes what the migration did to the rows of a table, and brings the images of earlier local work into its new shape. */
export function noteMigrated (driver: Driver, schema: string, table: TableInfo, old: Shape, translate: Translate): void {
  keepDroppedColumns(driver, schema, table, old)
  // Rows that are gone. Their images are translated with the others.
  driver.run(
    `insert into _sync_pending (tbl, key, image) select m.tbl, m.key, m.image from _sync_migration as m
     where m.tbl = ? and typeof(m.key) = 'text' and not exists (select 1 from ${tableSql(table)} as t where ${hasKeySql(table, 't', 'm.key')})
     on conflict do nothing`, [table.name])
  translateImages(driver, table, translate)
  driver.run(
    `insert into _sync_pending (tbl, key, image) select ?, ${keySql(table, 't')}, null from ${tableSql(table)} as t
     where not exists (select 1 from _sync_migration as m where m.tbl = ? and m.key = ${keySql(table, 't')}) on conflict do nothing`, [table.name, table.name])
  noteChanged(driver, table, translate)
}

/** A new column's default is no change; another value in it is one. */
function noteChanged (driver: Driver, table: TableInfo, translate: Translate): void {
  const sql = `select m.key, m.image as before, ${imageSql(table, 't')} as now from _sync_migration as m
    cross join ${tableSql(table)} as t on ${hasKeySql(table, 't', 'm.key')}
    where m.tbl = ? and typeof(m.key) = 'text' and m.key > ? order by m.key limit ?`
  for (let after = '', isFirst = true; ; isFirst = false) {
    const rows = driver.all<{ key: string, before: string, now: string }>(isFirst ? sql.replace('m.key > ?', 'm.key >= ?') : sql, [table.name, after, READ_CHUNK_ROWS])
    for (const { key, before, now } of rows) {
      after = key
      if (before === now) continue
      const image: Row = translate(decodeRow(before))
      if (!differsFromServer(decodeRow(now), image)) continue
      driver.run('insert into _sync_pending (tbl, key, image) values (?, ?, ?) on conflict do nothing', [table.name, key, encodeRow(image)])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** A table that is there no more (dropped, or renamed): unsent changes go up as they were, and its rows are forgotten. */
export function noteGone (driver: Driver, schema: string, name: string, old: Shape): void {
  sendInOldShape(driver, schema, name, old, allOf)
  forgetTable(driver, name)
}

/** A table that was dropped behind the client's back: what was changed in it cannot be known any more, only that it was. */
export function noteDropped (driver: Driver, name: string): void {
  for (let after = 0; ;) {
    const rows = driver.all<{ id: number, key: string, image: string | null }>(
      'select id, cast(key as text) as key, image from _sync_pending where +tbl = ? and id > ? order by id limit ?', [name, after, READ_CHUNK_ROWS])
    for (const { id, key, image } of rows) {
      after = id
      const before = decodeRow(image)
      recordDropped(driver, name, key, { before, mine: new Map(), columns: before?.keys() ?? [] })
    }
    if (rows.length < READ_CHUNK_ROWS) break
  }
  forgetTable(driver, name)
}

function forgetTable (driver: Driver, name: string): void {
  // Should a table of this name come back, its rows are fetched again; that they are not here does not delete them anywhere.
  driver.run('delete from _sync_row where tbl = ?', [name])
  driver.run('delete from _sync_pending where tbl = ?', [name])
  for (const { key, payload } of driver.all<{ key: string, payload: string }>('select key, payload from _sync_lost where tbl = ?', [name])) {
    const mine = new Map([...membersOf(payload)].map(([column, json]) => [column, textCell(json)]))
    recordDropped(driver, name, key, { before: null, mine, columns: mine.keys() })
  }
  driver.run('delete from _sync_lost where tbl = ?', [name])
  driver.run('update _sync_table set is_gone = 1 where tbl = ?', [name])
}
