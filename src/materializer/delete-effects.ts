import { CompiledQuery, type Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { rowKey } from '../storage/row-state.js'
import type { RowWrite } from './row-write.js'
import { affectedStatement, lockStatement, presentStatement } from './statements.js'
import type { TableSpec } from './table-spec.js'

/** A row that PostgreSQL changes because a deletion of the batch takes away the row that it refers to. */
export interface AffectedRow {
  /** Table and key as one text. */
  row: string
  table: TableSpec
  pk: string
  /** `delete` by ON DELETE CASCADE, `alter` by SET NULL or SET DEFAULT. */
  effect: 'delete' | 'alter'
  /** Columns that may have been altered. */
  columns: string[]
  constraint: string
  /** The change that is behind it. */
  cause: RowWrite
}

/**
 * Finds what the deletions of a group would change elsewhere, generation by generation, one statement a foreign key. Ask
 * before they are done. Each generation is locked before the next one is looked for: a row that others make refer to it
 * meanwhile would go unseen.
 */
export async function findAffected (trx: Transaction<Database>, group: RowWrite[]): Promise<AffectedRow[]> {
  const deleted = new Map<string, AffectedRow | null>(group.map(({ row }) => [row, null]))
  const altered: AffectedRow[] = []
  let generation = new Map<TableSpec, Map<string, RowWrite>>()
  for (const write of group) generation.set(write.table, (generation.get(write.table) ?? new Map()).set(write.pk, write))
  for (const [table, causes] of generation) await trx.executeQuery(CompiledQuery.raw(lockStatement(table), [JSON.stringify([...causes.keys()])]))
  while (generation.size > 0) {
    const next: typeof generation = new Map()
    for (const [table, causes] of generation) {
      for (const action of table.deleteActions) {
        const { child, constraint, effect, columns } = action
        const { rows } = await trx.executeQuery<{ pk: string, parent: string }>(CompiledQuery.raw(affectedStatement(table, action), [JSON.stringify([...causes.keys()])]))
        for (const { pk, parent } of rows) {
          const row = rowKey(child.id, pk)
          if (deleted.has(row)) continue
          const affected: AffectedRow = { row, table: child, pk, effect, columns, constraint, cause: causes.get(parent) as RowWrite }
          if (effect === 'alter') {
            altered.push(affected)
            continue
          }
          deleted.set(row, affected)
          next.set(child, (next.get(child) ?? new Map()).set(pk, affected.cause))
        }
      }
    }
    generation = next
  }
  // What is altered first and deleted by another way is deleted.
  return [...[...deleted.values()].filter(affected => affected !== null), ...altered.filter(({ row }) => !deleted.has(row))]
}

/** Leaves out what is not so any more: a later change of the batch may have put a deleted row back, or deleted an altered one. */
export async function stillAffected (trx: Transaction<Database>, affected: AffectedRow[]): Promise<AffectedRow[]> {
  const present = new Set<string>()
  for (const table of new Set(affected.map(({ table }) => table))) {
    const keys = affected.filter(row => row.table === table).map(({ pk }) => pk)
    const { rows } = await trx.executeQuery<{ pk: string }>(CompiledQuery.raw(presentStatement(table), [JSON.stringify(keys)]))
    for (const { pk } of rows) present.add(rowKey(table.id, pk))
  }
  return affected.filter(({ row, effect }) => present.has(row) === (effect === 'alter'))
}
