import type { TableSpec } from './table-spec.js'

/** Ranks tables so that parents stand before children. Where foreign keys form a cycle, it is broken at the table met first. */
export function rankByDependency (tables: TableSpec[]): void {
  const visited = new Set<TableSpec>()
  let rank = 0
  const visit = (table: TableSpec): void => {
    if (visited.has(table)) return
    visited.add(table)
    for (const { parent } of table.references) visit(parent)
    table.rank = rank++
  }
  for (const table of tables) visit(table)
}
