import { fromWire, isAltered, toWire, wireType } from './column-codec.js'
import { isOneOf, keyColumns, keyParts, keyText } from './key-sql.js'
import { IS_AS_ASSUMED } from '../storage/append-where-assumed.js'
import { quoteIdentifier, quoteTable } from './quote-identifier.js'
import { isWritable, type ColumnSpec, type DeleteAction, type TableSpec } from './table-spec.js'

/*
 * SQL text for business tables. Parameters: $1 a JSON array of payloads, $2 a JSON array of keys in the same order, $3 the
 * scope (tables with an owner). PostgreSQL itself turns payloads into typed columns. Pure.
 */

/** How a statement that writes rows takes a row that it does not write: in silence, as an error, or not at all where the transaction is not to write. */
export type Strictness = 'lenient' | 'strict' | 'strict where assumed'

/** Names beside those of a table's columns, whatever these are. */
function namesBeside ({ columns }: TableSpec): { key: string, place: string, payload: string, keyPart: (i: number) => string } {
  let prefix = 'oversync '
  while ([...columns.keys()].some(name => name.startsWith(prefix))) prefix += ' '
  const name = (rest: string) => quoteIdentifier(prefix + rest)
  return { key: name('key'), place: name('place'), payload: name('payload'), keyPart: i => name(`key ${i}`) }
}

/** Inserts rows whose key is free; answers the keys that were inserted. Unless it is lenient it fails where a key is taken. */
export function insertStatement (table: TableSpec, columns: readonly string[], strictness: Strictness = 'lenient'): string {
  const specs = writableOf(table, columns)
  const keys = keyColumns(table.key)
  const owner = table.owner !== null && table.owner.keyIndex < 0 ? table.owner : null
  const beside = namesBeside(table)
  const names = [...keys, ...specs.map(({ name }) => name), ...(owner === null ? [] : [owner.column])]
  const values = [...keyParts(table.key, `r.${beside.key}`), ...specs.map(column => fromWire(column, 'r')), ...(owner === null ? [] : [`$3::text::${owner.type}`])]
  // A parameter that nothing mentions has no type; the key says the same as the scope then.
  const filter = table.owner !== null && owner === null ? ' where $3::text is not null' : ''
  // The key of a row is the device's to give, also where PostgreSQL would rather give it itself.
  return `insert into ${tableOf(table)} as t (${names.map(quoteIdentifier).join(', ')}) overriding system value
select ${values.join(', ')}
from ${rowsFrom(table, specs, strictness)}${filter} order by r.${beside.place}
${strictness !== 'lenient' ? '' : `on conflict (${keys.map(quoteIdentifier).join(', ')}) do nothing\n`}returning ${answer(keys, strictness)}`
}

/**
 * What a statement answers of each row: which one it was, or only that it was one. Of its columns also then: else PostgreSQL
 * would neither ask for the right to read the row nor apply the policies that hide it.
 */
function answer (keys: string[], strictness: Strictness): string {
  return strictness === 'lenient' ? `${keyText(keys, 't')} as pk` : `t.${quoteIdentifier(keys[0] as string)}`
}

/** Updates the given columns of rows that are there; answers the keys that were updated. */
export function updateStatement (table: TableSpec, columns: readonly string[], strictness: Strictness = 'lenient'): string {
  const specs = writableOf(table, columns)
  const keys = keyColumns(table.key)
  // Nothing to set: whether the row is there still counts.
  if (specs.length === 0) return `select ${keyText(keys, 't')} as pk from ${tableOf(table)} as t where $1::text is not null and ${isOneOf(table.key, keys, 't', parameter('$2', strictness))}${ownerCondition(table)} for no key update`
  const assignments = specs.map(({ name }) => `${quoteIdentifier(name)} = v.${quoteIdentifier(name)}`).join(', ')
  const beside = namesBeside(table)
  const parts = keyParts(table.key, `r.${beside.key}`)
  const values = [...parts.map((part, i) => `${part} as ${beside.keyPart(i)}`), ...specs.map(column => `${fromWire(column, 'r')} as ${quoteIdentifier(column.name)}`)]
  return `update ${tableOf(table)} as t set ${assignments}
from (select ${values.join(', ')} from ${rowsFrom(table, specs, strictness)}) v
where ${keys.map((name, i) => `t.${quoteIdentifier(name)} = v.${beside.keyPart(i)}`).join(' and ')}${ownerCondition(table)}
returning ${answer(keys, strictness)}`
}

/** Deletes rows, those of the scope where the table has an owner. Here $1 is the JSON array of keys and $2 the scope. */
export function deleteStatement (table: TableSpec, strictness: Strictness = 'lenient'): string {
  const wanted = isOneOf(table.key, keyColumns(table.key), 't', parameter('$1', strictness))
  if (table.owner === null) return `delete from ${tableOf(table)} as t where ${wanted}`
  return `delete from ${tableOf(table)} as t where ${wanted}${ownerCondition(table, '$2')}`
}

/** Locks rows that are to be deleted, so that no other row can refer to them from now on: $1 is the JSON array of their keys. */
export function lockStatement (table: TableSpec): string {
  return `select from ${tableOf(table)} as t where ${isOneOf(table.key, keyColumns(table.key), 't', '$1')} for update`
}

/** Finds and locks the rows of a child table that a deletion of their parents would change: $1 is the JSON array of the parents' keys. */
export function affectedStatement (parent: TableSpec, { child, columns }: DeleteAction): string {
  return `select ${keyText(keyColumns(child.key), 't')} as pk, ${keyText(columns, 't')} as parent
from ${tableOf(child)} as t where ${isOneOf(parent.key, columns, 't', '$1')} for update`
}

/** Tells which of the keys in $1 are in the table. */
export function presentStatement (table: TableSpec): string {
  return `select ${keyText(keyColumns(table.key), 't')} as pk from ${tableOf(table)} as t where ${isOneOf(table.key, keyColumns(table.key), 't', '$1')}`
}

/** Tells which of the keys in $1 are in a table with an owner, and whether the scope in $2 owns them. */
export function ownedStatement (table: TableSpec, owner: { column: string, type: string }): string {
  return `select ${keyText(keyColumns(table.key), 't')} as pk, coalesce(t.${quoteIdentifier(owner.column)} = $2::text::${owner.type}, false) as own
from ${tableOf(table)} as t where ${isOneOf(table.key, keyColumns(table.key), 't', '$1')}`
}

/** Reads one column of payloads as it would be written, to find out whether it is the one that PostgreSQL refuses. */
export function probeStatement (column: ColumnSpec): string {
  return `select ${fromWire(column, 'r')} from json_to_recordset($1::text::json) as r (${quoteIdentifier(column.name)} ${wireType(column)})`
}

/**
 * Compares rows with the payloads that were to be stored, all of which have the given columns: answers the keys of rows that
 * differ, and the members that make them what they are, as JSON text without braces. Columns that the payloads lack count
 * where they have a value. `asJson` compares the JSON texts, where a payload may hold what its column's type cannot.
 */
export function alteredStatement (table: TableSpec, columns: readonly string[], { asJson = false } = {}): string {
  // What is only read is compared as JSON.
  const sent = columns.map(name => table.columns.get(name)).filter(column => column !== undefined).map(column => asJson ? { ...column, isWritable: false } : column)
  const absent = [...table.columns.values()].filter(({ name }) => !columns.includes(name))
  const member = (column: ColumnSpec) => `${literal(JSON.stringify(column.name) + ':')} || coalesce((${toWire(column, 't')})::text, 'null')`
  const members = [
    ...sent.map(column => `case when ${isAltered(column, 'r', 't')} then ${member(column)} end`),
    ...absent.map(column => `case when t.${quoteIdentifier(column.name)} is not null then ${member(column)} end`)
  ]
  const { key } = namesBeside(table)
  const parts = keyParts(table.key, `r.${key}`)
  return `select x.pk, x.members from (
select r.${key} as pk, array_to_string(array[${members.join(', ')}]::text[], ',') as members
from ${rowsFrom(table, sent)} join ${tableOf(table)} as t on ${keyColumns(table.key).map((name, i) => `t.${quoteIdentifier(name)} = ${parts[i] as string}`).join(' and ')}) x
where x.members <> ''`
}

/** A parameter that is a JSON array, or none of it where nothing is to be written. */
function parameter (name: string, strictness: Strictness): string {
  return strictness === 'strict where assumed' ? `(case when ${IS_AS_ASSUMED} then ${name}::text else '[]' end)` : name
}

function rowsFrom (table: TableSpec, specs: ColumnSpec[], strictness: Strictness = 'lenient'): string {
  const { key, place, payload } = namesBeside(table)
  const [payloads, keys] = [parameter('$1', strictness), parameter('$2', strictness)]
  if (specs.length === 0) return `rows from (json_array_elements(${payloads}::text::json), json_array_elements_text(${keys}::text::json)) with ordinality as r (${payload}, ${key}, ${place})`
  const definitions = specs.map(column => `${quoteIdentifier(column.name)} ${wireType(column)}`).join(', ')
  const names = specs.map(({ name }) => quoteIdentifier(name)).join(', ')
  return `rows from (json_to_recordset(${payloads}::text::json) as (${definitions}), json_array_elements_text(${keys}::text::json)) with ordinality as r (${names}, ${key}, ${place})`
}

function ownerCondition (table: TableSpec, parameter = '$3'): string {
  return table.owner === null ? '' : ` and t.${quoteIdentifier(table.owner.column)} = ${parameter}::text::${table.owner.type}`
}

function tableOf ({ schema, table }: TableSpec): string {
  return quoteTable(schema, table)
}

function writableOf (table: TableSpec, columns: readonly string[]): ColumnSpec[] {
  return columns.filter(name => isWritable(table, name)).map(name => table.columns.get(name) as ColumnSpec)
}

/** A text as SQL writes it. */
function literal (text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
