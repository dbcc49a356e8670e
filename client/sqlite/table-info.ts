import { SyncClientError } from '../errors.js'
import type { Driver } from '../drivers/driver.js'
import { affinityOf, type Affinity } from './affinity.js'
import { identifier } from './quote.js'

/** What the client knows of a synced table: read from SQLite's catalog when the table is opened. */
export interface TableInfo {
  /** Its name on the wire and in the client's own tables: lower-case. */
  name: string
  /** Its name in SQLite. */
  localName: string
  key: KeyColumn
  /** The columns that travel, key included, generated ones not; in the order of the table. */
  columns: ColumnInfo[]
  byColumn: ReadonlyMap<string, ColumnInfo>
  /** Not WITHOUT ROWID, and no INTEGER PRIMARY KEY that is the rowid by another name. */
  hasHiddenRowid: boolean
  uniques: UniqueIndex[]
  foreignKeys: ForeignKey[]
}

export interface KeyColumn { name: string, type: 'text' | 'integer' | 'blob' }

export interface ColumnInfo {
  name: string
  affinity: Affinity
  /** Declared BLOB: travels as base64. */
  isBlob: boolean
  /** Declared as a JSON type: its text travels as the JSON value that it is. */
  isJson: boolean
  /** What SQLite puts in the place of a NULL by INSERT OR REPLACE: the default of a NOT NULL column, as SQL; null for none. */
  replacesNull: string | null
}

export interface UniqueIndex { columns: Array<{ name: string, collation: string }> }

export interface ForeignKey {
  columns: string[]
  /** Wire name of the parent. */
  parent: string
  parentColumns: string[]
}

interface CatalogColumn { name: string, type: string, pk: number, hidden: number, notnull: number, dflt_value: string | null }

const WIRE_NAME = /^[a-z0-9_]+$/

/** Reads one table; throws `table_refused` naming the table and the reason where it cannot be synced. */
export function readTableInfo (driver: Driver, requested: string): TableInfo {
  const name = requested.trim().toLowerCase()
  if (!WIRE_NAME.test(name)) throw refuse(requested, 'its name must consist of a-z, 0-9 and _ (upper case is folded)')
  if (name.startsWith('_sync_') || name.startsWith('sqlite_')) throw refuse(requested, 'its name is reserved')
  const entry = driver.all<{ name: string, type: string, strict: number, wr: number }>(
    "select name, type, strict, wr from pragma_table_list where schema = 'main' and lower(name) = ?", [name])[0]
  if (entry === undefined) throw refuse(requested, 'there is no such table')
  if (entry.type === 'view') throw refuse(requested, 'it is a view; sync the tables behind it')
  if (entry.type !== 'table') throw refuse(requested, 'it is a virtual table; triggers cannot watch it')

  const catalog = driver.all<CatalogColumn>('select name, type, pk, hidden, "notnull", dflt_value from pragma_table_xinfo(?) order by cid', [entry.name])
  const columns = catalog.filter(column => column.hidden === 0).map(column => readColumn(requested, column, entry.strict === 1))
  const uniques = readUniques(driver, requested, entry.name)
  return {
    name,
    localName: entry.name,
    key: readKey(driver, requested, entry.name, catalog),
    columns,
    hasHiddenRowid: entry.wr === 0 && !catalog.some(({ name }) => ['rowid', '_rowid_', 'oid'].includes(name.toLowerCase())),
    byColumn: new Map(columns.map(column => [column.name, column])),
    uniques,
    foreignKeys: readForeignKeys(driver, entry.name)
  }
}

function readColumn (table: string, column: CatalogColumn, isStrict: boolean): ColumnInfo {
  const type = column.type.toUpperCase()
  if (/NUMERIC|DECIMAL/.test(type)) {
    throw refuse(table, `column ${column.name} is declared ${column.type}: SQLite would round its decimals to doubles. Declare it TEXT (exact decimals), REAL (doubles) or INTEGER`)
  }
  return {
    name: column.name,
    affinity: isStrict && type === 'ANY' ? 'none' : affinityOf(type),
    isBlob: type.includes('BLOB'),
    isJson: type.includes('JSON'),
    replacesNull: column.notnull === 1 ? column.dflt_value : null
  }
}

function readKey (driver: Driver, table: string, localName: string, catalog: CatalogColumn[]): KeyColumn {
  const parts = catalog.filter(column => column.pk > 0)
  const column = parts[0]
  if (column === undefined) throw refuse(table, 'it has no primary key')
  if (parts.length > 1) throw refuse(table, 'its primary key has several columns, which is not supported yet')
  if (column.hidden !== 0) throw refuse(table, `its key ${column.name} is a generated column`)
  const collation = driver.all<{ coll: string }>(
    "select x.coll from pragma_index_list(?) l, pragma_index_xinfo(l.name) x where l.origin = 'pk' and x.key = 1", [localName])[0]?.coll
  if (collation !== undefined && collation.toUpperCase() !== 'BINARY') {
    throw refuse(table, `its key ${column.name} has the collation ${collation}: two keys that the server tells apart would be one here`)
  }
  return { name: column.name, type: keyType(table, column) }
}

function keyType (table: string, column: CatalogColumn): KeyColumn['type'] {
  const affinity = affinityOf(column.type)
  if (affinity === 'text') return 'text'
  if (affinity === 'integer') return 'integer'
  if (column.type.toUpperCase().includes('BLOB')) return 'blob'
  throw refuse(table, `its key ${column.name} is declared ${column.type === '' ? 'without a type' : column.type}; a key must be TEXT, INTEGER, or BLOB (a uuid of 16 bytes)`)
}

function readUniques (driver: Driver, table: string, localName: string): UniqueIndex[] {
  const rows = driver.all<{ index_name: string, column_name: string | null, coll: string }>(
    `select l.name as index_name, x.name as column_name, x.coll as coll
     from pragma_index_list(?) l, pragma_index_xinfo(l.name) x
     where l."unique" = 1 and l.origin <> 'pk' and x.key = 1 order by l.seq, x.seqno`, [localName])
  const byIndex = new Map<string, UniqueIndex>()
  for (const row of rows) {
    if (row.column_name === null) {
      throw refuse(table, `its unique index ${row.index_name} is over an expression: rows that INSERT OR REPLACE removes could not be found. Use a generated column with a unique index`)
    }
    const index = byIndex.get(row.index_name) ?? { columns: [] }
    index.columns.push({ name: row.column_name, collation: row.coll })
    byIndex.set(row.index_name, index)
  }
  return [...byIndex.values()]
}

function readForeignKeys (driver: Driver, localName: string): ForeignKey[] {
  const rows = driver.all<{ id: number, parent: string, from_column: string, to_column: string | null, position: number }>(
    'select id, "table" as parent, "from" as from_column, "to" as to_column, seq as position from pragma_foreign_key_list(?) order by id, seq', [localName])
  const byId = new Map<number, ForeignKey>()
  for (const row of rows) {
    const key = byId.get(row.id) ?? { columns: [], parent: row.parent.toLowerCase(), parentColumns: [] }
    key.columns.push(row.from_column)
    key.parentColumns.push(row.to_column ?? parentKeyColumn(driver, row.parent, row.position))
    byId.set(row.id, key)
  }
  return [...byId.values()]
}

/** `references parent` without a column means the parent's primary key. */
function parentKeyColumn (driver: Driver, parent: string, position: number): string {
  const column = driver.all<{ name: string }>('select name from pragma_table_info(?) where pk = ?', [parent, position + 1])[0]
  return column?.name ?? 'rowid'
}

/** A foreign key must not lead out of the synced tables: a peer's row would never find its parent. */
export function refuseOpenForeignKeys (tables: ReadonlyMap<string, TableInfo>): void {
  for (const table of tables.values()) {
    for (const { parent, columns } of table.foreignKeys) {
      if (!tables.has(parent)) throw refuse(table.name, `its foreign key (${columns.map(identifier).join(', ')}) refers to ${parent}, which is not synced. Sync that table too`)
    }
  }
}

function refuse (table: string, why: string): SyncClientError {
  return new SyncClientError('table_refused', `Table ${table} cannot be synced: ${why}.`)
}
