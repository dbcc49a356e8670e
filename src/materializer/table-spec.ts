import type { ColumnCodec } from '../options.js'

/** A column that changes may write. */
export interface ColumnSpec {
  name: string
  /** Type as PostgreSQL spells it, with its modifier: `numeric(10,2)`. */
  type: string
  /** Base type's name in pg_type; `enum` for every enum. */
  kind: string
  codec: ColumnCodec | null
}

/** A foreign key of a registered table. */
export interface ForeignKeySpec {
  constraint: string
  columns: string[]
  /** `schema.table` that it points at. */
  parent: string
}

/** A single-column foreign key into the key of a registered table: what a change may only point at while it is live in the scope. */
export interface Reference {
  column: string
  parent: TableSpec
}

export interface Cascade {
  child: TableSpec
  /** Column of the child that holds the key of the row that is deleted. */
  column: string
  constraint: string
}

/** All that the service knows of a registered table. */
export interface TableSpec {
  /** Number in synced_table. */
  id: number
  schema: string
  table: string
  /** `schema.table`, as people and the wire write it. */
  name: string
  materialize: boolean
  shared: boolean
  /** Column that holds the scope's name, and its type without a modifier. */
  owner: { column: string, type: string } | null
  /** The key column; null where the table is not materialized and its columns are unknown. */
  keyColumn: string | null
  /** Writable columns by name, without key and owner. */
  columns: ReadonlyMap<string, ColumnSpec>
  foreignKeys: ForeignKeySpec[]
  references: Reference[]
  /** Foreign keys of registered tables by which a deletion here deletes there (ON DELETE CASCADE). */
  cascades: Cascade[]
  /** Registered tables whose rows refer to this one. */
  children: TableSpec[]
  /** Place in an order in which parents stand before children; cycles are broken somewhere. */
  rank: number
}

/** The registered tables, by `schema.table`. */
export class TableRegistry {
  readonly #byName: ReadonlyMap<string, TableSpec>

  constructor (tables: TableSpec[]) {
    this.#byName = new Map(tables.map(table => [table.name, table]))
  }

  find (schema: string, table: string): TableSpec | undefined {
    return this.#byName.get(`${schema}.${table}`)
  }

  /** In order of registration. */
  get all (): TableSpec[] {
    return [...this.#byName.values()]
  }
}
