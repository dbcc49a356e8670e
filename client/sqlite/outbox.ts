import type { Driver } from '../drivers/driver.js'
import { decodeRow, type Row } from './cell.js'
import { readSent } from './pending.js'

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
  /** What an earlier batch, of unknown fate, had of the row; undefined for none. */
  sentBefore: Row | null | undefined
  attempts: number
}

/** The first `limit` frozen changes as they go over the wire: ids and changes in their order. */
export function readBatch (driver: Driver, limit: number): { ids: number[], changes: string[] } {
  const rows = driver.all<{ source_change_id: number, change: string }>('select source_change_id, change from _sync_outbox order by source_change_id limit ?', [limit])
  return { ids: rows.map(row => row.source_change_id), changes: rows.map(row => row.change) }
}

export function readOutbox (driver: Driver, limit: number): OutboxEntry[] {
  return driver.all<{ source_change_id: number, tbl: string, key: string, base_version: number, image: string | null, sent: string | null, attempts: number, sent_before: string | null }>(
    'select source_change_id, tbl, key, base_version, image, sent, attempts, sent_before from _sync_outbox order by source_change_id limit ?', [limit])
    .map(row => ({
      id: row.source_change_id,
      table: row.tbl,
      key: row.key,
      baseVersion: row.base_version,
      image: decodeRow(row.image),
      imageText: row.image,
      sent: decodeRow(row.sent),
      sentBefore: readSent(row.sent_before),
      attempts: row.attempts
    }))
}

/**
 * Puts the frozen batch back: its changes get new ids and content next time. Only for a new source id. The server may have
 * applied the batch unheard: what was sent is kept, so that a row that comes back as it was sent is the base of what was
 * edited since, and not somebody's edit against it.
 */
export function unfreeze (driver: Driver): void {
  driver.run(
    `insert into _sync_pending (tbl, key, image, attempts, sent) select tbl, key, image, attempts, coalesce(sent, 'deleted') from _sync_outbox where true order by source_change_id
     on conflict (tbl, key) do update set image = excluded.image, sent = excluded.sent`)
  driver.run('delete from _sync_outbox')
}
