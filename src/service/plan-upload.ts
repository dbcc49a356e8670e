import type { CatalogSnapshot } from '../materializer/catalog.js'
import type { Identity } from '../options.js'
import type { RowKey } from '../storage/row-state.js'
import type { AppHooks } from './app-hooks.js'
import { mayHaveFailed } from './failures.js'
import { planOneTrip, type OneTrip } from './one-trip.js'
import { prepareChange, type PreparedChange, type UnreadableChange } from './prepare.js'
import type { Batch, UploadContext } from './upload.js'
import type { UploadBody } from './upload-body.js'

/** An upload that has not touched the database yet. */
export interface PlannedUpload {
  batch: Batch
  /** Null for a batch without changes, or with too many. */
  plan: Plan | null
}

export interface Upload {
  identity: Required<Identity>
  body: UploadBody
  readAgain: () => UploadBody
  trusted: boolean
}

/** What an upload is to do, by the tables as they were when it was made. */
export interface Plan {
  snapshot: CatalogSnapshot
  /** One of the two: most uploads take one trip, and hold less memory meanwhile. */
  oneTrip: OneTrip | null
  byReading: PlanByReading | null
}

/** For a batch that is judged by what is there. */
export interface PlanByReading {
  snapshot: CatalogSnapshot
  prepared: Array<PreparedChange | UnreadableChange>
  /** Rows that may be in the stream and not in their table. */
  suspects: RowKey[]
  /** Nothing is to be asked before COMMIT. */
  mayCommit: boolean
}

const NO_HOOKS: AppHooks = { authorize: null, beforeApply: null }

/** Does all of an upload's work that needs no database, so that it can be done while another is there. */
export function planUpload (context: UploadContext, { body, trusted, ...upload }: Upload): PlannedUpload {
  const batch = { context, hooks: trusted ? NO_HOOKS : context.hooks, ...upload, request: body.request, trusted }
  const { length } = body.changes
  // What is not applied is answered at once.
  if (length === 0 || length > context.maxUploadBatchSize) return { batch: { ...batch, readAgain: () => body }, plan: null }
  return { batch, plan: makePlan(batch, body, context.catalog.current) }
}

export function makePlan (batch: Batch, body: UploadBody, snapshot: CatalogSnapshot): Plan {
  const byReading = planByReading(batch, body, snapshot)
  const oneTrip = byReading.mayCommit ? planOneTrip(batch, byReading.prepared) : null
  return { snapshot, oneTrip, byReading: oneTrip === null ? byReading : null }
}

export function planByReading (batch: Batch, body: UploadBody, snapshot: CatalogSnapshot): PlanByReading {
  const prepared = prepare(batch, body, snapshot)
  const suspects = rowsThatMayHaveFailed(prepared, batch.context.failedTables)
  // A hook would be asked again about the same changes where the rows have to be written step by step after all.
  const mayCommit = suspects.length === 0 && batch.hooks.authorize === null && batch.hooks.beforeApply === null
  return { snapshot, prepared, suspects, mayCommit }
}

function prepare ({ context: { maxPayloadBytes }, identity, request, trusted }: Batch, { changes, payloads, largeIds }: UploadBody, { registry }: CatalogSnapshot): Array<PreparedChange | UnreadableChange> {
  return changes.map((change, index) => prepareChange(change, payloads[index] ?? null, index, {
    registry, scope: identity.scope, maxPayloadBytes, largeIds, trusted, olderClient: request.epoch === undefined && !trusted
  }))
}

/** The rows of the batch and those that they refer to, of tables in which a row may be in the stream and not in the table. */
function rowsThatMayHaveFailed (prepared: Array<PreparedChange | UnreadableChange>, failedTables: ReadonlySet<number>): RowKey[] {
  return prepared.flatMap(change => 'unreadable' in change
    ? []
    : [
        ...mayHaveFailed(change.table, failedTables) ? [{ tableId: change.table.id, pk: change.pk }] : [],
        ...change.parents.filter(({ recordsFailures, tableId }) => recordsFailures || failedTables.has(tableId))
      ])
}
