import type { CompiledQuery } from 'kysely'
import { MAX_TOUCHED_BYTES } from '../limits.js'
import { strictStatements } from '../materializer/materializer.js'
import { appendWhereAssumed, type AppendedRow } from '../storage/append-where-assumed.js'
import { victimReason } from '../storage/database-error.js'
import { sendTogether } from '../storage/pipeline.js'
import { epochOf, lockStatement } from '../storage/stream.js'
import { inTransactionBegunBy } from '../storage/transaction.js'
import { areGood, assume } from './assume.js'
import { needsLook, orNotAtOnce } from './at-once.js'
import { BatchTooLarge } from './batch-too-large.js'
import { ByteBudget } from './byte-budget.js'
import { rowsWithOtherKeys } from './complete-payloads.js'
import { decide, type Judgement } from './decide.js'
import type { PreparedChange, UnreadableChange } from './prepare.js'
import { numberEntries } from './record.js'
import { toRowWrites } from './to-row-write.js'
import type { Batch } from './upload.js'
import { statusesOf, uploadReply, type Statuses, type UploadResult } from './upload-reply.js'
import { orderWrites, splitIntoRuns } from './write-order.js'

/** All that an upload sends and answers, made before anything is read. */
export interface OneTrip {
  append: CompiledQuery<AppendedRow>
  /** Writes of the business tables. */
  writes: CompiledQuery[]
  statuses: Statuses
  /** Entries that it adds to the log. */
  added: number
}

/**
 * Judges a batch by what it assumes of the stream (docs/decisions/0025-judged-by-assumption.md). Null where that is not good,
 * or a look at something is needed. Asks nobody.
 */
export function planOneTrip ({ context: { db, metadata }, identity, request }: Batch, prepared: Array<PreparedChange | UnreadableChange>): OneTrip | null {
  // PostgreSQL has no text with a NUL.
  if (!areGood(prepared) || request.epoch?.includes('\0') === true) return null
  const { known, assumptions } = assume(prepared, request)
  const judgement = decide(prepared, known, new Map())
  // Also where an older client uses a number twice.
  if (judgement.decisions.some(decision => decision.verdict !== 'write' || decision.write.takesNumber)) return null
  judgement.writes = orderWrites(judgement.writes)
  if (rowsWithOtherKeys(judgement.writes, known).size > 0) return null
  const { rows, defaulted } = toRowWrites(judgement.writes, new Map(), new Map())
  if (needsLook(judgement, defaulted)) return null
  const writes = strictStatements(splitIntoRuns(rows), identity.scope, 'strict where assumed')
  if (writes === null) return null
  // Counted from the head, which is not known here; and of a device without a number yet.
  const { entries, head: added, maxChangeId } = numberEntries({ head: 0 }, { no: 0, maxChangeId: 0 }, judgement, [])
  const statuses = statusesUnlessTooLarge(judgement, maxChangeId + 1)
  if (statuses === null) return null
  return { append: appendWhereAssumed(db, metadata, { ...assumptions, identity, entries, maxChangeId }), writes, statuses, added }
}

/** Null where the reply would be too large, which is to be said of the batch where it is judged by what is there. */
function statusesUnlessTooLarge (judgement: Judgement, nextSourceChangeId: number): Statuses | null {
  const budget = new ByteBudget(MAX_TOUCHED_BYTES)
  try {
    return statusesOf({ judgement, payloads: new Map(), spend: bytes => { budget.spend(bytes) }, nextSourceChangeId })
  } catch (error) {
    if (error instanceof BatchTooLarge) return null
    throw error
  }
}

/** Rows of the app's tables were locked. Judged by reading, the batch may not even want them: a replay, a conflict. */
class Locked extends Error {
  readonly reason: 'lock_timeout' | 'deadlock'

  constructor (reason: Locked['reason'], cause: unknown) {
    super('The database has given the transaction up.', { cause })
    this.reason = reason
  }
}

/** `attempts` of the transaction were made for nothing, where it was not applied. */
export type OneTripOutcome = { applied: UploadResult } | { applied: null, attempts: number }

/**
 * Sends everything from BEGIN to COMMIT at once, in one round trip. The database writes only where all is as was assumed; where
 * it is not, nothing is stored, and the batch is to be judged by reading. Throws NotAtOnce.
 */
export async function applyInOneTrip ({ context: { db, metadata, metrics }, identity }: Batch, { append, writes, statuses, added }: OneTrip): Promise<OneTripOutcome> {
  const statements = [lockStatement(db, metadata, { scope: identity.scope }), append, ...writes] as const
  let appended: AppendedRow | undefined
  try {
    appended = await inTransactionBegunBy(db, async trx => {
      try {
        const [, { rows }] = await orNotAtOnce(sendTogether(trx, statements, { commits: true, goesOn: ([, answer]) => answer === undefined || answer.rows.length > 0 }))
        return rows[0]
      } catch (error) {
        const reason = victimReason(error)
        throw reason === 'lock_timeout' || reason === 'deadlock' ? new Locked(reason, error) : error
      }
    }, async (_trx, row) => row, metrics)
  } catch (error) {
    if (!(error instanceof Locked)) throw error
    metrics?.add('oversync_transaction_retries_total', 1, { reason: error.reason })
    return { applied: null, attempts: 1 }
  }
  if (appended === undefined) return { applied: null, attempts: 0 }
  metrics?.add('oversync_uploads_judged_total', 1, { by: 'assumption' })
  metrics?.observe('oversync_upload_rounds', 1, {})
  return { applied: uploadReply(statuses, { head: Number(appended.head) + added, epoch: epochOf(appended.epoch, appended.scope_id), sourceId: identity.deviceId }) }
}
