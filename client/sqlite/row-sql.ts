import { identifier, literal } from './quote.js'
import type { KeyColumn, TableInfo } from './table-info.js'

/** SQL for a value as a cell (see cell.ts): `quote()`, except that quote() would cut a text at its first NUL. */
export function cellSql (value: string): string {
  return `iif(typeof(${value}) = 'text' and instr(${value}, char(0)), 'T''' || hex(${value}) || '''', quote(${value}))`
}

/** SQL for the row behind `alias` (a table alias, `old` or `new`) as one text, the form that `decodeRow` reads. */
export function imageSql (table: TableInfo, alias: string): string {
  const parts: string[] = []
  for (const column of table.columns) {
    parts.push(literal((parts.length === 0 ? '{' : ',') + JSON.stringify(column.name) + ':'))
    parts.push(`json_quote(${cellSql(`${alias}.${identifier(column.name)}`)})`)
  }
  parts.push("'}'")
  return concat(parts)
}

/**
 * `a || b || …` as a balanced tree: SQLite refuses expressions deeper than 1,000, and functions with more arguments than a
 * build allows (127 in some). 1,000 columns are 11 levels here.
 */
export function concat (parts: readonly string[]): string {
  if (parts.length === 1) return parts[0] as string
  const half = parts.length >> 1
  return `(${concat(parts.slice(0, half))} || ${concat(parts.slice(half))})`
}

/**
 * SQL for the key of a row as the wire spells it (see key-text.ts). A key of another storage class than its columns promise
 * (a NULL, a blob in a TEXT key, a blob that is no uuid) becomes a blob here: it is noted and held, and can never be taken
 * for a wire key.
 */
export function keySql (table: TableInfo, alias: string): string {
  const parts = table.key.map(column => partSql(column, `${alias}.${identifier(column.name)}`))
  const odd = concat(parts.flatMap(({ value }, i) => i === 0 ? [cellSql(value)] : ["', '", cellSql(value)]))
  const text = parts.length === 1 ? (parts[0] as Part).text : `json_array(${parts.map(part => part.text).join(', ')})`
  return `iif(${parts.map(part => part.isFit).join(' and ')}, ${text}, cast(${odd} as blob))`
}

interface Part { value: string, isFit: string, text: string }

function partSql ({ type }: KeyColumn, value: string): Part {
  switch (type) {
    case 'text': return { value, isFit: `typeof(${value}) = 'text'`, text: value }
    case 'integer': return { value, isFit: `typeof(${value}) = 'integer'`, text: `cast(${value} as text)` }
    case 'blob': return { value, isFit: `typeof(${value}) = 'blob' and length(${value}) = 16`, text: dashedSql(value) }
  }
}

function dashedSql (blob: string): string {
  const hex = `lower(hex(${blob}))`
  return `substr(${hex}, 1, 8) || '-' || substr(${hex}, 9, 4) || '-' || substr(${hex}, 13, 4) || '-' || substr(${hex}, 17, 4) || '-' || substr(${hex}, 21)`
}

/** SQL condition: the row behind `alias` has the wire key `key` (a parameter or a column). Uses the primary key's index. */
export function hasKeySql (table: TableInfo, alias: string, key: string): string {
  const columns = table.key.map(({ name, type }) => `${alias}.${identifier(name)}${binary(type)}`)
  if (columns.length === 1) return `${columns[0] as string} = ${storedSql(table.key[0] as KeyColumn, key)}`
  // `key` once, for it may be a parameter. A key from before a change of the table's key may be no JSON: it fits no row.
  const values = table.key.map((column, i) => storedSql(column, `json_extract(k.v, '$[${i}]')`))
  return `(${columns.join(', ')}) = (select ${values.join(', ')} from (select iif(json_valid(g.v), g.v, '[]') as v from (select ${key} as v) as g) as k)`
}

/** SQL for a part of a key as its column stores it, from the text that travels. */
export function storedSql ({ type }: KeyColumn, text: string): string {
  switch (type) {
    case 'text': return text
    case 'integer': return `cast(${text} as integer)`
    case 'blob': return `unhex(replace(${text}, '-', ''))`
  }
}

/** The key's columns as the target of an upsert. */
export function keyColumnsSql (table: TableInfo): string {
  return table.key.map(({ name, type }) => identifier(name) + binary(type)).join(', ')
}

/** A key compares byte by byte, whatever collation its column has by itself. Only text: elsewhere the clause would keep SQLite from the rowid. */
export function binary (type: KeyColumn['type']): string {
  return type === 'text' ? ' collate binary' : ''
}
