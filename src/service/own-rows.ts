import type { Transaction } from 'kysely'
import type { AffectedRow } from '../materializer/delete-effects.js'
import type { Database } from '../storage/database.js'
import { readFailed } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import { readRowStates, type RowState } from '../storage/row-state.js'

/**
 * Which rows that a deletion changes in the tables are the scope's, by their one text: those that it wrote there, `held` by
 * the batch or live in the stream. A row under the key of one that was deleted, or that never got into its table, is
 * somebody else's. Adds what it reads to `states`.
 */
export async function findOwnRows (trx: Transaction<Database>, metadata: Metadata, scopeId: number, rows: AffectedRow[], held: ReadonlySet<string>, states: Map<string, RowState>): Promise<Set<string>> {
  const others = rows.filter(({ row }) => !held.has(row)).map(({ table, pk }) => ({ tableId: table.id, pk }))
  for (const [row, state] of await readRowStates(trx, metadata, scopeId, others)) states.set(row, state)
  const failed = await readFailed(trx, metadata, scopeId, others)
  return new Set(rows.map(({ row }) => row).filter(row => held.has(row) || (states.get(row)?.deleted === false && failed.get(row) !== false)))
}
