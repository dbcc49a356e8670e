import type { Kysely, Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import { MAX_TOUCHED_BYTES } from '../limits.js'
import type { Catalog, CatalogSnapshot } from '../materializer/catalog.js'
import type { RowWrite } from '../materializer/row-write.js'
import { isWritable, type TableSpec } from '../materializer/table-spec.js'
import type { Metrics } from '../metrics.js'
import { appendStatement, readPayloads, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import { claimFailure, findFailure, forgetFailures, readFailed, writeFailures, type ListedFailure } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import { readRowStates, rowKey, type RowState } from '../storage/row-state.js'
import { SERVER_SOURCE_NO } from '../storage/source.js'
import { lockStream } from '../storage/stream.js'
import { inTransaction } from '../storage/transaction.js'
import { materializersOf } from './app-hooks.js'
import { BatchTooLarge } from './batch-too-large.js'
import { ByteBudget } from './byte-budget.js'
import type { Judgement } from './decide.js'
import { toFailure } from './failures.js'
import { HookTime } from './in-time.js'
import { findOrphans } from './orphans.js'
import { findOwnRows } from './own-rows.js'
import { columnsOf, followDeletions, toEntry } from './server-changes.js'
import { withCatalog } from './with-catalog.js'
import { writeRows } from './write-rows.js'

export interface RetryContext {
  db: Kysely<Database>
  metadata: Metadata
  catalog: Catalog
  metrics: Metrics | null
}

export type RetryResult = { id: number, status: 'materialized' } | { id: number, status: 'failed', failure: ListedFailure }

const GONE = 'There is no such failure.'

/**
 * Writes a row that could not be written, as it is in the stream now, whatever it was then: an older version never follows a
 * newer one. Throws not_found, or retry_in_progress where the same failure is being retried.
 */
export async function retryFailure (context: RetryContext, id: number): Promise<RetryResult> {
  const { db, metadata } = context
  const failure = await findFailure(db, metadata, id)
  if (failure === null) throw new SyncError('not_found', GONE)
  const retried = withCatalog(context.catalog, async snapshot => await inTransaction(db, async trx => {
    if (!await claimFailure(trx, metadata, id)) throw new SyncError('retry_in_progress', 'This failure is being retried.')
    // As an upload would: the row cannot change meanwhile.
    const stream = await lockStream(trx, metadata, failure.scope)
    const found = await findFailure(trx, metadata, id)
    if (found === null) throw new SyncError('not_found', GONE)
    return await writeAgain(context, trx, snapshot, stream, found)
  }, context.metrics))
  return await retried.catch((error: unknown): RetryResult => {
    if (!(error instanceof BatchTooLarge)) throw error
    return { id, status: 'failed', failure: { ...failure, message: error.message } }
  })
}

async function writeAgain ({ metadata, catalog }: RetryContext, trx: Transaction<Database>, snapshot: CatalogSnapshot, { scopeId, head }: { scopeId: number, head: number }, failure: ListedFailure): Promise<RetryResult> {
  const { id, pk, scope } = failure
  const table = snapshot.registry.find(failure.schema, failure.table)
  if (table === undefined || (!table.materialize && table.materializer === null)) return { id, status: 'failed', failure: { ...failure, message: `The table ${failure.schema}.${failure.table} is not written by this server at the moment.` } }
  const budget = new ByteBudget(MAX_TOUCHED_BYTES)
  const spend: Spend = bytes => { budget.spend(bytes) }
  const row = rowKey(table.id, pk)
  const states = await readRowStates(trx, metadata, scopeId, [{ tableId: table.id, pk }])
  const state = states.get(row) as RowState
  const payload = state.deleted ? null : (await readPayloads(trx, metadata, scopeId, [state.serverId], spend)).get(state.serverId) ?? null
  // What the table does not have is inserted and never updated or deleted: a row under its key would be somebody else's.
  const inTable = (await readFailed(trx, metadata, scopeId, [{ tableId: table.id, pk }])).get(row) === true
  const writes = state.deleted && !inTable ? [] : [toWrite(table, row, pk, state, payload, inTable)]
  const orphans = await findOrphans({ trx, metadata, scopeId, scope, isLive: () => undefined, isInTable: () => undefined }, writes.map(write => ({ write, parents: [] })))
  const { culprits, affected } = orphans.size > 0
    ? { culprits: orphans, affected: [] }
    : await writeRows({
      trx,
      scope,
      askMaterializer: materializersOf({ userId: failure.user_id ?? scope, deviceId: failure.source_id ?? 'oversync:server', scope }, new HookTime()),
      requireCatalog: async () => { await catalog.requireUnchanged(trx, snapshot) },
      isOurs: async rows => await findOwnRows(trx, metadata, scopeId, rows, new Set(), states)
    }, writes, [])
  const culprit = culprits.get(0)
  if (culprit !== undefined) {
    await writeFailures(trx, metadata, scopeId, [toFailure(culprit, { tableId: table.id, pk, sourceNo: SERVER_SOURCE_NO, version: state.version, op: state.deleted ? 'DELETE' : inTable ? 'UPDATE' : 'INSERT', inTable })])
    return { id, status: 'failed', failure: await findFailure(trx, metadata, id) as ListedFailure }
  }
  await forgetFailures(trx, metadata, scopeId, [{ tableId: table.id, pk }])
  const judgement: Judgement = { decisions: [], writes: [], rows: new Map([[row, { ...state, write: null }]]) }
  // The row is in the stream already: what the database made of it now is a change of the server's own.
  const altered = payload === null || !table.materialize ? [] : [{ row, table, pk, effect: 'alter' as const, columns: [], constraint: '', cause: toWrite(table, row, pk, state, payload, true) }]
  const changes = await followDeletions(trx, metadata, scopeId, judgement, [...affected, ...altered], states, spend)
  const entries = changes.map((change, i) => toEntry(change, head + i + 1))
  if (entries.length > 0) await trx.executeQuery(appendStatement(trx, metadata, { scopeId, sourceNo: SERVER_SOURCE_NO, maxChangeId: 0, entries, head: head + entries.length }))
  return { id, status: 'materialized' }
}

function toWrite (table: TableSpec, row: string, pk: string, { version, deleted }: RowState, payload: string | null, inTable: boolean): RowWrite {
  return {
    index: 0,
    place: 0,
    row,
    table,
    pk,
    version,
    payload,
    whole: payload,
    isWhole: true,
    hadRow: inTable,
    verb: deleted ? 'delete' : inTable ? 'update' : 'insert',
    columns: payload === null ? [] : columnsOf(table, payload).filter(name => isWritable(table, name)),
    references: []
  }
}
