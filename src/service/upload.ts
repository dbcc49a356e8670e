import type { Kysely, Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import { MAX_DECISION_ROUNDS, MAX_TOUCHED_BYTES } from '../limits.js'
import type { CascadedRow } from '../materializer/cascades.js'
import type { TableRegistry } from '../materializer/table-spec.js'
import type { Metrics } from '../metrics.js'
import type { Identity } from '../options.js'
import { appendEntries, readLedger, readPayloads, releaseChangeIds, type NewEntry, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import { readRowStates, type RowKey, type RowState } from '../storage/row-state.js'
import { ensureSource, findSource, SERVER_SOURCE_NO, type Source } from '../storage/source.js'
import { ensureStream, lockStream, type Stream } from '../storage/stream.js'
import { inTransaction, reading } from '../storage/transaction.js'
import { BatchTooLarge } from './batch-too-large.js'
import { ByteBudget } from './byte-budget.js'
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
  metrics: Metrics | null
}

export interface UploadResult {
  /** The reply, an UploadResponse as JSON text: payloads in it keep their exact digits. */
  json: string
  counts: UploadCounts
}

/** Judges a batch and applies what is good, in one transaction of the scope's stream. */
export async function upload (context: UploadContext, identity: Required<Identity>, body: UploadBody): Promise<UploadResult> {
  const { changes, payloads, largeIds, request } = body
  if (changes.length === 0 || changes.length > context.maxUploadBatchSize) {
    return await answerWithoutApplying(context.db, identity, body, `A batch may have ${context.maxUploadBatchSize} changes.`)
  }
  const prepared = changes.map((change, index) => prepareChange(change, payloads[index] ?? null, index, {
    registry: context.registry, scope: identity.scope, maxPayloadBytes: context.maxPayloadBytes, largeIds
  }))

  const applied = inTransaction(context.db, async trx => {
    const budget = new ByteBudget(MAX_TOUCHED_BYTES)
    const spend: Spend = bytes => { budget.spend(bytes) }
    const stream = await lockStream(trx, identity.scope)
    requireSameHistory(stream, request.epoch)
    const source = await ensureSource(trx, stream.scopeId, identity)
    const known = await readKnown(trx, context.metadata, stream, source, prepared, request.epoch === undefined, spend)
    const judgement = await settle(trx, context, identity.scope, stream, prepared, known, spend)
    const { head, maxChangeId } = await record(trx, context.metadata, stream, source, judgement)
    return uploadReply({
      judgement,
      payloads: await readShownPayloads(trx, context.metadata, stream, judgement, spend),
      spend,
      fields: { head, epoch: stream.epoch, sourceId: identity.deviceId, nextSourceChangeId: maxChangeId + 1 }
    })
  }, context.metrics)
  return await applied.catch(async (error: unknown) => {
    // Nothing was stored: the same changes go through in smaller batches.
    if (error instanceof BatchTooLarge) return await answerWithoutApplying(context.db, identity, body, error.message)
    throw error
  })
}

/** The handshake (no changes), and the refusal of a batch that is too large. */
async function answerWithoutApplying (db: Kysely<Database>, identity: Required<Identity>, { request, changes, largeIds }: UploadBody, message: string): Promise<UploadResult> {
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
    return uploadReply({
      judgement,
      payloads: new Map(),
      spend: () => {},
      fields: { head: stream.head, epoch: stream.epoch, sourceId: identity.deviceId, nextSourceChangeId: (source?.maxChangeId ?? 0) + 1 }
    })
  })
}

export function requireSameHistory (stream: Stream, epoch: string | undefined): void {
  if (epoch !== undefined && epoch !== stream.epoch) throw new SyncError('history_changed', 'The server\'s history is not the one this device knows.')
}

/** Reads what the verdicts depend on, set by set. Runs after the statement that took the lock. */
async function readKnown (trx: Transaction<Database>, metadata: Metadata, stream: Stream, source: Source, prepared: Array<PreparedChange | UnreadableChange>, olderClient: boolean, spend: Spend): Promise<Known> {
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
    ledger: await readLedger(trx, metadata, stream.scopeId, source.no, [...replayable], spend),
    olderClient
  }
}

/** Decides and writes the business rows, again without what the database refused, until both agree. */
async function settle (trx: Transaction<Database>, { metadata, maxPayloadBytes, metrics }: UploadContext, scope: string, stream: Stream, prepared: Array<PreparedChange | UnreadableChange>, known: Known, spend: Spend): Promise<Settled> {
  const refused = new Map<number, Refusal>()
  for (let round = 0; round < MAX_DECISION_ROUNDS; round++) {
    const judgement = decide(prepared, known, refused)
    judgement.writes = orderWrites(judgement.writes)
    const overgrown = await completePayloads(trx, metadata, stream.scopeId, judgement, known, maxPayloadBytes, spend)
    const states = new Map(known.rows)
    const { culprits, cascaded } = overgrown.size > 0
      ? { culprits: overgrown, cascaded: [] }
      : await writeRows(trx, scope, judgement.writes, async rows => {
        const unknown = rows.filter(({ row }) => !states.has(row)).map(({ table, pk }) => ({ tableId: table.id, pk }))
        for (const [row, state] of await readRowStates(trx, metadata, stream.scopeId, unknown)) states.set(row, state)
        return new Set(rows.map(({ row }) => row).filter(row => judgement.rows.has(row) || states.get(row)?.deleted === false))
      })
    if (culprits.size === 0) {
      metrics?.observe('oversync_upload_rounds', round + 1, {})
      return { ...judgement, cascaded: followCascades(judgement, cascaded, states) }
    }
    for (const [index, refusal] of culprits) refused.set(index, refusal)
  }
  throw new Error(`A batch did not settle in ${MAX_DECISION_ROUNDS} rounds.`)
}

interface Settled extends Judgement {
  /** Deletions that the server makes itself, since PostgreSQL did. */
  cascaded: ServerDeletion[]
}

interface ServerDeletion {
  tableId: number
  pk: string
  final: FinalRow
}

/** What cascaded is deleted in the stream too, as the server's own change, unless the batch deleted it anyway. */
function followCascades ({ rows }: Judgement, cascaded: CascadedRow[], states: ReadonlyMap<string, RowState>): ServerDeletion[] {
  const deletions: ServerDeletion[] = []
  for (const { row, table, pk } of cascaded) {
    const before = rows.get(row) ?? states.get(row)
    if (before === undefined || before.deleted) continue
    const final: FinalRow = { version: before.version + 1, deleted: true, write: null, serverId: 0 }
    rows.set(row, final)
    deletions.push({ tableId: table.id, pk, final })
  }
  return deletions
}

/** Numbers the writes and appends them to the stream. Returns the new head and the highest number that the source has used. */
async function record (trx: Transaction<Database>, metadata: Metadata, stream: Stream, source: Source, judgement: Settled): Promise<{ head: number, maxChangeId: number }> {
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
    return { serverId: head, sourceChangeId: number, tableId: table.id, op, pk, version: write.version, payload: text, shape, carried, last, sourceNo: source.no }
  })
  for (const { tableId, pk, final } of judgement.cascaded) {
    final.serverId = ++head
    entries.push({ serverId: head, sourceChangeId: head, tableId, op: 'DELETE', pk, version: final.version, payload: null, shape: 0, carried: 0, last: true, sourceNo: SERVER_SOURCE_NO })
  }
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
async function readShownPayloads (trx: Transaction<Database>, metadata: Metadata, stream: Stream, { decisions, rows }: Judgement, spend: Spend): Promise<Map<number, string | null>> {
  const positions = new Set<number>()
  const show = (row: string): void => {
    const final = rows.get(row)
    if (final !== undefined && final.write === null && !final.deleted) positions.add(final.serverId)
  }
  for (const decision of decisions) {
    if (decision.verdict === 'conflict') show(decision.change.row)
    if (decision.verdict === 'nothing' && decision.replay) show(decision.change.row)
  }
  return await readPayloads(trx, metadata, stream.scopeId, [...positions], spend)
}
