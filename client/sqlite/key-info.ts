import type { Driver } from '../drivers/driver.js'
import { MAX_KEY_COLUMNS } from '../limits.js'
import { affinityOf } from './affinity.js'
import { refuse } from './refuse.js'
import type { CatalogColumn, KeyColumn } from './table-info.js'

/** The primary key's columns in the order of the key. */
export function readKey (driver: Driver, table: string, localName: string, catalog: readonly CatalogColumn[]): KeyColumn[] {
  const parts = catalog.filter(column => column.pk > 0).toSorted((a, b) => a.pk - b.pk)
  if (parts.length === 0) throw refuse(table, 'it has no primary key')
  if (parts.length > MAX_KEY_COLUMNS) throw refuse(table, `its primary key has ${parts.length} columns; PostgreSQL allows ${MAX_KEY_COLUMNS}`)
  // By the index, not by the columns: `primary key (id collate binary)` is one-to-one whatever the column says. None where the key is the rowid.
  const collations = new Map(driver.all<{ name: string, coll: string }>(
    "select x.name, x.coll from pragma_index_list(?, 'main') l, pragma_index_xinfo(l.name, 'main') x where l.origin = 'pk' and x.key = 1", [localName])
    .map(({ name, coll }) => [name, coll]))
  return parts.map(column => {
    if (column.hidden !== 0) throw refuse(table, `its key ${column.name} is a generated column`)
    const collation = collations.get(column.name) ?? 'BINARY'
    if (collation.toUpperCase() !== 'BINARY') {
      throw refuse(table, `its key ${column.name} has the collation ${collation}: two keys that the server tells apart would be one here`)
    }
    return { name: column.name, type: keyType(table, column) }
  })
}

function keyType (table: string, column: CatalogColumn): KeyColumn['type'] {
  const affinity = affinityOf(column.type)
  if (affinity === 'text') return 'text'
  if (affinity === 'integer') return 'integer'
  if (column.type.toUpperCase().includes('BLOB')) return 'blob'
  throw refuse(table, `its key ${column.name} is declared ${column.type === '' ? 'without a type' : column.type}; a key must be TEXT, INTEGER, or BLOB (a uuid of 16 bytes)`)
}
