import type { ApplyContext } from './apply-context.js'
import type { ServerState } from '../http/read-reply.js'
import { MAX_MERGED_TOGETHER } from '../limits.js'
import { readLocal, stepAside } from './local-row.js'
import { imageOfEdit } from './pending.js'
import { mergeServerState } from './server-row.js'
import type { TableInfo } from './table-info.js'

interface BlockedRow { tbl: string, key: string, server_version: number, deleted: number, payload: string | null }

/**
 * Rows with local work whose server row cannot be merged, because a local rule forbids the result. Two of them may only
 * stand in each other's way (values that were swapped on both sides): all are tried together. What remains is held, for it
 * can be neither sent (the server would answer with the same conflict) nor merged until the app changes something.
 */
export function settleBlocked (context: ApplyContext): void {
  const blocked = context.driver.all<BlockedRow>(
    `select s.tbl, s.key, s.server_version, s.deleted, s.payload from _sync_shadow as s
     where s.reason = 'unique'`).filter(row => context.tables.has(row.tbl))
  // Without the one that fails, the others may fit: at most as many attempts as rows.
  for (let group = blocked.slice(0, MAX_MERGED_TOGETHER); group.length > 1;) {
    const misfit = mergeTogether(context, group)
    if (misfit === null) break
    group = group.filter(row => row !== misfit)
  }
  holdBlocked(context)
}

/** All of the rows, or none: a row with local work must not lose its place to another. Returns the first that does not fit. */
function mergeTogether (context: ApplyContext, blocked: BlockedRow[]): BlockedRow | null {
  const { driver } = context
  const before = { ...context.counts }
  driver.exec('savepoint _sync_blocked')
  for (const { tbl, key } of blocked) stepAside(context, tableOf(context, tbl), key)
  const misfit = blocked.find(({ tbl, key, server_version: version, deleted, payload }) => {
    const state: ServerState = { version, deleted: deleted === 1, payload }
    const edit = imageOfEdit(driver, tbl, key)
    return !mergeServerState(context, tableOf(context, tbl), key, edit === undefined ? readLocal(context, tableOf(context, tbl), key) : edit, state)
  }) ?? null
  if (misfit !== null) {
    driver.exec('rollback to _sync_blocked')
    Object.assign(context.counts, before)
  }
  driver.exec('release _sync_blocked')
  return misfit
}

function tableOf (context: ApplyContext, name: string): TableInfo {
  return context.tables.get(name) as TableInfo
}

/** `server_version` in the details: the same conflict does not fail twice, see `hasFailed`. */
function holdBlocked (context: ApplyContext): void {
  const { changes } = context.driver.run(
    `insert into _sync_held (tbl, key, image, reason, message, details, attempts, stamp, since)
     select p.tbl, p.key, p.image, iif(s.reason = 'resolver', 'resolver_failed', 'server_row_blocked'), s.message,
       iif(s.reason = 'resolver', json_object('server_version', s.server_version), null), p.attempts, ?, ?
     from _sync_pending as p join _sync_shadow as s on s.tbl = p.tbl and s.key = p.key where s.reason not in ('frozen', 'undecided')`,
    [context.stamp, new Date().toISOString()])
  if (changes > 0) context.driver.run('delete from _sync_pending where exists (select 1 from _sync_held h where h.tbl = _sync_pending.tbl and h.key = _sync_pending.key)')
}
