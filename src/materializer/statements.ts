import { fromWire, wireType } from './column-codec.js'
import { quoteIdentifier, quoteTable } from './quote-identifier.js'
import type { Cascade, ColumnSpec, TableSpec } from './table-spec.js'

/*
 * SQL text for business tables. Parameters: $1 a JSON array of payloads, $2 a JSON array of keys in the same order, $3 the
 * scope (tables with an owner). PostgreSQL itself turns payloads into typed columns. Pure.
 */

// Names with a blank cannot be columns that the wire names, nor collide with one by chance.
const KEY = quoteIdentifier('oversync key')
const PLACE = quoteIdentifier('oversync place')

/** Inserts rows whose key is free; answers the keys that were inserted. */
export function insertStatement (table: TableSpec, columns: string[]): string {
  const specs = specsOf(table, columns)
  const names = [keyOf(table), ...specs.map(({ name }) => name), ...(table.owner === null ? [] : [table.owner.column])]
  const values = [`r.${KEY}::uuid`, ...specs.map(column => fromWire(column, 'r')), ...(table.owner === null ? [] : [ownerValue(table.owner.type)])]
  return `insert into ${quoteTable(table.schema, table.table)} as t (${names.map(quoteIdentifier).join(', ')})
select ${values.join(', ')}
from ${rowsFrom(specs)} order by r.${PLACE}
on conflict (${quoteIdentifier(keyOf(table))}) do nothing
returning t.${quoteIdentifier(keyOf(table))}::text as pk`
}

/** Updates the given columns of rows that are there; answers the keys that were updated. */
export function updateStatement (table: TableSpec, columns: string[]): string {
  const specs = specsOf(table, columns)
  const key = quoteIdentifier(keyOf(table))
  const assignments = specs.length === 0
    ? `${key} = t.${key}`
    : specs.map(({ name }) => `${quoteIdentifier(name)} = v.${quoteIdentifier(name)}`).join(', ')
  const values = [`r.${KEY}::uuid as ${KEY}`, ...specs.map(column => `${fromWire(column, 'r')} as ${quoteIdentifier(column.name)}`)]
  return `update ${quoteTable(table.schema, table.table)} as t set ${assignments}
from (select ${values.join(', ')} from ${rowsFrom(specs)}) v
where t.${key} = v.${KEY}${ownerCondition(table)}
returning t.${key}::text as pk`
}

/** Deletes rows; answers the keys that stay because the row has another owner. Here $1 is the JSON array of keys and $2 the scope. */
export function deleteStatement (table: TableSpec): string {
  const key = quoteIdentifier(keyOf(table))
  const name = quoteTable(table.schema, table.table)
  const wanted = `t.${key} = any (array(select k::uuid from json_array_elements_text($1::text::json) as k))`
  if (table.owner === null) return `delete from ${name} as t where ${wanted}`
  return `with gone as (delete from ${name} as t where ${wanted}${ownerCondition(table, '$2')})
select t.${key}::text as pk from ${name} as t where ${wanted} and not (t.${quoteIdentifier(table.owner.column)} is not distinct from $2::text::${table.owner.type})`
}

/** Finds the rows of a child table that a deletion of their parents would delete: $1 is the JSON array of the parents' keys. */
export function cascadedStatement ({ child, column }: Cascade): string {
  return `select t.${quoteIdentifier(keyOf(child))}::text as pk, t.${quoteIdentifier(column)}::text as parent
from ${quoteTable(child.schema, child.table)} as t
where t.${quoteIdentifier(column)} = any (array(select k::uuid from json_array_elements_text($1::text::json) as k))`
}

/** Tells which of the keys in $1 are in the table. */
export function presentStatement (table: TableSpec): string {
  return `select t.${quoteIdentifier(keyOf(table))}::text as pk from ${quoteTable(table.schema, table.table)} as t
where t.${quoteIdentifier(keyOf(table))} = any (array(select k::uuid from json_array_elements_text($1::text::json) as k))`
}

/** Reads one column of payloads as it would be written, to find out whether it is the one that PostgreSQL refuses. */
export function probeStatement (column: ColumnSpec): string {
  return `select ${fromWire(column, 'r')} from json_to_recordset($1::text::json) as r (${quoteIdentifier(column.name)} ${wireType(column)})`
}

function rowsFrom (specs: ColumnSpec[]): string {
  if (specs.length === 0) return `rows from (json_array_elements($1::text::json), json_array_elements_text($2::text::json)) with ordinality as r ("oversync payload", ${KEY}, ${PLACE})`
  const definitions = specs.map(column => `${quoteIdentifier(column.name)} ${wireType(column)}`).join(', ')
  const names = specs.map(({ name }) => quoteIdentifier(name)).join(', ')
  return `rows from (json_to_recordset($1::text::json) as (${definitions}), json_array_elements_text($2::text::json)) with ordinality as r (${names}, ${KEY}, ${PLACE})`
}

function ownerValue (type: string): string {
  return `$3::text::${type}`
}

function ownerCondition (table: TableSpec, parameter = '$3'): string {
  return table.owner === null ? '' : ` and t.${quoteIdentifier(table.owner.column)} = ${parameter}::text::${table.owner.type}`
}

function keyOf (table: TableSpec): string {
  if (table.keyColumn === null) throw new Error(`${table.name} is not materialized.`)
  return table.keyColumn
}

function specsOf (table: TableSpec, columns: string[]): ColumnSpec[] {
  return columns.map(name => table.columns.get(name) as ColumnSpec)
}
