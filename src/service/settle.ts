import type { Transaction } from 'kysely'
import { MAX_DECISION_ROUNDS } from '../limits.js'
import { CatalogChanged } from '../materializer/catalog.js'
import type { AffectedRow } from '../materializer/delete-effects.js'
import type { RowWrite } from '../materializer/row-write.js'
import { readColumnNames } from '../materializer/read-catalog.js'
import type { Metrics } from '../metrics.js'
import type { Identity } from '../options.js'
import type { Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import type { RowState } from '../storage/row-state.js'
import type { Stream } from '../storage/stream.js'
import { askHooks, materializersOf, type AppHooks } from './app-hooks.js'
import { commitAtOnce, lacksColumns, type Lastly } from './at-once.js'
import { BatchTooLarge } from './batch-too-large.js'
import { completePayloads } from './complete-payloads.js'
import type { Conclusion } from './conclude.js'
import { decide, type Judgement, type Known } from './decide.js'
import { findOrphans } from './orphans.js'
import { findOwnRows } from './own-rows.js'
import type { ParentRow, PreparedChange, Refusal, UnreadableChange } from './prepare.js'
import { tiesOf, toRowWrites } from './to-row-write.js'
import type { HookTime } from './in-time.js'
import { orderWrites } from './write-order.js'
import { writeRows, type Culprit } from './write-rows.js'

export interface SettleContext {
  trx: Transaction<Database>
  metadata: Metadata
  /** Throws CatalogChanged where the tables are not as the changes were prepared for. */
  requireCatalog: () => Promise<void>
  hooks: AppHooks
  hookTime: HookTime
  identity: Required<Identity>
  stream: Stream
  maxPayloadBytes: number
  metrics: Metrics | null
  spend: Spend
  /** How the upload ends: where nothing is to be looked at, with the rows and COMMIT. */
  lastly: Lastly
}

export interface Settled {
  judgement: Judgement
  /** Rows that deletions of the batch changed by a foreign key's action. */
  affected: AffectedRow[]
  /** Changes of tables that record failures, which are in the stream and could not be written, by index. */
  failures: Map<number, Culprit>
  /** Whether the tables have the rows of the batch now, by row. */
  inTable: Map<string, boolean>
  /** Rows that were inserted without a column that has a default. */
  defaulted: Set<string>
  /** States of rows as the stream has them: those of the batch, and those that deletions affected. */
  states: Map<string, RowState>
  /** How the upload has ended: the transaction is over. Null where it is not. */
  committed: Conclusion | null
}

/** Decides, asks the app and writes the business rows, again without what was refused, until all agree. */
export async function settle (context: SettleContext, prepared: Array<PreparedChange | UnreadableChange>, known: Known, failed: ReadonlyMap<string, boolean>): Promise<Settled> {
  const { trx, metadata, stream, identity, spend } = context
  const refused = new Map<number, Refusal>()
  const failures = new Map<number, Culprit>()
  const asked = new Set<number>()
  const askMaterializer = materializersOf(identity, context.hookTime)
  for (let round = 0; round < MAX_DECISION_ROUNDS; round++) {
    const judgement = decide(prepared, known, refused)
    judgement.writes = orderWrites(judgement.writes)
    const overgrown = await completePayloads(trx, metadata, stream.scopeId, judgement, known, context.maxPayloadBytes, spend)
    if (refuse(overgrown)) continue
    // A refusal may let another change through that nobody has been asked about.
    const unasked = judgement.writes.filter(({ change }) => !asked.has(change.index))
    for (const { change } of unasked) asked.add(change.index)
    if (refuse(await askHooks(context.hooks, trx, identity, unasked, context.hookTime))) continue

    const states = new Map(known.rows)
    const { rows, inTable, held, defaulted } = toRowWrites(judgement.writes, failed, failures)
    if (failed.size > 0 || failures.size > 0) {
      const orphans = await findOrphans({
        trx,
        metadata,
        scopeId: stream.scopeId,
        scope: identity.scope,
        isLive: row => judgement.rows.has(row) ? judgement.rows.get(row)?.deleted === false : undefined,
        isInTable: row => inTable.get(row) ?? failed.get(row)
      }, withParents(rows, judgement))
      if (orphans.size > 0) {
        blame(orphans)
        continue
      }
    }
    const outcome = { judgement, failures, inTable, defaulted, states }
    const committed = await commitAtOnce(trx, context.lastly, identity.scope, judgement, { rows, defaulted })
    if (committed !== null) {
      context.metrics?.observe('oversync_upload_rounds', round + 1, {})
      return { ...outcome, affected: [], committed }
    }
    const isOurs = async (rows: AffectedRow[]) => await findOwnRows(trx, metadata, stream.scopeId, rows, held, states)
    const { culprits, affected } = await writeRows({
      trx, scope: identity.scope, askMaterializer, isOurs, requireCatalog: context.requireCatalog
    }, rows, tiesOf(judgement.writes))
    if (culprits.size === 0) {
      await requireKnownColumns(trx, judgement)
      context.metrics?.observe('oversync_upload_rounds', round + 1, {})
      return { ...outcome, affected, committed: null }
    }
    blame(culprits)
  }
  throw new BatchTooLarge(`The batch did not settle in ${MAX_DECISION_ROUNDS} rounds.`)

  function blame (culprits: ReadonlyMap<number, Culprit>): void {
    for (const [index, culprit] of culprits) {
      // Only what the database itself says may be recorded: a key of somebody else's row is refused whatever the option.
      if (culprit.write.table.recordsFailures && culprit.problem !== null) failures.set(index, culprit)
      else refused.set(index, culprit.refusal)
    }
  }

  function refuse (refusals: Map<number, Refusal>): boolean {
    for (const [index, refusal] of refusals) refused.set(index, refusal)
    return refusals.size > 0
  }
}

function withParents (rows: RowWrite[], { writes }: Judgement): Array<{ write: RowWrite, parents: readonly ParentRow[] }> {
  const parents = new Map(writes.map(({ change }) => [change.index, change.parents]))
  return rows.map(write => ({ write, parents: parents.get(write.index) ?? [] }))
}

/**
 * What no column was there for stays in the stream alone; so it must not have got its column a moment ago. The rows just
 * written keep their tables as they are until the end of the transaction.
 */
async function requireKnownColumns (trx: Transaction<Database>, { writes }: Judgement): Promise<void> {
  const odd = writes.map(({ change }) => change).filter(lacksColumns)
  if (odd.length === 0) return
  const tables = new Map(odd.map(({ table: { name, schema, table } }) => [name, { schema, table }]))
  const columns = await readColumnNames(trx, [...tables.values()])
  const found = odd.find(({ table, unknown }) => unknown.some(name => columns.get(table.name)?.has(name) === true))
  if (found !== undefined) throw new CatalogChanged(`${found.table.name} has new columns.`)
}
