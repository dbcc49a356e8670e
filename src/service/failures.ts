import type { Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { forgetFailures, writeFailures, type NewFailure } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import { rowKey, type RowKey } from '../storage/row-state.js'
import type { TableSpec } from '../materializer/table-spec.js'
import type { Judgement } from './decide.js'
import type { ServerChange } from './server-changes.js'
import type { Settled } from './settle.js'
import type { Culprit } from './write-rows.js'

export interface NoteContext {
  trx: Transaction<Database>
  metadata: Metadata
  scopeId: number
  sourceNo: number
  /** Tables of which there are failures from a time when they had other options. */
  failedTables: ReadonlySet<number>
}

/**
 * Notes the rows that are in the stream and not in their table, and forgets those that got there, or that went with the row
 * that they referred to: what counts is the last change of a row.
 */
export async function noteFailures ({ trx, metadata, scopeId, sourceNo, failedTables }: NoteContext, { writes }: Judgement, { failures, inTable }: Pick<Settled, 'failures' | 'inTable'>, serverChanges: ServerChange[]): Promise<void> {
  const noted = new Map<string, NewFailure>()
  const settled = new Map<string, RowKey>()
  for (const { change: { index, row, table, pk, op }, version } of writes) {
    if (!mayHaveFailed(table, failedTables)) continue
    const culprit = failures.get(index)
    if (culprit === undefined) {
      noted.delete(row)
      settled.set(row, { tableId: table.id, pk })
    } else {
      settled.delete(row)
      noted.set(row, toFailure(culprit, { tableId: table.id, pk, sourceNo, version, op, inTable: inTable.get(row) === true }))
    }
  }
  for (const { table, pk, op } of serverChanges) {
    if (op === 'DELETE' && mayHaveFailed(table, failedTables)) settled.set(rowKey(table.id, pk), { tableId: table.id, pk })
  }
  await forgetFailures(trx, metadata, scopeId, [...settled.values()])
  await writeFailures(trx, metadata, scopeId, [...noted.values()])
}

export function mayHaveFailed (table: TableSpec, failedTables: ReadonlySet<number>): boolean {
  return table.recordsFailures || failedTables.has(table.id)
}

export function toFailure ({ refusal, problem }: Culprit, row: Pick<NewFailure, 'tableId' | 'pk' | 'sourceNo' | 'version' | 'op' | 'inTable'>): NewFailure {
  return { ...row, reason: refusal.reason, message: refusal.message, sqlstate: problem?.sqlstate ?? null, constraint: problem?.constraint ?? null }
}
