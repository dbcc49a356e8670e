import type { Driver } from '../drivers/driver.js'
import { decodeRow, encodeRow, type Row } from './cell.js'

/**
 * The image of the local change of a row that has not been settled: the server's row that it began from. undefined where the
 * row has no such change. Call `reviveEditedHeld` first: then a row is pending or held, never both.
 */
export function imageOfEdit (driver: Driver, table: string, key: string): Row | null | undefined {
  const found = driver.all<{ image: string | null }>(
    'select image from _sync_pending where tbl = ? and key = ? union all select image from _sync_held where tbl = ? and key = ?',
    [table, key, table, key])[0]
  return found === undefined ? undefined : decodeRow(found.image)
}

/** What an earlier batch had of this row that may be on the server; undefined where there was none. */
export function sentUnheard (driver: Driver, table: string, key: string): Row | null | undefined {
  return readSent(driver.all<{ sent: string | null }>('select sent from _sync_pending where tbl = ? and key = ?', [table, key])[0]?.sent ?? null)
}

export function readSent (sent: string | null): Row | null | undefined {
  return sent === null ? undefined : sent === 'deleted' ? null : decodeRow(sent)
}

/** A change that was sent and not applied is pending again. A copy of this file may hold the same change, and bring it up. */
export function setPendingAgain (driver: Driver, table: string, key: string, image: Row | null, sent: Row | null): void {
  setPending(driver, table, key, image)
  driver.run('update _sync_pending set sent = ? where tbl = ? and key = ?', [sent === null ? 'deleted' : encodeRow(sent), table, key])
}

/** Makes a row pending against the server's row `image`, or gives the change that waits already this base. */
export function setPending (driver: Driver, table: string, key: string, image: Row | null): void {
  driver.run('insert into _sync_pending (tbl, key, image) values (?, ?, ?) on conflict (tbl, key) do update set image = excluded.image, sent = null',
    [table, key, image === null ? null : encodeRow(image)])
  driver.run('delete from _sync_held where tbl = ? and key = ?', [table, key])
}

/** The row is in step with the server. */
export function settle (driver: Driver, table: string, key: string): void {
  driver.run('delete from _sync_pending where tbl = ? and key = ?', [table, key])
  driver.run('delete from _sync_held where tbl = ? and key = ?', [table, key])
}

/**
 * A held row that the app edited is tried again. The trigger took the refused row for the image; the server's row, which
 * the held entry kept, is the right one.
 */
export function reviveEditedHeld (driver: Driver): void {
  if (driver.all('select 1 from _sync_held limit 1').length === 0) return // pending may be long
  driver.run(
    `update _sync_pending set attempts = 0, image = (select h.image from _sync_held h where h.tbl = _sync_pending.tbl and h.key = _sync_pending.key)
     where (tbl, key) in (select tbl, key from _sync_held)`)
  driver.run('delete from _sync_held where exists (select 1 from _sync_pending p where p.tbl = _sync_held.tbl and p.key = _sync_held.key)')
}

/** Whether the row carries local work that must stay visible: changed, frozen or held. */
export function hasLocalWork (driver: Driver, table: string, key: string): boolean {
  return imageOfEdit(driver, table, key) !== undefined || isFrozen(driver, table, key)
}

export function isFrozen (driver: Driver, table: string, key: string): boolean {
  return driver.all('select 1 from _sync_outbox where tbl = ? and key = ?', [table, key]).length > 0
}
