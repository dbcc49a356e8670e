import type { ColumnCodec, Direction, Materializer } from '../options.js'
import type { KeySpec } from './key-spec.js'

/** A column that travels. */
export interface ColumnSpec {
  name: string
  /** Type as PostgreSQL spells it, with its modifier: `numeric(10,2)`. Of a domain, the type it is over. */
  type: string
  /** Type's name in pg_type; `enum` for every enum, `array` for every array. Of a domain, of the type it is over. */
  kind: string
  /** Kind of an array's elements; null where it is none. */
  elementKind: string | null
  codec: ColumnCodec | null
  /** False where PostgreSQL alone decides its value: generated, or GENERATED ALWAYS AS IDENTITY. */
  isWritable: boolean
  /** It gets a value where an INSERT leaves it out. */
  hasDefault: boolean
}

/** A foreign key of a registered table. */
export interface ForeignKeySpec {
  constraint: string
  columns: string[]
  /** `schema.table` that it points at. */
  parent: string
}

/** A foreign key to the key of a registered table: what a change may only point at while it is live in the scope. */
export interface Reference {
  constraint: string
  /** Columns of the child, in the order of the parent's key. */
  columns: string[]
  parent: TableSpec
}

/** What PostgreSQL does to rows of a registered table when a row that they refer to is deleted. */
export interface DeleteAction {
  child: TableSpec
  /** Columns of the child that hold the key of the row that is deleted, in the order of that key. */
  columns: string[]
  constraint: string
  /** `delete` for ON DELETE CASCADE, `alter` for SET NULL and SET DEFAULT. */
  effect: 'delete' | 'alter'
}

/** All that the service knows of a registered table. */
export interface TableSpec {
  /** Number in synced_table. */
  id: number
  schema: string
  table: string
  /** `schema.table`, as people and the wire write it. */
  name: string
  /** Rows are written to a business table of this name. */
  materialize: boolean
  /** The app writes the rows itself. */
  materializer: Materializer | null
  shared: boolean
  direction: Direction
  /** A row that the database refuses enters the stream all the same and is noted as a failure. */
  recordsFailures: boolean
  /** Column that holds the scope's name, its type without a modifier, and whether it is part of the key. */
  owner: { column: string, type: string, keyIndex: number } | null
  key: KeySpec
  /** Columns that travel by name, without key and owner; those that are excluded are not among them. */
  columns: ReadonlyMap<string, ColumnSpec>
  /** Columns that never travel. */
  excluded: ReadonlySet<string>
  foreignKeys: ForeignKeySpec[]
  references: Reference[]
  /** Foreign keys of registered tables by which a deletion here changes rows there. */
  deleteActions: DeleteAction[]
  /** Registered tables whose rows refer to this one. */
  children: TableSpec[]
  /** Place in an order in which parents stand before children; cycles are broken somewhere. */
  rank: number
  /** The database may store another row than it was given: triggers, rules, generated columns. */
  mayAlter: boolean
  /** A trigger, a rule or a policy may keep a row that it was told to delete. */
  mayKeep: boolean
  /** A trigger runs once for each statement that deletes, also where that finds no row. */
  watchesDeletions: boolean
}

/** Columns that a change may write. */
export function isWritable (table: TableSpec, name: string): boolean {
  return table.columns.get(name)?.isWritable === true
}

/** The registered tables, by `schema.table`. */
export class TableRegistry {
  readonly #byName: ReadonlyMap<string, TableSpec>
  readonly #unavailable: ReadonlySet<string>

  /** `unavailable`: names of registered tables that cannot sync as they are now. */
  constructor (tables: TableSpec[], unavailable: Iterable<string> = []) {
    this.#unavailable = new Set(unavailable)
    this.#byName = new Map(tables.map(table => [table.name, table]))
  }

  find (schema: string, table: string): TableSpec | undefined {
    return this.#byName.get(`${schema}.${table}`)
  }

  /** A table that the app registered and that was altered since so that it cannot sync. */
  isUnavailable (schema: string, table: string): boolean {
    return this.#unavailable.has(`${schema}.${table}`)
  }

  /** In order of registration. */
  get all (): TableSpec[] {
    return [...this.#byName.values()]
  }
}
