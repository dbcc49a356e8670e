import type { Driver } from '../drivers/driver.js'
import { membersOf } from '../http/json-text.js'
import { MAX_UPLOAD_CHARACTERS, READ_CHUNK_ROWS } from '../limits.js'
import { decodeRow, overlay, type Row } from './cell.js'
import { isDropped, recordDropped } from './dropped.js'
import { readSent } from './pending.js'
import { readNames } from './row-state.js'

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
  /** What the change gave to columns that a migration has dropped since; null for nothing. */
  dropped: Row | null
  /** Its table was dropped since, and made again. */
  isOrphan: boolean
  /** The payload as sent, as raw JSON; only where `dropped` says something. */
  payload: string | null
}

interface StoredEntry { source_change_id: number, tbl: string, key: string, base_version: number, image: string | null, sent: string | null, attempts: number, sent_before: string | null, dropped: string | null, is_orphan: number, change: string | null }

/** Frozen changes as they go over the wire: ids and changes in their order. */
export interface Batch {
  ids: number[]
  changes: string[]
  /** It ends at a bound: there may be more to send. */
  isFull: boolean
}

/** The first `limit` frozen changes after `after`; fewer where they are large. */
export function readBatch (driver: Driver, limit: number, after = 0): Batch {
  const batch: Batch = { ids: [], changes: [], isFull: false }
  for (let characters = 0; ;) {
    const rows = driver.all<{ source_change_id: number, change: string }>(
      'select source_change_id, change from _sync_outbox where source_change_id > ? order by source_change_id limit ?', [after, Math.min(READ_CHUNK_ROWS, limit - batch.ids.length)])
    for (const { source_change_id: id, change } of rows) {
      batch.ids.push(after = id)
      batch.changes.push(change)
      characters += change.length
      batch.isFull = batch.ids.length >= limit || characters >= MAX_UPLOAD_CHARACTERS
      if (batch.isFull) return batch
    }
    if (rows.length < READ_CHUNK_ROWS) return batch
  }
}

const COLUMNS = 'source_change_id, tbl, key, base_version, image, sent, attempts, sent_before, dropped, is_orphan, iif(dropped is null, null, change) as change'

export function readOutbox (driver: Driver, limit: number): OutboxEntry[] {
  return driver.all<StoredEntry>(`select ${COLUMNS} from _sync_outbox order by source_change_id limit ?`, [limit]).map(readEntry)
}

/** Those with these ids, in the order of their ids. */
export function readEntries (driver: Driver, ids: readonly number[]): OutboxEntry[] {
  if (ids.length === 0) return []
  return driver.all<StoredEntry>(`select ${COLUMNS} from _sync_outbox where source_change_id in (select value from json_each(?)) order by source_change_id`, [JSON.stringify(ids)]).map(readEntry)
}

/** What an acknowledgement needs to know of a frozen change. */
export interface OutboxHead {
  id: number
  table: string
  key: string
  isDeletion: boolean
  /** Nobody has edited the row since, and its table is as it was. */
  isPlain: boolean
  /** What was known of the row. */
  extra: string | null
  jsonColumns: string[]
}

/** The first `limit` frozen changes, in their order. */
export function readHeads (driver: Driver, limit: number): OutboxHead[] {
  return driver.all<{ source_change_id: number, tbl: string, key: string, is_deletion: number, is_plain: number, extra: string | null, json_columns: string | null }>(
    `select o.source_change_id, o.tbl, o.key, o.sent is null as is_deletion, r.extra, r.json_columns,
       o.dropped is null and o.is_orphan = 0 and not exists (select 1 from _sync_pending as p where p.tbl = o.tbl and p.key = o.key) as is_plain
     from _sync_outbox as o left join _sync_row as r on r.tbl = o.tbl and r.key = o.key order by o.source_change_id limit ?`, [limit])
    .map(row => ({ id: row.source_change_id, table: row.tbl, key: row.key, isDeletion: row.is_deletion === 1, isPlain: row.is_plain === 1, extra: row.extra, jsonColumns: readNames(row.json_columns) }))
}

function readEntry (row: StoredEntry): OutboxEntry {
  return {
    id: row.source_change_id,
    table: row.tbl,
    key: row.key,
    baseVersion: row.base_version,
    image: decodeRow(row.image),
    imageText: row.image,
    sent: decodeRow(row.sent),
    sentBefore: readSent(row.sent_before),
    attempts: row.attempts,
    dropped: decodeRow(row.dropped),
    isOrphan: row.is_orphan === 1,
    payload: row.change === null ? null : membersOf(row.change).get('payload') ?? null
  }
}

/**
 * Puts the frozen batch back: its changes get new ids and content next time. Only for a new source id. The server may have
 * applied the batch unheard: what was sent is kept, so that a row that comes back as it was sent is the base of what was
 * edited since, and not somebody's edit against it.
 */
export function unfreeze (driver: Driver): void {
  recordUnsendable(driver)
  driver.run(
    `insert into _sync_pending (tbl, key, image, attempts, sent) select tbl, key, image, attempts, coalesce(sent, 'deleted') from _sync_outbox where true order by source_change_id
     on conflict (tbl, key) do update set image = excluded.image, sent = excluded.sent`)
  driver.run('delete from _sync_outbox')
}

/** Changes that can only be sent as they were frozen, and will not be. */
function recordUnsendable (driver: Driver): void {
  const sql = `select ${COLUMNS} from _sync_outbox where source_change_id > ? and (dropped is not null or is_orphan = 1 or tbl in (select tbl from _sync_table where is_gone = 1)) order by source_change_id limit ?`
  for (let after = 0; ;) {
    const rows = driver.all<StoredEntry>(sql, [after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.source_change_id
      const entry = readEntry(row)
      recordLost(driver, entry)
      if (entry.isOrphan || isDropped(driver, entry.table)) driver.run('delete from _sync_outbox where source_change_id = ?', [entry.id])
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/**
 * The values that only this change has are put on record: of columns that are gone, or all of them where the table is.
 * `server`: the server's row, where it is known; what it has too is not lost.
 */
export function recordLost (driver: Driver, { table, key, image, sent, dropped, isOrphan, payload }: OutboxEntry, server: string | null = null): void {
  if (isOrphan || isDropped(driver, table)) recordDropped(driver, table, key, { before: image, mine: sent, columns: (sent ?? image)?.keys() ?? [] })
  else if (dropped !== null) {
    const [mine, theirs] = [membersOf(payload ?? '{}'), membersOf(server ?? '{}')]
    const columns = [...dropped.keys()].filter(name => !theirs.has(name) || theirs.get(name) !== mine.get(name))
    if (columns.length > 0) recordDropped(driver, table, key, { before: image, mine: overlay(sent, dropped), columns })
  }
}

/** Adds to the ids of changes that were never sent: a migration froze them before the first contact with the server. */
export function renumber (driver: Driver, by: number): void {
  // By way of negative numbers, so that none is met on the way.
  driver.run(`update _sync_outbox set source_change_id = -(source_change_id + cast(? as integer)),
    change = '{"source_change_id":' || (source_change_id + cast(? as integer)) || substr(change, instr(change, ','))`, [String(by), String(by)])
  driver.run('update _sync_outbox set source_change_id = -source_change_id')
}
