import type { Kysely, Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import { MAX_TOUCHED_BYTES } from '../limits.js'
import type { Catalog } from '../materializer/catalog.js'
import type { Metrics } from '../metrics.js'
import type { Identity } from '../options.js'
import { beginUpload, type Begun } from '../storage/begin-upload.js'
import { hasUsed, readLedger, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import { readFailed } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import { sendTogether } from '../storage/pipeline.js'
import type { RowKey } from '../storage/row-state.js'
import { addSource, findSource, type Source } from '../storage/source.js'
import { ensureStream, type Stream } from '../storage/stream.js'
import { inTransactionBegunBy, reading } from '../storage/transaction.js'
import type { AppHooks } from './app-hooks.js'
import { NotAtOnce } from './at-once.js'
import { BatchTooLarge } from './batch-too-large.js'
import { ByteBudget } from './byte-budget.js'
import { conclude } from './conclude.js'
import type { Judgement, Known } from './decide.js'
import { noteFailures } from './failures.js'
import { HookTime } from './in-time.js'
import { applyInOneTrip } from './one-trip.js'
import { makePlan, planByReading, type Plan, type PlanByReading, type PlannedUpload } from './plan-upload.js'
import type { PreparedChange, Refusal, UnreadableChange } from './prepare.js'
import { readBack } from './read-back.js'
import { followDeletions } from './server-changes.js'
import { settle } from './settle.js'
import { statusesOf, uploadReply, type UploadResult } from './upload-reply.js'
import type { UploadBody } from './upload-body.js'
import { withCatalog } from './with-catalog.js'

export interface UploadContext {
  db: Kysely<Database>
  metadata: Metadata
  catalog: Catalog
  hooks: AppHooks
  /** Longest that one call of a hook may take; default HOOK_TIMEOUT_MS. Tests have less patience. */
  hookTimeoutMs?: number
  /** Tables that had failures at start. */
  failedTables: ReadonlySet<number>
  maxUploadBatchSize: number
  maxPayloadBytes: number
  metrics: Metrics | null
}

/** An upload on its way. */
export interface Batch {
  context: UploadContext
  /** Whom it is asked about. */
  hooks: AppHooks
  identity: Required<Identity>
  /** All of the request but its changes. */
  request: UploadBody['request']
  /** Parses the request again. Parsed changes hold several times the memory of their text: nobody keeps them who has prepared them. */
  readAgain: () => UploadBody
  /** The server itself is the author: no hook is asked, and tables that devices may not write are open. */
  trusted: boolean
}

/** Judges a batch and applies what is good, in one transaction of the scope's stream. */
export async function upload ({ batch, plan }: PlannedUpload): Promise<UploadResult> {
  const { context } = batch
  if (plan === null) return await answerWithoutApplying(batch, `A batch may have ${context.maxUploadBatchSize} changes.`)
  try {
    return await withCatalog(context.catalog, async snapshot => await applyInFewTrips(batch, plan.snapshot === snapshot ? plan : makePlan(batch, batch.readAgain(), snapshot)))
  } catch (error) {
    // Nothing was stored: the same changes go through in smaller batches.
    if (error instanceof BatchTooLarge) return await answerWithoutApplying(batch, error.message)
    throw error
  }
}

/**
 * Applies the batch in as few round trips as there can be: judged by what most batches find, if that is so; else by what is
 * there; and where the database refuses a row, again and step by step, to find out which.
 */
async function applyInFewTrips (batch: Batch, plan: Plan): Promise<UploadResult> {
  let attempts = 0
  let result: UploadResult
  try {
    if (plan.oneTrip !== null) {
      const outcome = await applyInOneTrip(batch, plan.oneTrip)
      if (outcome.applied !== null) return outcome.applied
      attempts = outcome.attempts
    }
    result = await apply(batch, toRead(), true, attempts)
  } catch (error) {
    if (!(error instanceof NotAtOnce)) throw error
    result = await apply(batch, toRead(), false, attempts)
  }
  batch.context.metrics?.add('oversync_uploads_judged_total', 1, { by: 'reading' })
  return result

  function toRead (): PlanByReading {
    // As large as the batch, and of no more use.
    plan.oneTrip = null
    plan.byReading ??= planByReading(batch, batch.readAgain(), plan.snapshot)
    return plan.byReading
  }
}

async function apply ({ context, hooks, identity, request }: Batch, { snapshot, prepared, suspects, mayCommit }: PlanByReading, atOnce: boolean, attempts: number): Promise<UploadResult> {
  const { db, metadata, maxPayloadBytes, failedTables } = context
  return await inTransactionBegunBy(db, async trx => await beginUpload(trx, metadata, identity, rowsOf(prepared)), async (trx, begun) => {
    const { stream } = begun
    const budget = new ByteBudget(MAX_TOUCHED_BYTES)
    const spend: Spend = bytes => { budget.spend(bytes) }
    requireSameHistory(stream, request.epoch)
    const { source, known } = await readKnown({ trx, metadata, begun, identity, prepared, request, spend })
    const failed = await readFailed(trx, metadata, stream.scopeId, suspects)
    const concluding = { trx, metadata, identity, stream, source, spend }
    const settled = await settle({
      trx,
      metadata,
      identity,
      stream,
      maxPayloadBytes,
      metrics: context.metrics,
      spend,
      hooks,
      hookTime: new HookTime(context.hookTimeoutMs),
      requireCatalog: async () => { await context.catalog.requireUnchanged(trx, snapshot) },
      lastly: atOnce && mayCommit ? async judgement => await conclude(concluding, judgement, []) : null
    }, prepared, known, failed)
    const { judgement, affected, states } = settled
    if (settled.committed !== null) return settled.committed.reply
    await readBack(trx, judgement, settled, spend)
    const serverChanges = await followDeletions(trx, metadata, stream.scopeId, judgement, affected, states, spend)
    await noteFailures({ trx, metadata, scopeId: stream.scopeId, sourceNo: source.no, failedTables }, judgement, settled, serverChanges)
    const { reply, statements } = await conclude(concluding, judgement, serverChanges)
    if (statements.length > 0) await sendTogether(trx, statements, { commits: true })
    return reply
  }, context.metrics, attempts)
}

/** The handshake (no changes), and the refusal of a batch that is too large. */
async function answerWithoutApplying ({ context: { db }, identity, request, readAgain }: Batch, message: string): Promise<UploadResult> {
  const { changes, largeIds } = readAgain()
  return await reading(async () => {
    const stream = await ensureStream(db, identity.scope)
    requireSameHistory(stream, request.epoch)
    const source = await findSource(db, stream.scopeId, identity)
    const refusal: Refusal = { reason: 'batch_too_large', message }
    const judgement: Judgement = {
      decisions: changes.map((change, index) => ({ verdict: 'invalid', refusal, change: { index, idText: largeIds.get(index) ?? String(change.source_change_id), row: null, unreadable: refusal } })),
      writes: [],
      rows: new Map()
    }
    const statuses = statusesOf({ judgement, payloads: new Map(), spend: () => {}, nextSourceChangeId: (source?.maxChangeId ?? 0) + 1 })
    return uploadReply(statuses, { head: stream.head, epoch: stream.epoch, sourceId: identity.deviceId })
  })
}

export function requireSameHistory (stream: Stream, epoch: string | undefined): void {
  if (epoch !== undefined && epoch !== stream.epoch) throw new SyncError('history_changed', 'The server\'s history is not the one this device knows.')
}

interface Reads {
  trx: Transaction<Database>
  metadata: Metadata
  begun: Begun
  identity: Required<Identity>
  prepared: Array<PreparedChange | UnreadableChange>
  request: UploadBody['request']
  spend: Spend
}

/** The rows that the batch changes or refers to. */
function rowsOf (prepared: Array<PreparedChange | UnreadableChange>): RowKey[] {
  const keys = new Map<string, RowKey>()
  for (const change of prepared) {
    if ('unreadable' in change) continue
    keys.set(change.row, { tableId: change.table.id, pk: change.pk })
    for (const parent of change.parents) keys.set(parent.row, parent)
  }
  return [...keys.values()]
}

/** Reads what else the verdicts depend on, set by set, under the lock. Registers the device where it is new. */
async function readKnown ({ trx, metadata, begun, identity, prepared, request, spend }: Reads): Promise<{ source: Source, known: Known }> {
  const { stream: { scopeId }, states } = begun
  const source = begun.source ?? await addSource(trx, scopeId, identity)
  // A number above all that were used cannot be a replay: most batches need no look into the ledger.
  const replayable = new Set(prepared.flatMap(change => 'unreadable' in change || change.sourceChangeId > source.maxChangeId ? [] : [change.sourceChangeId]))
  const { epoch, next_source_change_id: expected } = request
  return {
    source,
    known: {
      rows: states,
      ledger: await readLedger(trx, metadata, scopeId, source.no, [...replayable], spend),
      olderClient: epoch === undefined,
      numbers: expected === undefined
        ? null
        : { highest: source.maxChangeId, hasGap: source.maxChangeId >= expected && await hasUsed(trx, metadata, scopeId, source.no, expected, lowestNumber(prepared)) }
    }
  }
}

/** Below it are the numbers that the device must have had verdicts about. */
function lowestNumber (prepared: Array<PreparedChange | UnreadableChange>): number {
  return prepared.reduce((lowest, change) => Math.min(lowest, 'unreadable' in change ? Number(change.idText) : change.sourceChangeId), Number.MAX_SAFE_INTEGER)
}
