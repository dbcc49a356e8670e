import type { Driver } from '../drivers/driver.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { encodeRow } from './cell.js'
import { keyCells } from './key-text.js'
import { tableSql } from './quote.js'
import { hasKeySql, keySql } from './row-sql.js'
import type { TableInfo } from './table-info.js'
import { keyProblem } from './wire-key.js'

const HAS_WORK = ['_sync_pending', '_sync_outbox', '_sync_held', '_sync_shadow']

/**
 * After a time without triggers, as far as it can be known here: rows of which the client knows nothing were made meanwhile,
 * and rows that the server has and this device has not were deleted. Of those only the key is known; that is their image.
 */
export function noteMissedRows (driver: Driver, table: TableInfo): void {
  const noWork = (key: string): string => HAS_WORK.map(book => `not exists (select 1 from ${book} as b where b.tbl = ? and b.key = ${key})`).join(' and ')
  const names = HAS_WORK.map(() => table.name)
  driver.run(
    `insert into _sync_pending (tbl, key, image) select ?, ${keySql(table, 't')}, null from ${tableSql(table)} as t
     where not exists (select 1 from _sync_row as r where r.tbl = ? and r.key = ${keySql(table, 't')} and r.deleted = 0) and ${noWork(keySql(table, 't'))} on conflict do nothing`,
    [table.name, table.name, ...names])
  for (let after = '', isFirst = true; ; isFirst = false) {
    const rows = driver.all<{ key: string }>(
      `select r.key from _sync_row as r where r.tbl = ? and r.deleted = 0 and r.key ${isFirst ? '>=' : '>'} ? and ${noWork('r.key')}
       and not exists (select 1 from ${tableSql(table)} as t where ${hasKeySql(table, 't', 'r.key')}) order by r.key limit ?`,
      [table.name, after, ...names, READ_CHUNK_ROWS])
    for (const { key } of rows) {
      after = key
      if (keyProblem(table, key) === null) driver.run('insert into _sync_pending (tbl, key, image) values (?, ?, ?) on conflict do nothing', [table.name, key, encodeRow(keyCells(table, key))])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}
