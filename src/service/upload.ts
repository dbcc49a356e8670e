import type { Kysely, Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import { MAX_DECISION_ROUNDS } from '../limits.js'
import type { TableRegistry } from '../materializer/table-spec.js'
import type { Identity } from '../options.js'
import { appendEntries, readLedger, readPayloads, releaseChangeIds, type NewEntry } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import { readRowStates, type RowKey } from '../storage/row-state.js'
import { ensureSource, findSource, type Source } from '../storage/source.js'
import { ensureStream, lockStream, type Stream } from '../storage/stream.js'
import { inTransaction, reading } from '../storage/transaction.js'
import { completePayloads } from './complete-payloads.js'
import { decide, type FinalRow, type Judgement, type Known } from './decide.js'
import { prepareChange, type PreparedChange, type Refusal, type UnreadableChange } from './prepare.js'
import { uploadReply, type UploadCounts } from './upload-reply.js'
import type { UploadBody } from './upload-body.js'
import { orderWrites } from './write-order.js'
import { writeRows } from './write-rows.js'

export interface UploadContext {
  db: Kysely<Database>
  metadata: Metadata
  registry: TableRegistry
  maxUploadBatchSize: number
  maxPayloadBytes: number
}

export interface UploadResult {
  /** The reply, an UploadResponse as JSON text: payloads in it keep their exact digits. */
  json: string
  counts: UploadCounts
}

/** Judges a batch and applies what is good, in one transaction of the scope's stream. */
export async function upload (context: UploadContext, identity: Required<Identity>, body: UploadBody): Promise<UploadResult> {
  const { changes, payloads, largeIds, request } = body
  if (changes.length === 0 || changes.length > context.maxUploadBatchSize) return await answerWithoutApplying(context, identity, body)
  const prepared = changes.map((change, index) => prepareChange(change, payloads[index] ?? null, index, {
    registry: context.registry, scope: identity.scope, maxPayloadBytes: context.maxPayloadBytes, largeIds
  }))

  return await inTransaction(context.db, async trx => {
    const stream = await lockStream(trx, identity.scope)
    requireSameHistory(stream, request.epoch)
    const source = await ensureSource(trx, stream.scopeId, identity)
    const known = await readKnown(trx, context.metadata, stream, source, prepared, request.epoch === undefined)
    const judgement = await settle(trx, context, identity.scope, stream, prepared, known)
    const { head, maxChangeId } = await record(trx, context.metadata, stream, source, judgement)
    return uploadReply({
      judgement,
      payloads: await readShownPayloads(trx, context.metadata, stream, judgement),
      fields: { head, epoch: stream.epoch, sourceId: identity.deviceId, nextSourceChangeId: maxChangeId + 1 }
    })
  })
}

/** The handshake (no changes), and the refusal of a batch that is too large. */
async function answerWithoutApplying ({ db, maxUploadBatchSize }: UploadContext, identity: Required<Identity>, { request, changes, largeIds }: UploadBody): Promise<UploadResult> {
  return await reading(async () => {
    const stream = await ensureStream(db, identity.scope)
    requireSameHistory(stream, request.epoch)
    const source = await findSource(db, stream.scopeId, identity)
    const refusal: Refusal = { reason: 'batch_too_large', message: `A batch may have ${maxUploadBatchSize} changes.`, details: { max_upload_batch_size: maxUploadBatchSize } }
    const judgement: Judgement = {
      decisions: changes.map((change, index) => ({ verdict: 'invalid', refusal, change: { index, idText: largeIds.get(index) ?? String(change.source_change_id), row: null, unreadable: refusal } })),
      writes: [],
      rows: new Map()
    }
    return uploadReply({
      judgement,
      payloads: new Map(),
      fields: { head: stream.head, epoch: stream.epoch, sourceId: identity.deviceId, nextSourceChangeId: (source?.maxChangeId ?? 0) + 1 }
    })
  })
}

export function requireSameHistory (stream: Stream, epoch: string | undefined): void {
  if (epoch !== undefined && epoch !== stream.epoch) throw new SyncError('history_changed', 'The server\'s history is not the one this device knows.')
}

/** Reads what the verdicts depend on, set by set. Runs after the statement that took the lock. */
async function readKnown (trx: Transaction<Database>, metadata: Metadata, stream: Stream, source: Source, prepared: Array<PreparedChange | UnreadableChange>, olderClient: boolean): Promise<Known> {
  const keys = new Map<string, RowKey>()
  const replayable = new Set<number>()
  for (const change of prepared) {
    if ('unreadable' in change) continue
    keys.set(change.row, { tableId: change.table.id, pk: change.pk })
    for (const parent of change.parents) keys.set(parent.row, parent)
    // A number above all that were used cannot be a replay: most batches need no look into the ledger.
    if (change.sourceChangeId <= source.maxChangeId) replayable.add(change.sourceChangeId)
  }
  return {
    rows: await readRowStates(trx, metadata, stream.scopeId, [...keys.values()]),
    ledger: await readLedger(trx, metadata, stream.scopeId, source.no, [...replayable]),
    olderClient
  }
}

/** Decides and writes the business rows, again without what the database refused, until both agree. */
async function settle (trx: Transaction<Database>, { metadata, maxPayloadBytes }: UploadContext, scope: string, stream: Stream, prepared: Array<PreparedChange | UnreadableChange>, known: Known): Promise<Judgement> {
  const refused = new Map<number, Refusal>()
  for (let round = 0; round < MAX_DECISION_ROUNDS; round++) {
    const judgement = decide(prepared, known, refused)
    judgement.writes = orderWrites(judgement.writes)
    const overgrown = await completePayloads(trx, metadata, stream.scopeId, judgement, known, maxPayloadBytes)
    const culprits = overgrown.size > 0 ? overgrown : await writeRows(trx, scope, judgement.writes)
    if (culprits.size === 0) return judgement
    for (const [index, refusal] of culprits) refused.set(index, refusal)
  }
  throw new Error(`A batch did not settle in ${MAX_DECISION_ROUNDS} rounds.`)
}

/** Numbers the writes and appends them to the stream. Returns the new head and the highest number that the source has used. */
async function record (trx: Transaction<Database>, metadata: Metadata, stream: Stream, source: Source, judgement: Judgement): Promise<{ head: number, maxChangeId: number }> {
  let head = stream.head
  const holders = new Map(judgement.writes.map(write => [write.change.sourceChangeId, write]))
  const entries = judgement.writes.map((write): NewEntry => {
    const { sourceChangeId, table, op, pk, row } = write.change
    const { text, shape, carried } = write.stored
    const final = judgement.rows.get(row) as FinalRow
    const last = final.write === write
    head++
    if (last) final.serverId = head
    // An older client may use a number twice in one batch: it stands for the later change.
    const number = holders.get(sourceChangeId) === write ? sourceChangeId : -head
    return { serverId: head, sourceChangeId: number, tableId: table.id, op, pk, version: write.version, payload: text, shape, carried, last }
  })
  let maxChangeId = source.maxChangeId
  for (const decision of judgement.decisions) {
    if (decision.verdict === 'write') maxChangeId = Math.max(maxChangeId, decision.write.change.sourceChangeId)
    if (decision.verdict === 'nothing') maxChangeId = Math.max(maxChangeId, decision.change.sourceChangeId)
  }
  await releaseChangeIds(trx, metadata, stream.scopeId, source.no, judgement.writes.filter(({ takesNumber }) => takesNumber).map(({ change }) => change.sourceChangeId))
  if (entries.length > 0 || maxChangeId > source.maxChangeId) await appendEntries(trx, metadata, stream.scopeId, source.no, entries, head, maxChangeId)
  return { head, maxChangeId }
}

/** Payloads of the rows that the reply shows and the batch did not write. */
async function readShownPayloads (trx: Transaction<Database>, metadata: Metadata, stream: Stream, { decisions, rows }: Judgement): Promise<Map<number, string | null>> {
  const positions = new Set<number>()
  const show = (row: string): void => {
    const final = rows.get(row)
    if (final !== undefined && final.write === null && !final.deleted) positions.add(final.serverId)
  }
  for (const decision of decisions) {
    if (decision.verdict === 'conflict') show(decision.change.row)
    if (decision.verdict === 'nothing' && decision.replay) show(decision.change.row)
  }
  return await readPayloads(trx, metadata, stream.scopeId, [...positions])
}
