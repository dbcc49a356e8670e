import { CompiledQuery, type Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { rowKey } from '../storage/row-state.js'
import type { RowWrite } from './materializer.js'
import { cascadedStatement, presentStatement } from './statements.js'
import type { TableSpec } from './table-spec.js'

/** A row that PostgreSQL deletes because a deletion of the batch takes its parent away. */
export interface CascadedRow {
  /** Table and key as one text. */
  row: string
  table: TableSpec
  pk: string
  constraint: string
  /** The change that is behind it. */
  cause: RowWrite
}

/** Finds what the deletions of a group would take along, generation by generation, one statement a foreign key. Ask before they are done. */
export async function findCascaded (trx: Transaction<Database>, group: RowWrite[]): Promise<CascadedRow[]> {
  const found: CascadedRow[] = []
  const seen = new Set(group.map(({ row }) => row))
  let generation = new Map<TableSpec, Map<string, RowWrite>>()
  for (const write of group) generation.set(write.table, (generation.get(write.table) ?? new Map()).set(write.pk, write))
  while (generation.size > 0) {
    const next: typeof generation = new Map()
    for (const [table, causes] of generation) {
      for (const cascade of table.cascades) {
        const { rows } = await trx.executeQuery<{ pk: string, parent: string }>(CompiledQuery.raw(cascadedStatement(cascade), [JSON.stringify([...causes.keys()])]))
        for (const { pk, parent } of rows) {
          const row = rowKey(cascade.child.id, pk)
          if (seen.has(row)) continue
          seen.add(row)
          const cause = causes.get(parent) as RowWrite
          found.push({ row, table: cascade.child, pk, constraint: cascade.constraint, cause })
          next.set(cascade.child, (next.get(cascade.child) ?? new Map()).set(pk, cause))
        }
      }
    }
    generation = next
  }
  return found
}

/** Those that are gone now: a later change of the batch may have put a row back. */
export async function stillGone (trx: Transaction<Database>, cascaded: CascadedRow[]): Promise<CascadedRow[]> {
  const present = new Set<string>()
  for (const table of new Set(cascaded.map(({ table }) => table))) {
    const keys = cascaded.filter(row => row.table === table).map(({ pk }) => pk)
    const { rows } = await trx.executeQuery<{ pk: string }>(CompiledQuery.raw(presentStatement(table), [JSON.stringify(keys)]))
    for (const { pk } of rows) present.add(rowKey(table.id, pk))
  }
  return cascaded.filter(({ row }) => !present.has(row))
}
