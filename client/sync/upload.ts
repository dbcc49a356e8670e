import { DriverError } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import { readUploadReply, type UploadReply } from '../http/read-reply.js'
import { applyTransaction } from '../sqlite/apply-context.js'
import { freeze } from '../sqlite/freeze.js'
import { hold } from '../sqlite/held.js'
import { judge, plainVersion, type Judged } from '../sqlite/judge.js'
import { readBatch, type Batch, readEntries, readOutbox, recordLost } from '../sqlite/outbox.js'
import { beginRebuild } from '../sqlite/rebuild.js'
import { transact } from '../sqlite/transaction.js'
import { otherTasks, startAhead } from './ahead.js'
import { finishRebuild, type DownloadReport } from './download.js'
import { isRewound } from './handshake.js'
import { throughRebuilds } from './history.js'
import { assertSameIdentity, historyChanged, stateOf, type Session } from './session.js'
import type { SentBatch, UploadLine } from './upload-line.js'

export interface UploadReport {
  /** Changes that were sent and judged. */
  sent: number
  applied: number
  /** Changes whose row had moved on; they were merged, and the result waits to be sent where it differs. */
  conflicts: number
  /** Changes that were refused, and rows that cannot travel: see `held()`. */
  held: number
  /** Rows that wait to be sent. */
  pending: number
}

export type UploadStep = Omit<UploadReport, 'pending'>

/**
 * One batch. An outbox that was not judged goes again as it is, whether or not the server has it: ids and content are the
 * same, so the server answers with the same verdicts. The steps, and what a crash after each leaves behind:
 * freeze (the batch in the outbox), send (maybe applied; it goes again), judge (all or nothing). A rebuild that is under way
 * is finished first.
 */
export async function uploadOnce (session: Session, signal: AbortSignal | undefined): Promise<UploadReport> {
  const step = await uploadStep(session, signal, () => {}, null)
  const pending = session.driver.all<{ n: number }>('select (select count(*) from _sync_pending) + (select count(*) from _sync_outbox) as n')[0]?.n ?? 0
  return { ...step, pending }
}

/** The same without counting what waits: that may be much, and a drain has many steps. `onWindow` is told of the window of a rebuild. `line`: where the next step follows at once. */
export async function uploadStep (session: Session, signal: AbortSignal | undefined, onWindow: (window: DownloadReport) => void, line: UploadLine | null): Promise<UploadStep> {
  return await throughRebuilds(session, signal, async () => {
    const window = await finishRebuild(session, signal)
    if (window !== null) {
      await line?.drop() // another process found out that there was something to rebuild
      onWindow(window)
    }
    return await uploadBatch(session, signal, line)
  })
}

async function uploadBatch (session: Session, signal: AbortSignal | undefined, line: UploadLine | null): Promise<UploadStep> {
  const heldBefore = countHeld(session)
  const sent = line?.take() ?? sendFirst(session, signal)
  if (sent === null) return report(0, null, countHeld(session) - heldBefore)
  try {
    const { ids, isFull } = sent
    session.checkpoints.afterMany(ids.length)
    const reply = await sent.reply
    if (reply === 'too-large' || isTooLarge(reply)) return report(0, null, makeSmaller(session, ids))
    requireOnward(session, ids, reply)
    if (line !== null && isFull && isPlain(ids, reply)) {
      line.put(sendNext(session, ids.at(-1) as number, signal))
      await otherTasks()
    }
    const judged = judge(session, ids, reply)
    session.batchSize = Math.min(session.settings.uploadBatchSize, session.batchSize * 2)
    // A new source id has to introduce itself; and if someone else uses ours, that has to be found out before the next request.
    if (judged?.reusedIds === true || reply.nextChangeId > stateOf(session).ownNext) session.hasShakenHands = false
    if (judged === null || !session.hasShakenHands) await line?.drop()
    return report(judged === null ? 0 : ids.length, judged, countHeld(session) - heldBefore)
  } finally {
    await sent.drop()
  }
}

function sendFirst (session: Session, signal: AbortSignal | undefined): SentBatch | null {
  freeze(session.driver, session, session.settings.schema, session.batchSize)
  return sendBatch(session, readBatch(session.driver, session.batchSize), null, signal)
}

/**
 * The batch that follows one of which all was applied: its verdicts are not written down yet, but the server has used its ids.
 * Not frozen any earlier: what a verdict brings back has to go up before what was to follow it. Where it cannot be frozen now
 * (no room while the one before it still takes some, another process at the file) the next step does it, or says why not.
 */
function sendNext (session: Session, last: number, signal: AbortSignal | undefined): SentBatch | null {
  try {
    freeze(session.driver, session, session.settings.schema, session.batchSize, last)
  } catch (error) {
    if (error instanceof DriverError && (error.code === 'full' || error.code === 'busy')) return null
    throw error
  }
  return sendBatch(session, readBatch(session.driver, session.batchSize, last), last + 1, signal)
}

function sendBatch (session: Session, { ids, changes, isFull }: Batch, acked: number | null, signal: AbortSignal | undefined): SentBatch | null {
  return ids.length === 0 ? null : { ids, isFull, ...startAhead(signal, signal => send(session, changes, acked, signal)) }
}

/** Everything was applied as it was sent, and nobody else has used ids of this file: acting on it will change nothing of the batch that follows. */
function isPlain (ids: number[], { verdicts, nextChangeId }: UploadReply): boolean {
  return verdicts.length === ids.length && verdicts.every((verdict, i) => verdict.id === ids[i] && plainVersion(verdict) !== null) && nextChangeId === (ids.at(-1) as number) + 1
}

/**
 * A server that knows less than it has told this device was rewound. Its verdicts are not used: the rebuild sees what it
 * holds. Where a rebuild has not explained a row, only that row is held, and the rest goes on.
 */
function requireOnward (session: Session, ids: number[], reply: UploadReply): void {
  const isBehind = transact(session.driver, () => {
    const state = stateOf(session)
    const sent = new Set(ids)
    const conflicts = reply.verdicts.filter(({ id, status }) => status === 'conflict' && sent.has(id)).map(({ id }) => id)
    const outbox = new Map(readEntries(session.driver, conflicts).map(entry => [entry.id, entry]))
    const behind = reply.verdicts.flatMap(verdict => {
      const entry = outbox.get(verdict.id)
      const name = `${entry?.table}:${entry?.key}`
      return verdict.status !== 'conflict' || entry === undefined || verdict.row.version >= entry.baseVersion || session.unexplained.has(name) ? [] : [name]
    })
    if (behind.length === 0 && !isRewound(state, reply)) return false
    session.unexplained = new Set(behind)
    beginRebuild(session.driver, 'history', state.epoch)
    return true
  })
  if (!isBehind) return
  session.onRebuild({ reason: 'history', phase: 'begun' })
  throw historyChanged()
}

async function send (session: Session, changes: string[], acked: number | null, signal: AbortSignal | undefined): Promise<UploadReply | 'too-large'> {
  const state = stateOf(session)
  // Put together as text: the changes are sent as they were frozen, byte for byte.
  const body = JSON.stringify({ last_server_seq_seen: state.cursor, epoch: state.epoch, next_source_change_id: acked ?? state.ackedNext }).slice(0, -1) + `,"changes":[${changes.join(',')}]}`
  try {
    const reply = readUploadReply(await session.transport.upload(body, { sourceId: state.sourceId, signal }))
    assertSameIdentity(state, reply)
    return reply
  } catch (error) {
    if (error instanceof SyncClientError && error.code === 'body_too_large') return 'too-large'
    throw error
  }
}

function isTooLarge (reply: UploadReply): boolean {
  return reply.verdicts.length > 0 && reply.verdicts.every(verdict => verdict.status === 'invalid' && verdict.reason === 'batch_too_large')
}

/**
 * Half as many changes next time; a single one that is too large is held. Returns how many were. The outbox stays frozen: the
 * server may have judged these very changes in an earlier delivery whose reply was lost.
 */
function makeSmaller (session: Session, ids: number[]): number {
  if (ids.length > 1) {
    session.batchSize = ids.length >> 1
    return 0
  }
  applyTransaction(session, context => {
    for (const entry of readOutbox(context.driver, 1)) {
      if (entry.id !== ids[0]) return // another process was faster, and this is another batch
      recordLost(context.driver, entry)
      if (entry.isOrphan) continue
      hold(context.driver, {
        table: entry.table,
        key: entry.key,
        image: entry.imageText,
        reason: 'body_too_large',
        message: 'The row is larger than the server takes in one request.',
        details: null,
        missing: null,
        attempts: entry.attempts
      }, context.stamp)
    }
    context.driver.run('delete from _sync_outbox where source_change_id = cast(? as integer)', [String(ids[0])])
  })
  return 1
}

function report (sent: number, judged: Judged | null, held: number): UploadStep {
  return { sent, applied: judged?.applied ?? 0, conflicts: judged?.conflicts ?? 0, held: Math.max(held, judged?.held ?? 0) }
}

function countHeld (session: Session): number {
  return session.driver.all<{ n: number }>('select count(*) as n from _sync_held')[0]?.n ?? 0
}
