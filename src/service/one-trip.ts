import type { CompiledQuery } from 'kysely'
import { MAX_TOUCHED_BYTES } from '../limits.js'
import { strictStatements } from '../materializer/materializer.js'
import { appendWhereAssumed, type AppendedRow } from '../storage/append-where-assumed.js'
import { sendTogether } from '../storage/pipeline.js'
import { epochOf, lockStatement } from '../storage/stream.js'
import { inTransactionBegunBy } from '../storage/transaction.js'
import { areGood, assume } from './assume.js'
import { needsLook, orNotAtOnce } from './at-once.js'
import { ByteBudget } from './byte-budget.js'
import { rowsWithOtherKeys } from './complete-payloads.js'
import { BatchTooLarge } from './batch-too-large.js'
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
  /** Entries that it adds, and the highest number of the device then. */
  added: number
  maxChangeId: number
}

/**
 * Judges a batch by what it assumes of the stream (docs/decisions/0025-judged-by-assumption.md). Null where that is not good,
 * or a look at something is needed. Asks nobody.
 */
export function planOneTrip ({ context: { db, metadata }, identity, request }: Batch, prepared: Array<PreparedChange | UnreadableChange>): OneTrip | null {
  if (!areGood(prepared)) return null
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
  return { append: appendWhereAssumed(db, metadata, { ...assumptions, identity, entries, maxChangeId }), writes, statuses, added, maxChangeId }
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

/**
 * Sends everything from BEGIN to COMMIT at once, in one round trip. The database writes only where all is as was assumed. Null
 * where it is not: then nothing is stored. Throws NotAtOnce.
 */
export async function applyInOneTrip ({ context: { db, metadata, metrics }, identity }: Batch, { append, writes, statuses, added, maxChangeId }: OneTrip): Promise<UploadResult | null> {
  return await inTransactionBegunBy(db, async (trx): Promise<AppendedRow | undefined> => {
    const [, { rows: [appended] }] = await orNotAtOnce(sendTogether(trx, [lockStatement(trx, metadata, { scope: identity.scope }), append, ...writes], { commits: true }))
    return appended
  }, async (_trx, appended) => {
    if (appended === undefined) return null
    metrics?.add('oversync_uploads_judged_total', 1, { by: 'assumption' })
    metrics?.observe('oversync_upload_rounds', 1, {})
    return uploadReply(statuses, { head: Number(appended.head) + added, epoch: epochOf(appended.epoch, appended.scope_id), sourceId: identity.deviceId, nextSourceChangeId: maxChangeId + 1 })
  }, metrics)
}
