import type { Driver } from '../drivers/driver.js'
import { MAX_NAME_BYTES } from '../limits.js'
import { affinityOf, type Affinity } from './affinity.js'
import { readForeignKeys } from './foreign-keys.js'
import { readKey } from './key-info.js'
import { defaultSql } from './quote.js'
import { refuse } from './refuse.js'
import { readUniques } from './unique-index.js'

/** What the client knows of a synced table: read from SQLite's catalog when the table is opened. */
export interface TableInfo {
  /** Its name on the wire and in the client's own tables: lower-case. */
  name: string
  /** Its name in SQLite. */
  localName: string
  /** The primary key's columns, in the order of the key. */
  key: readonly KeyColumn[]
  /** The columns that travel, key included, generated ones not; in the order of the table. */
  columns: ColumnInfo[]
  byColumn: ReadonlyMap<string, ColumnInfo>
  /** Not WITHOUT ROWID, and no INTEGER PRIMARY KEY that is the rowid by another name. */
  hasHiddenRowid: boolean
  /** Whether its definition says ON CONFLICT somewhere: a plain statement may then replace or skip rows. */
  hasConflictClause: boolean
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

export interface UniqueIndex {
  columns: Array<{ name: string, collation: string }>
  /** The condition of a partial index, as SQL; null for none. */
  where: string | null
}

export interface ForeignKey {
  columns: string[]
  /** Wire name of the parent. */
  parent: string
  parentColumns: string[]
}

export interface CatalogColumn { name: string, type: string, pk: number, hidden: number, notnull: number, dflt_value: string | null }

const WIRE_NAME = /^[a-z0-9_]+$/

/** Reads one table; throws `table_refused` naming the table and the reason where it cannot be synced. */
export function readTableInfo (driver: Driver, requested: string): TableInfo {
  const name = requested.trim().toLowerCase()
  if (!WIRE_NAME.test(name)) throw refuse(requested, 'its name must consist of a-z, 0-9 and _ (upper case is folded)')
  if (name.length > MAX_NAME_BYTES) throw refuse(requested, `its name is longer than ${MAX_NAME_BYTES} bytes, which PostgreSQL would cut off`)
  if (name.startsWith('_sync_') || name.startsWith('sqlite_')) throw refuse(requested, 'its name is reserved')
  const entry = driver.all<{ name: string, type: string, strict: number, wr: number }>(
    "select name, type, strict, wr from pragma_table_list where schema = 'main' and lower(name) = ?", [name])[0]
  if (entry === undefined) throw refuse(requested, 'there is no such table')
  if (entry.type === 'view') throw refuse(requested, 'it is a view; sync the tables behind it')
  if (entry.type !== 'table') throw refuse(requested, `it is ${entry.type === 'shadow' ? 'part of ' : ''}a virtual table; triggers cannot watch it`)

  const catalog = driver.all<CatalogColumn>('select name, type, pk, hidden, "notnull", dflt_value from pragma_table_xinfo(?, \'main\') order by cid', [entry.name])
  const columns = catalog.filter(column => column.hidden === 0).map(column => readColumn(requested, column, entry.strict === 1))
  const uniques = readUniques(driver, requested, entry.name)
  return {
    name,
    localName: entry.name,
    key: readKey(driver, requested, entry.name, catalog),
    columns,
    hasHiddenRowid: entry.wr === 0 && !catalog.some(({ name }) => ['rowid', '_rowid_', 'oid'].includes(name.toLowerCase())),
    hasConflictClause: /\bconflict\b/i.test(driver.all<{ sql: string }>("select sql from main.sqlite_schema where type = 'table' and name = ?", [entry.name])[0]?.sql ?? ''),
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
    replacesNull: column.notnull === 1 && column.dflt_value !== null ? defaultSql(column.dflt_value) : null
  }
}
