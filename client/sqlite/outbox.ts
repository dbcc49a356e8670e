import type { Driver } from '../drivers/driver.js'
import { decodeRow, type Row } from './cell.js'
import { dropStage, writeState } from './client-state.js'
import { randomUuid } from './uuid.js'

/** A frozen change. */
export interface OutboxEntry {
  id: number
  table: string
  key: string
  baseVersion: number
  /** The server's row that the edit began from. */
  image: Row | null
  imageText: string | null
  /** The row as sent; null for a deletion. */
  sent: Row | null
  attempts: number
}

/** The first `limit` frozen changes as they go over the wire: ids and changes in their order. */
export function readBatch (driver: Driver, limit: number): { ids: number[], changes: string[] } {
  const rows = driver.all<{ source_change_id: number, change: string }>('select source_change_id, change from _sync_outbox order by source_change_id limit ?', [limit])
  return { ids: rows.map(row => row.source_change_id), changes: rows.map(row => row.change) }
}

export function readOutbox (driver: Driver, limit: number): OutboxEntry[] {
  return driver.all<{ source_change_id: number, tbl: string, key: string, base_version: number, image: string | null, sent: string | null, attempts: number }>(
    'select source_change_id, tbl, key, base_version, image, sent, attempts from _sync_outbox order by source_change_id limit ?', [limit])
    .map(row => ({
      id: row.source_change_id,
      table: row.tbl,
      key: row.key,
      baseVersion: row.base_version,
      image: decodeRow(row.image),
      imageText: row.image,
      sent: decodeRow(row.sent),
      attempts: row.attempts
    }))
}

/** Puts the frozen batch back: its changes get new ids and content next time. Only for a new source id. */
function unfreeze (driver: Driver): void {
  driver.run(
    `insert into _sync_pending (tbl, key, image, attempts) select tbl, key, image, attempts from _sync_outbox where true order by source_change_id
     on conflict (tbl, key) do update set image = excluded.image`)
  driver.run('delete from _sync_outbox')
}

/**
 * The file is a copy of another, or was restored: it goes on under a source id of its own. What was frozen is pending
 * again, and everything is downloaded again, with the changes of all ids; rows that are known are passed over by version.
 */
export function takeNewSourceId (driver: Driver): void {
  unfreeze(driver)
  dropStage(driver)
  writeState(driver, { source_id: randomUuid(), next_change_id: 1, acked_next: 1, cursor: 0, include_self: 1 })
}
