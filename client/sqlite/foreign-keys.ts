import type { Driver } from '../drivers/driver.js'
import { identifier } from './quote.js'
import { refuse } from './refuse.js'
import type { ForeignKey, TableInfo } from './table-info.js'

export function readForeignKeys (driver: Driver, localName: string): ForeignKey[] {
  const rows = driver.all<{ id: number, parent: string, from_column: string, to_column: string | null, position: number }>(
    'select id, "table" as parent, "from" as from_column, "to" as to_column, seq as position from pragma_foreign_key_list(?, \'main\') order by id, seq', [localName])
  const byId = new Map<number, ForeignKey>()
  for (const row of rows) {
    const key = byId.get(row.id) ?? { columns: [], parent: row.parent.toLowerCase(), parentColumns: [] }
    key.columns.push(row.from_column)
    key.parentColumns.push(parentColumn(driver, row.parent, row.to_column, row.position))
    byId.set(row.id, key)
  }
  return [...byId.values()]
}

/** The column's name as the parent spells it. `references parent` without a column means the parent's primary key. */
function parentColumn (driver: Driver, parent: string, name: string | null, position: number): string {
  const column = driver.all<{ name: string }>(
    `select name from pragma_table_xinfo(?, 'main') where ${name === null ? 'pk = cast(? as integer)' : 'lower(name) = lower(?)'}`,
    [parent, name ?? String(position + 1)])[0]
  return column?.name ?? name ?? 'rowid'
}

/** A foreign key must not lead out of the synced tables: a peer's row would never find its parent. */
export function refuseOpenForeignKeys (tables: ReadonlyMap<string, TableInfo>): void {
  for (const table of tables.values()) {
    for (const { parent, columns } of table.foreignKeys) {
      if (!tables.has(parent)) throw refuse(table.name, `its foreign key (${columns.map(identifier).join(', ')}) refers to ${parent}, which is not synced. Sync that table too`)
    }
  }
}
