import type { TableRegistration } from '../options.js'
import { whyUnsupported } from './column-codec.js'
import { rankByDependency } from './dependency-order.js'
import type { KeyPart, KeySpec } from './key-spec.js'
import type { CatalogColumn, CatalogForeignKey, CatalogTable } from './read-catalog.js'
import type { ColumnSpec, ForeignKeySpec, TableSpec } from './table-spec.js'

/**
 * Compares the registered tables with the catalog, whose tables come as JSON texts. A table that would fail later, change by
 * change, is among the problems, one line each that says why.
 */
export function introspect (registrations: TableRegistration[], texts: string[], ids: ReadonlyMap<string, number>): { tables: TableSpec[], problems: string[] } {
  const catalog = new Map(texts.map(text => JSON.parse(text) as CatalogTable).map(table => [`${table.schema}.${table.table}`, table]))
  const problems: string[] = []
  const specs = new Map<string, TableSpec>()
  for (const registration of registrations) {
    const name = `${registration.schema}.${registration.table}`
    const found = catalog.get(name)
    const problem = registration.materialize ? whyNot(registration, found) : null
    if (problem !== null) problems.push(`${name}: ${problem}`)
    else specs.set(name, toSpec(registration, registration.materialize ? found : undefined, ids.get(name) as number))
  }
  const loose = new Set<string>()
  for (const spec of specs.values()) {
    const problem = connect(spec, catalog.get(spec.name), specs)
    if (problem === null) continue
    problems.push(`${spec.name}: ${problem}`)
    loose.add(spec.name)
  }
  if (loose.size > 0) {
    // Without them: what refers to one of them may be a problem now.
    const rest = introspect(registrations.filter(({ schema, table }) => specs.has(`${schema}.${table}`) && !loose.has(`${schema}.${table}`)), texts, ids)
    return { tables: rest.tables, problems: [...problems, ...rest.problems] }
  }
  const tables = [...specs.values()]
  rankByDependency(tables)
  return { tables, problems }
}

/** Types of an owner column in which two scopes never look the same. */
const OWNER_KINDS = new Set(['text', 'varchar', 'uuid', 'int2', 'int4', 'int8'])

const KEY_TYPES: Record<string, Pick<KeyPart, 'kind' | 'type'>> = {
  uuid: { kind: 'uuid', type: 'uuid' },
  text: { kind: 'text', type: 'text' },
  varchar: { kind: 'text', type: 'text' },
  int2: { kind: 'integer', type: 'smallint' },
  int4: { kind: 'integer', type: 'integer' },
  int8: { kind: 'integer', type: 'bigint' }
}

/** Why a table cannot sync, or null. */
function whyNot (registration: TableRegistration, found: CatalogTable | undefined): string | null {
  if (found === undefined) return 'there is no such table'
  if (found.kind !== 'r' && found.kind !== 'p') return 'it is not a table (views, foreign tables and the like cannot sync)'
  if (found.persistence === 'u') return 'it is UNLOGGED: a crash of the database would empty it'
  if (found.persistence === 't') return 'it is temporary'
  if (!found.writable) return 'the database role may not SELECT, INSERT, UPDATE and DELETE on it, or not use its schema'
  return whyNotKey(found) ?? whyNotOwner(registration, found) ?? whyNotColumns(registration, found)
}

/** A key must be one-to-one with its text: what differs there must differ here, and the other way round. */
function whyNotKey ({ key, columns }: CatalogTable): string | null {
  if (key === null) return 'it has no primary key'
  if (key.deferrable) return 'its primary key is deferrable, so that PostgreSQL cannot tell at once whether a key is taken'
  for (const name of key.columns) {
    const column = columns.find(column => column.name === name) as CatalogColumn
    if (column.kind === 'citext' || !column.deterministic) return `its key ${name} does not tell texts apart byte by byte (${column.kind === 'citext' ? 'citext' : 'a nondeterministic collation'}): two keys of devices would be one here`
    if (KEY_TYPES[column.kind] === undefined) return `its key ${name} has the type ${column.type}; uuid, text, varchar and the integers are supported`
    if (column.generated) return `its key ${name} is generated`
  }
  return null
}

function whyNotOwner (registration: TableRegistration, { columns }: CatalogTable): string | null {
  if (registration.owner === null) return null
  const owner = columns.find(column => column.name === registration.owner)
  if (owner === undefined) return `there is no owner column ${registration.owner}`
  if (owner.generated || owner.identity_always) return `its owner column ${owner.name} is GENERATED ALWAYS`
  if (!OWNER_KINDS.has(owner.kind)) return `its owner column ${owner.name} has the type ${owner.type}; text, varchar, uuid and the integers are supported`
  if (!owner.deterministic) return `its owner column ${owner.name} has a nondeterministic collation: two scopes would be one owner`
  return null
}

function whyNotColumns (registration: TableRegistration, { columns, key }: CatalogTable): string | null {
  for (const column of registration.columns.keys()) {
    if (!columns.some(({ name }) => name === column)) return `there is no column ${column} for the codec ${registration.columns.get(column) as string}`
  }
  for (const name of registration.exclude) {
    const column = columns.find(column => column.name === name)
    if (column === undefined) return `there is no column ${name} to exclude`
    if (key?.columns.includes(name) === true || name === registration.owner) return `its ${name === registration.owner ? 'owner' : 'key'} column ${name} cannot be excluded`
    if (column.not_null && !column.has_default && !column.generated && registration.direction !== 'down') return `the excluded column ${name} is NOT NULL and has no default, so that no device could insert a row`
  }
  for (const column of columns) {
    if (key?.columns.includes(column.name) === true || column.name === registration.owner || registration.exclude.has(column.name)) continue
    const reason = whyUnsupported(toColumn(column, registration))
    if (reason !== null) return `column ${column.name}: ${reason}`
  }
  return null
}

function toSpec (registration: TableRegistration, found: CatalogTable | undefined, id: number): TableSpec {
  const { schema, table, owner, materialize, materializer, shared, direction, recordsFailures, exclude } = registration
  const key = found === undefined ? registration.key?.map(toKeyPart) ?? [] : keyFromCatalog(found)
  const columns = found?.columns ?? []
  const isKey = (name: string) => key.some(part => part.name === name)
  const ownerColumn = columns.find(column => column.name === owner)
  return {
    id,
    schema,
    table,
    name: `${schema}.${table}`,
    materialize,
    materializer,
    shared,
    direction,
    recordsFailures,
    // Without the modifier: a cast to varchar(9) would cut a longer name, and two scopes would own the row.
    owner: ownerColumn === undefined ? null : { column: ownerColumn.name, type: ownerColumn.kind, keyIndex: key.findIndex(part => part.name === ownerColumn.name) },
    key,
    columns: new Map(columns
      .filter(({ name }) => !isKey(name) && name !== owner && !exclude.has(name))
      .map(column => [column.name, toColumn(column, registration)])),
    excluded: exclude,
    foreignKeys: found?.foreign_keys.map(({ constraint, columns, parent }): ForeignKeySpec => ({ constraint, columns, parent })) ?? [],
    references: [],
    deleteActions: [],
    children: [],
    rank: 0,
    mayAlter: found?.may_alter ?? false,
    mayKeep: found?.may_keep ?? false,
    watchesDeletions: found?.watches_deletions ?? false
  }
}

function keyFromCatalog ({ key, columns }: CatalogTable): KeySpec {
  return (key?.columns ?? []).map(name => {
    const { kind, max_length: maxLength } = columns.find(column => column.name === name) as CatalogColumn
    return { name, ...KEY_TYPES[kind] as Pick<KeyPart, 'kind' | 'type'>, maxLength }
  })
}

function toKeyPart ({ name, kind }: { name: string | null, kind: KeyPart['kind'] }): KeyPart {
  return { name, kind, type: kind === 'integer' ? 'bigint' : kind, maxLength: null }
}

function toColumn ({ name, type, kind, element_kind: elementKind, generated, identity_always: identityAlways, has_default: hasDefault }: CatalogColumn, registration: TableRegistration): ColumnSpec {
  return { name, type, kind, elementKind, codec: registration.columns.get(name) ?? null, isWritable: !generated && !identityAlways, hasDefault }
}

/** Fills in the references between registered tables. Returns why one of them cannot be kept within a scope, or null. */
function connect (spec: TableSpec, found: CatalogTable | undefined, specs: Map<string, TableSpec>): string | null {
  if (!spec.materialize) return null
  for (const foreignKey of found?.foreign_keys ?? []) {
    const { constraint, parent, on_delete: onDelete, on_update: onUpdate, set_columns: setColumns } = foreignKey
    if ((onDelete === 'n' || onDelete === 'd') && spec.owner !== null && (setColumns ?? foreignKey.columns).includes(spec.owner.column)) {
      return `its foreign key ${constraint} would take its owner ${spec.owner.column} away (ON DELETE SET ${onDelete === 'n' ? 'NULL' : 'DEFAULT'})`
    }
    // What the server writes is not the device's choice: its owner, and columns that never travel.
    const hidden = foreignKey.columns.filter(name => spec.excluded.has(name) || spec.columns.get(name)?.isWritable === false)
    const isServers = foreignKey.columns.every(name => name === spec.owner?.column || hidden.includes(name))
    if (hidden.length > 0 && !isServers) return `its foreign key ${constraint} has columns that devices write beside ${hidden.join(', ')}, which they do not: nobody could tell whose row it points at`
    const target = specs.get(parent)
    if (target === undefined || !target.materialize) {
      if (isServers) continue
      return `its foreign key ${constraint} refers to ${parent}, which does not sync: nobody could tell whose row it points at. Register that table too, for instance as { table: '${parent}', shared: true, direction: 'down' } where everybody may refer to its rows`
    }
    const columns = byKeyOf(target, foreignKey)
    const acts = onDelete !== 'a' && onDelete !== 'r'
    if (columns === null && onUpdate !== 'a' && onUpdate !== 'r') return `its foreign key ${constraint} refers to ${parent} by (${foreignKey.parent_columns.join(', ')}), not by its primary key, and changes rows when one there is updated, which is not supported`
    if (columns === null) {
      if (acts) return `its foreign key ${constraint} refers to ${parent} by (${foreignKey.parent_columns.join(', ')}), not by its primary key, and changes rows when one there is deleted, which is not supported`
      if (!isServers && !target.shared) return `its foreign key ${constraint} refers to ${parent} by (${foreignKey.parent_columns.join(', ')}), not by its primary key, which is not supported unless that table is shared`
    } else {
      if (acts) target.deleteActions.push({ child: spec, columns, constraint, effect: onDelete === 'c' ? 'delete' : 'alter' })
      if (!isServers) spec.references.push({ constraint, columns, parent: target })
    }
    if (!isServers && !target.children.includes(spec)) target.children.push(spec)
  }
  return null
}

/** The child's columns in the order of the parent's key; null where the foreign key refers to other columns. */
function byKeyOf ({ key }: TableSpec, { columns, parent_columns: parentColumns }: CatalogForeignKey): string[] | null {
  if (parentColumns.length !== key.length) return null
  const ordered = key.map(({ name }) => columns[parentColumns.indexOf(name as string)])
  return ordered.some(name => name === undefined) ? null : ordered as string[]
}
