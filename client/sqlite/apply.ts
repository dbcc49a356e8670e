import { applyTransaction, type ApplyContext, type ApplyCounts, type ApplyHost } from './apply-context.js'
import type { DownloadPage } from '../http/read-reply.js'
import { MAX_ECHO_ROUNDS } from '../limits.js'
import { dropStage, readState, writeState, type ClientState, type RebuildReason } from './client-state.js'
import { applyChanges } from './apply-changes.js'
import { settleBlocked } from './blocked.js'
import { settleDangling } from './dangling.js'
import { repairEchoes } from './echo-repair.js'
import { reviveOrphans } from './held.js'
import { compareHistories, type RebuildCounts } from './histories.js'
import { parkedRows, writeLocal } from './local-row.js'
import { bringBackLost, keepLostShadow } from './lost.js'
import { writePayload } from './payload.js'
import { removeAbsent } from './remove-absent.js'
import { readRowState } from './row-state.js'
import { applyServerState } from './server-row.js'
import { putShadow, readShadow, shadowRows } from './shadow.js'
import { comesAgain, laidOutChanges, layOut, standsAsAsked, takePages } from './stage.js'

export interface AppliedWindow extends ApplyCounts {
  /** Changes in the window. */
  received: number
  cursor: number
  /** What the window rebuilt; null for a window that only went on. */
  rebuilt: Rebuilt | null
}

export interface Rebuilt extends RebuildCounts { reason: RebuildReason }

/**
 * Applies a window, the pages on disk and its last one: its rows, their versions and the cursor become visible in one
 * transaction. The cursor moves whatever becomes of single rows. null where the file stands elsewhere than when the last page
 * was asked for.
 */
export function applyWindow (host: ApplyHost, asked: ClientState, last: DownloadPage): AppliedWindow | null {
  const { driver } = host
  if (changesNothing(host, asked, last)) return { applied: 0, skipped: 0, shadowed: 0, conflicts: 0, received: 0, cursor: asked.cursor, rebuilt: null }
  let position = 0
  const window = applyTransaction(host, (context, state) => {
    if (!standsAsAsked(state, asked)) return null
    let received = 0
    const rebuilt = state.rebuild === null ? null : { reason: state.rebuild, queued: 0, diverged: 0, removed: 0 }
    if (rebuilt !== null) layOut(driver, last)
    if (rebuilt?.reason === 'history') {
      keepLostShadow(context)
      compareHistories(context, rebuilt)
    }
    const sources = new Set<string>()
    for (const changes of rebuilt === null ? takePages(driver, last) : laidOutChanges(driver)) {
      received += changes.length
      for (const { sourceId } of changes) sources.add(sourceId)
      applyChanges(context, changes, serverId => { position = serverId })
    }
    putBackParked(context)
    if (rebuilt?.reason === 'expired') removeAbsent(context, rebuilt)
    driver.run('insert into _sync_seen (source_id) select value from json_each(?) where true on conflict do nothing', [JSON.stringify([...sources])])
    afterTakingOver(context)
    dropStage(driver)
    writeState(driver, { cursor: last.windowUntil, include_self: 0, recheck: 0, rebuild: null })
    return { ...context.counts, received, cursor: last.windowUntil, rebuilt }
  }, (table, key) => comesAgain(driver, last, table, key, position))
  if (window !== null) settleUndecided(host, window)
  return window
}

/**
 * Most polls: nothing has come, and nothing waits for which the app could have made room. The file is not written for them.
 * (What was refused waits for something that comes, or for an edit, which the next batch sees.)
 */
function changesNothing ({ driver, knownTables, schemaHasChanged }: ApplyHost, asked: ClientState, { changes, windowUntil }: DownloadPage): boolean {
  const state = readState(driver)
  if (state === null || !standsAsAsked(state, asked) || schemaHasChanged()) return false
  return changes.length === 0 && state.stage === null && windowUntil === state.cursor && !state.includeSelf && !state.recheck && state.rebuild === null &&
    driver.all('select 1 from _sync_shadow where tbl in (select value from json_each(?)) union all select 1 from _sync_lost limit 1', [JSON.stringify([...knownTables().keys()])]).length === 0
}

/** Conflicts that were too many to be asked about in one transaction (`MAX_QUESTIONS`): as many more transactions as it takes. */
export function settleUndecided (host: ApplyHost, counts?: ApplyCounts): void {
  const count = (): number => host.driver.all<{ n: number }>("select count(*) as n from _sync_shadow where reason = 'undecided'")[0]?.n ?? 0
  for (let left = count(), last = Infinity; left > 0 && left < last; last = left, left = count()) {
    const more = applyTransaction(host, context => {
      afterTakingOver(context)
      return context.counts
    })
    if (counts === undefined) continue
    counts.applied += more.applied
    counts.conflicts += more.conflicts
    counts.shadowed = Math.max(0, counts.shadowed - more.applied)
  }
}

/** What every transaction that took over server rows ends with. */
export function afterTakingOver (context: ApplyContext): void {
  retryShadow(context)
  bringBackLost(context)
  settleBlocked(context)
  // Rows must be what they should be before their parents are looked for, and looking for them writes again.
  repairEchoes(context)
  let rounds = 0
  do settleDangling(context)
  while (repairEchoes(context) && ++rounds < MAX_ECHO_ROUNDS)
  reviveOrphans(context.driver)
}

/** Tries again what could not be shown: something may have made room for it. */
export function retryShadow (context: ApplyContext): void {
  const before = { ...context.counts }
  for (const { table, key, state } of shadowRows(context)) applyServerState(context, table, key, state)
  // Rows that go back to shadow are no news.
  context.counts.shadowed = before.shadowed
  context.counts.skipped = before.skipped
}

/** A row that made way is put back if its own later change did not bring it back after all. */
function putBackParked (context: ApplyContext): void {
  for (const { table: name, key, row } of parkedRows(context)) {
    const table = context.tables.get(name)
    const known = readRowState(context.driver, name, key)
    if (table === undefined || known === null) continue
    const problem = writeLocal(context, table, key, row)
    if (problem === null) continue
    context.driver.run('delete from _sync_parked where tbl = ? and key = ?', [name, key])
    if (readShadow(context, name, key) === null) {
      putShadow(context, name, key, { version: known.version, deleted: false, payload: writePayload(table, key, row, known) }, problem.reason, problem.message)
    }
  }
}
