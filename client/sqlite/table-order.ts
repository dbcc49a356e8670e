import type { ForeignKey, TableInfo } from './table-info.js'

export interface TableOrder {
  /** Parents before children, as far as circles allow. */
  parentsFirst: TableInfo[]
  /** Foreign keys that table order cannot satisfy: within a circle of tables, or to the table itself. */
  circular: ReadonlyMap<string, ForeignKey[]>
}

/** Orders tables by their foreign keys. Pure. */
export function orderTables (tables: ReadonlyMap<string, TableInfo>): TableOrder {
  const parentsFirst: TableInfo[] = []
  const seen = new Set<string>()
  const visit = (table: TableInfo): void => {
    if (seen.has(table.name)) return
    seen.add(table.name)
    for (const { parent } of table.foreignKeys) {
      const info = tables.get(parent)
      if (info !== undefined) visit(info)
    }
    parentsFirst.push(table)
  }
  for (const table of tables.values()) visit(table)

  const circular = new Map<string, ForeignKey[]>()
  for (const table of tables.values()) {
    const keys = table.foreignKeys.filter(({ parent }) => reaches(tables, parent, table.name))
    if (keys.length > 0) circular.set(table.name, keys)
  }
  return { parentsFirst, circular }
}

function reaches (tables: ReadonlyMap<string, TableInfo>, from: string, to: string): boolean {
  const seen = new Set<string>()
  const open = [from]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === to) return true
    if (seen.has(name)) continue
    seen.add(name)
    open.push(...(tables.get(name)?.foreignKeys ?? []).map(({ parent }) => parent))
  }
  return false
}
