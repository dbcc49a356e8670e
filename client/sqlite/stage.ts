import type { Driver } from '../drivers/driver.js'
import { hasPlainNumbers } from '../http/json-text.js'
import { readDownloadPage, type DownloadPage, type PageChange } from '../http/read-reply.js'
import { READ_CHUNK_ROWS } from '../limits.js'
import { runInGroups, valuesSql } from './groups.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { transact } from './transaction.js'

/**
 * Puts a page that others follow on disk, with the place where the next one goes on, in one transaction. False where the file
 * stands elsewhere than when the page was asked for: then the page is dropped.
 */
export function stagePage (driver: Driver, asked: ClientState, page: DownloadPage): boolean {
  return transact(driver, () => {
    const state = readState(driver) as ClientState
    if (!standsAsAsked(state, asked)) return false
    const last = page.changes.at(-1)
    if (last !== undefined) driver.run('insert into _sync_page (last_id, reply) values (?, ?)', [last.serverId, page.text])
    writeState(driver, {
      stage_after: page.nextAfter,
      // A server whose retention went on may raise the bound: the window then ends later.
      stage_until: page.windowUntil,
      stage_floor: state.stage?.floor ?? page.floor
    })
    return true
  })
}

/** Whether a page that was asked for in one state of the file goes on from the other; another process may have gone on meanwhile. */
export function standsAsAsked (state: ClientState, asked: ClientState): boolean {
  return state.cursor === asked.cursor && state.sourceId === asked.sourceId && state.epoch === asked.epoch && state.userId === asked.userId && state.scope === asked.scope && state.rebuild === asked.rebuild &&
    state.includeSelf === asked.includeSelf && state.stage?.after === asked.stage?.after && state.stage?.until === asked.stage?.until
}

/** The window in the order of the stream, a page at a time: that much is in memory at once, and its last page. */
export function * windowPages (driver: Driver, last: DownloadPage): Generator<readonly PageChange[]> {
  for (let after = 0; ;) {
    const page = driver.all<{ last_id: number, reply: string }>('select last_id, reply from _sync_page where last_id > ? order by last_id limit 1', [after])[0]
    if (page === undefined) break
    after = page.last_id
    yield readDownloadPage(page.reply).changes
  }
  if (last.changes.length > 0) yield last.changes
}

/** The same; a page that was taken makes room for what is written of the next ones: else the file would keep that much more room for ever. */
export function * takePages (driver: Driver, last: DownloadPage): Generator<readonly PageChange[]> {
  for (const changes of windowPages(driver, last)) {
    yield changes
    driver.run('delete from _sync_page where last_id = (select min(last_id) from _sync_page)')
  }
}

/** Lays out what is left of the window change by change, where it is not yet: what a rebuild compares, and where two rows want one unique value. */
export function layOut (driver: Driver, last: DownloadPage): void {
  if (driver.all('select 1 from _sync_stage limit 1').length > 0) return
  for (const changes of windowPages(driver, last)) {
    runInGroups(driver, changes.map(({ serverId, table, key, version, deleted, payload, sourceId }) => [serverId, table, key, version, deleted ? 1 : 0, payload, sourceId]),
      rows => `insert into _sync_stage (server_id, tbl, key, server_version, deleted, payload, source_id) values ${valuesSql(7, rows)}`)
  }
}

/** The window as it was laid out, and as the comparison of histories has left it, a chunk at a time. */
export function * laidOutChanges (driver: Driver): Generator<PageChange[]> {
  for (let after = 0; ;) {
    const rows = driver.all<{ server_id: number, tbl: string, key: string, server_version: number, deleted: number, payload: string | null, source_id: string }>(
      'select server_id, tbl, key, server_version, deleted, payload, source_id from _sync_stage where server_id > ? order by server_id limit ?',
      [after, READ_CHUNK_ROWS])
    if (rows.length === 0) return
    after = rows.at(-1)?.server_id ?? after
    yield rows.map(({ server_id: serverId, tbl: table, key, server_version: version, deleted, payload, source_id: sourceId }) => ({
      serverId,
      table,
      key,
      version,
      deleted: deleted === 1,
      payload,
      sourceId,
      members: payload === null ? null : JSON.parse(payload) as Record<string, unknown>,
      hasPlainNumbers: payload === null || hasPlainNumbers(payload)
    }))
  }
}

/** Whether the window has a change of this row after `serverId`. Only asked where two rows want one unique value. */
export function comesAgain (driver: Driver, last: DownloadPage, table: string, key: string, serverId: number): boolean {
  layOut(driver, last)
  return driver.all('select 1 from _sync_stage where tbl = ? and key = ? and server_id > ? limit 1', [table, key, serverId]).length > 0
}
