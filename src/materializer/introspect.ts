import { sql, type Kysely } from 'kysely'
import { ConfigurationError } from '../errors.js'
import type { TableRegistration } from '../options.js'
import type { Database } from '../storage/database.js'
import { whyUnsupported } from './column-codec.js'
import { rankByDependency } from './dependency-order.js'
import type { ColumnSpec, ForeignKeySpec, TableSpec } from './table-spec.js'

interface CatalogTable {
  schema: string
  table: string
  kind: string
  persistence: string
  writable: boolean
  columns: CatalogColumn[]
  key: { columns: string[], deferrable: boolean } | null
  foreign_keys: CatalogForeignKey[]
}

interface CatalogColumn {
  name: string
  type: string
  kind: string
  generated: boolean
  identity_always: boolean
}

interface CatalogForeignKey {
  constraint: string
  columns: string[]
  parent: string
  parent_columns: string[]
  /** ON DELETE CASCADE. */
  cascades: boolean
}

/**
 * Compares the registered tables with the catalog. Throws a ConfigurationError with one line for each table that cannot
 * sync, and why: a table that would fail later, change by change, is refused at start.
 */
export async function introspect (db: Kysely<Database>, registrations: TableRegistration[], ids: ReadonlyMap<string, number>): Promise<TableSpec[]> {
  const catalog = new Map((await readCatalog(db, registrations)).map(table => [`${table.schema}.${table.table}`, table]))
  const problems: string[] = []
  const specs = new Map<string, TableSpec>()
  for (const registration of registrations) {
    const name = `${registration.schema}.${registration.table}`
    const found = catalog.get(name)
    const problem = registration.materialize ? whyNot(registration, found) : null
    if (problem !== null) problems.push(`${name}: ${problem}`)
    else specs.set(name, toSpec(registration, found, ids.get(name) as number))
  }
  for (const spec of specs.values()) {
    const problem = connect(spec, catalog.get(spec.name), specs)
    if (problem !== null) problems.push(`${spec.name}: ${problem}`)
  }
  requireNone(problems)
  const tables = [...specs.values()]
  rankByDependency(tables)
  return tables
}

/** Types of an owner column in which two scopes never look the same. */
const OWNER_KINDS = new Set(['text', 'varchar', 'uuid', 'int2', 'int4', 'int8'])

/** Why a table cannot sync, or null. */
function whyNot (registration: TableRegistration, found: CatalogTable | undefined): string | null {
  if (found === undefined) return 'there is no such table'
  if (found.kind !== 'r' && found.kind !== 'p') return 'it is not a table (views, foreign tables and the like cannot sync)'
  if (found.persistence === 'u') return 'it is UNLOGGED: a crash of the database would empty it'
  if (found.persistence === 't') return 'it is temporary'
  if (!found.writable) return 'the database role may not SELECT, INSERT, UPDATE and DELETE on it'
  if (found.key === null) return 'it has no primary key'
  if (found.key.columns.length > 1) return `its primary key has several columns (${found.key.columns.join(', ')}), which is not supported yet`
  if (found.key.deferrable) return 'its primary key is deferrable, so that PostgreSQL cannot tell at once whether a key is taken'
  const keyColumn = found.columns.find(column => column.name === found.key?.columns[0]) as CatalogColumn
  if (keyColumn.kind !== 'uuid') return `its key ${keyColumn.name} has the type ${keyColumn.type}; only uuid is supported yet`
  if (registration.owner !== null && !found.columns.some(column => column.name === registration.owner)) return `there is no owner column ${registration.owner}`
  if (registration.owner === keyColumn.name) return 'the key cannot be the owner column'
  const owner = found.columns.find(column => column.name === registration.owner)
  if (owner !== undefined && (owner.generated || owner.identity_always)) return `its owner column ${owner.name} is GENERATED ALWAYS`
  if (owner !== undefined && !OWNER_KINDS.has(owner.kind)) return `its owner column ${owner.name} has the type ${owner.type}; text, varchar, uuid and the integers are supported`
  for (const column of registration.columns.keys()) {
    if (!found.columns.some(({ name }) => name === column)) return `there is no column ${column} for the codec ${registration.columns.get(column) as string}`
  }
  for (const column of found.columns) {
    if (column.generated || column.name === keyColumn.name || column.name === registration.owner) continue
    if (column.identity_always) return `column ${column.name} is GENERATED ALWAYS AS IDENTITY`
    const reason = whyUnsupported(toColumn(column, registration))
    if (reason !== null) return `column ${column.name}: ${reason}`
  }
  return null
}

function toSpec (registration: TableRegistration, found: CatalogTable | undefined, id: number): TableSpec {
  const { schema, table, owner, materialize, shared } = registration
  const keyColumn = materialize ? found?.key?.columns[0] ?? null : null
  const columns = materialize ? found?.columns ?? [] : []
  return {
    id,
    schema,
    table,
    name: `${schema}.${table}`,
    materialize,
    shared,
    // Without the modifier: a cast to varchar(9) would cut a longer name, and two scopes would own the row.
    owner: owner === null ? null : { column: owner, type: columns.find(column => column.name === owner)?.kind as string },
    keyColumn,
    columns: new Map(columns
      .filter(column => !column.generated && column.name !== keyColumn && column.name !== owner)
      .map(column => [column.name, toColumn(column, registration)])),
    foreignKeys: materialize ? found?.foreign_keys.map(({ constraint, columns, parent }): ForeignKeySpec => ({ constraint, columns, parent })) ?? [] : [],
    references: [],
    cascades: [],
    children: [],
    rank: 0
  }
}

function toColumn ({ name, type, kind }: CatalogColumn, registration: TableRegistration): ColumnSpec {
  return { name, type, kind, codec: registration.columns.get(name) ?? null }
}

/** Fills in the references between registered tables. Returns why one of them cannot be kept within a scope, or null. */
function connect (spec: TableSpec, found: CatalogTable | undefined, specs: Map<string, TableSpec>): string | null {
  if (!spec.materialize) return null
  for (const { constraint, columns, parent, parent_columns: parentColumns, cascades } of found?.foreign_keys ?? []) {
    const target = specs.get(parent)
    const [column] = columns
    if (target === undefined || !target.materialize) continue
    const byKey = columns.length === 1 && column !== undefined && parentColumns[0] === target.keyColumn
    if (byKey && cascades) target.cascades.push({ child: spec, column, constraint })
    // The owner column is the server's to write: what it refers to is not the device's choice.
    if (column === spec.owner?.column) continue
    // Nobody could tell whose row it refers to.
    if (!byKey && !target.shared) return `its foreign key ${constraint} refers to ${parent} by (${parentColumns.join(', ')}), not by its primary key, which is not supported yet unless that table is shared`
    if (byKey) spec.references.push({ column, parent: target })
    if (!target.children.includes(spec)) target.children.push(spec)
  }
  return null
}

function requireNone (problems: string[]): void {
  if (problems.length > 0) throw new ConfigurationError(`These tables cannot sync:\n  ${problems.join('\n  ')}`)
}

/** The registered tables as the catalog has them; tables that do not exist are absent. */
async function readCatalog (db: Kysely<Database>, registrations: TableRegistration[]): Promise<CatalogTable[]> {
  const names = JSON.stringify(registrations.map(({ schema, table }) => ({ schema, table })))
  const { rows } = await sql<{ catalog: string }>`
    select json_build_object(
      'schema', n.nspname, 'table', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
      'writable', has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
        and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'),
      'columns', coalesce((
        select json_agg(json_build_object(
          'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'kind', case t.typtype when 'e' then 'enum' when 'b' then t.typname else 'other' end,
          'generated', a.attgenerated <> '', 'identity_always', a.attidentity = 'a') order by a.attnum)
        from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
      'key', (
        select json_build_object('deferrable', k.condeferrable, 'columns', (
          select json_agg(a.attname order by u.n)
          from unnest(k.conkey) with ordinality u (attnum, n)
          join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum))
        from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'p'),
      'foreign_keys', coalesce((
        select json_agg(json_build_object(
          'constraint', f.conname, 'cascades', f.confdeltype = 'c', 'parent', pn.nspname || '.' || p.relname,
          'columns', (select json_agg(a.attname order by u.n) from unnest(f.conkey) with ordinality u (attnum, n)
            join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.attnum),
          'parent_columns', (select json_agg(a.attname order by u.n) from unnest(f.confkey) with ordinality u (attnum, n)
            join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = u.attnum)) order by f.conname)
        from pg_catalog.pg_constraint f
        join pg_catalog.pg_class p on p.oid = f.confrelid
        join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
        where f.conrelid = c.oid and f.contype = 'f'), '[]')
    )::text as catalog
    from json_to_recordset(${names}::text::json) as x ("schema" text, "table" text)
    join pg_catalog.pg_namespace n on n.nspname = x."schema"
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = x."table"`.execute(db)
  return rows.map(({ catalog }) => JSON.parse(catalog) as CatalogTable)
}
