import type { Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { forgetFailures, writeFailures, type NewFailure } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import type { Judgement } from './decide.js'
import type { Culprit } from './write-rows.js'

/** Notes the rows that are in the stream and not in their table, and forgets those that got there: what counts is the last change of a row. */
export async function noteFailures (trx: Transaction<Database>, metadata: Metadata, scopeId: number, sourceNo: number, { writes }: Judgement, failures: ReadonlyMap<number, Culprit>): Promise<void> {
  const noted = new Map<string, NewFailure>()
  const written = new Map<string, { tableId: number, pk: string }>()
  for (const { change: { index, row, table, pk, op }, version } of writes) {
    if (!table.recordsFailures) continue
    const culprit = failures.get(index)
    if (culprit === undefined) {
      noted.delete(row)
      written.set(row, { tableId: table.id, pk })
    } else {
      written.delete(row)
      noted.set(row, toFailure(culprit, { tableId: table.id, pk, sourceNo, version, op }))
    }
  }
  await forgetFailures(trx, metadata, scopeId, [...written.values()])
  await writeFailures(trx, metadata, scopeId, [...noted.values()])
}

export function toFailure ({ refusal, problem }: Culprit, row: Pick<NewFailure, 'tableId' | 'pk' | 'sourceNo' | 'version' | 'op'>): NewFailure {
  return { ...row, reason: refusal.reason, message: refusal.message, sqlstate: problem?.sqlstate ?? null, constraint: problem?.constraint ?? null }
}
