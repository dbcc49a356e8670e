import type { Driver } from '../drivers/driver.js'
import type { DownloadPage, PageChange } from '../http/read-reply.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { transact } from './transaction.js'

/**
 * Puts a page on disk, with the place where the next one goes on, in one transaction. False where the file stands elsewhere
 * than when the page was asked for (another process went on meanwhile): then the page is dropped.
 */
export function stagePage (driver: Driver, asked: ClientState, page: DownloadPage): boolean {
  return transact(driver, () => {
    const state = readState(driver) as ClientState
    const isSame = state.cursor === asked.cursor && state.sourceId === asked.sourceId && state.epoch === asked.epoch && state.userId === asked.userId && state.rebuild === asked.rebuild &&
      state.stage?.after === asked.stage?.after && state.stage?.until === asked.stage?.until && state.stage?.complete === asked.stage?.complete
    if (!isSame) return false
    for (const change of page.changes) {
      driver.run(
        'insert into _sync_stage (server_id, tbl, key, server_version, deleted, payload, source_id) values (?, ?, ?, ?, ?, ?, ?)',
        [change.serverId, change.table, change.key, change.version, change.deleted ? 1 : 0, change.payload, change.sourceId])
    }
    writeState(driver, {
      stage_after: page.nextAfter,
      // A server whose retention went on may raise the bound: the window then ends later.
      stage_until: page.windowUntil,
      stage_floor: state.stage?.floor ?? page.floor,
      stage_complete: page.hasMore ? 0 : 1
    })
    return true
  })
}

/** The staged window in the order of the stream, a chunk at a time. */
export function * stagedChanges (driver: Driver): Generator<PageChange> {
  for (let after = 0; ;) {
    const rows = driver.all<{ server_id: number, tbl: string, key: string, server_version: number, deleted: number, payload: string | null, source_id: string }>(
      'select server_id, tbl, key, server_version, deleted, payload, source_id from _sync_stage where server_id > ? order by server_id limit ?',
      [after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.server_id
      yield { serverId: row.server_id, table: row.tbl, key: row.key, version: row.server_version, deleted: row.deleted === 1, payload: row.payload, sourceId: row.source_id }
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/** Whether the staged window has a change of this row after `serverId`. Only asked where two rows want one unique value. */
export function comesAgain (driver: Driver, table: string, key: string, serverId: number): boolean {
  return driver.all('select 1 from _sync_stage where tbl = ? and key = ? and server_id > ? limit 1', [table, key, serverId]).length > 0
}
