import type { Transaction } from 'kysely'
import type { RowWrite } from '../materializer/row-write.js'
import type { Database } from '../storage/database.js'
import { readFailed } from '../storage/materialize-failure.js'
import type { Metadata } from '../storage/metadata.js'
import { readRowStates } from '../storage/row-state.js'
import { parentsIn } from './fill-payload.js'
import type { ParentRow } from './prepare.js'
import type { Culprit } from './write-rows.js'

export interface OrphanContext {
  trx: Transaction<Database>
  metadata: Metadata
  scopeId: number
  scope: string
  /** Whether the stream has the row live, as far as that is known without asking. */
  isLive: (row: string) => boolean | undefined
  /** Whether the scope has the row in its table, likewise. */
  isInTable: (row: string) => boolean | undefined
}

/**
 * Rows that would be written with a reference to a row that the scope does not have in its table: one that failed, or that was
 * deleted while this row waited to be written. PostgreSQL would find somebody else's row under that key. By index.
 */
export async function findOrphans (context: OrphanContext, rows: Array<{ write: RowWrite, parents: readonly ParentRow[] }>): Promise<Map<number, Culprit>> {
  const { trx, metadata, scopeId, scope, isLive, isInTable } = context
  const wanted = rows.filter(({ write }) => write.verb !== 'delete').map(({ write, parents }) => ({
    write,
    // What is put back whole refers to what the stream has of it, whatever the change itself sent.
    parents: write.verb === 'insert' && write.isWhole ? parentsIn(write.table, write.pk, write.whole as string, scope) : parents
  }))
  const unknown = wanted.flatMap(({ parents }) => parents.filter(parent => typeof parent !== 'string'))
    .filter(({ row, mustBeLive }) => mustBeLive && (isLive(row) === undefined || isInTable(row) === undefined))
  const states = await readRowStates(trx, metadata, scopeId, unknown)
  const failed = await readFailed(trx, metadata, scopeId, unknown)
  const isThere = (row: string) => (isLive(row) ?? states.get(row)?.deleted === false) && (isInTable(row) ?? failed.get(row) ?? true)
  const orphans = new Map<number, Culprit>()
  for (const { write, parents } of wanted) {
    const missing = parents.find(parent => typeof parent === 'string' || (parent.mustBeLive && parent.row !== write.row && !isThere(parent.row)))
    if (missing === undefined) continue
    const [name, constraint] = typeof missing === 'string' ? [missing, null] : [missing.name, missing.constraint]
    orphans.set(write.index, {
      write,
      refusal: { reason: 'fk_missing', message: `The row refers to ${name}, which is not there.`, details: { missing: [name] } },
      problem: { sqlstate: '23503', constraint, column: null, table: write.table.table, schema: write.table.schema }
    })
  }
  return orphans
}
