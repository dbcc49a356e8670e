import { identifier, literal } from './quote.js'
import type { TableInfo } from './table-info.js'

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
 * SQL for the key of a row as the wire spells it. A key of another storage class than the column promises (a NULL, a blob
 * in a TEXT key, a blob that is no uuid) becomes a blob here: it is noted and held, and can never be taken for a wire key.
 */
export function keySql (table: TableInfo, alias: string): string {
  const key = `${alias}.${identifier(table.key.name)}`
  const odd = `cast(quote(${key}) as blob)`
  switch (table.key.type) {
    case 'text': return `iif(typeof(${key}) = 'text', ${key}, ${odd})`
    case 'integer': return `iif(typeof(${key}) = 'integer', cast(${key} as text), ${odd})`
    case 'blob': return `iif(typeof(${key}) = 'blob' and length(${key}) = 16, ${dashedSql(key)}, ${odd})`
  }
}

function dashedSql (blob: string): string {
  const hex = `lower(hex(${blob}))`
  return `substr(${hex}, 1, 8) || '-' || substr(${hex}, 9, 4) || '-' || substr(${hex}, 13, 4) || '-' || substr(${hex}, 17, 4) || '-' || substr(${hex}, 21)`
}

/** SQL condition: the row behind `alias` has the wire key `key` (a parameter or a column). Uses the primary key's index. */
export function hasKeySql (table: TableInfo, alias: string, key: string): string {
  const column = `${alias}.${identifier(table.key.name)}`
  switch (table.key.type) {
    case 'text': return `${column} = ${key}`
    case 'integer': return `${column} = cast(${key} as integer)`
    case 'blob': return `${column} = unhex(replace(${key}, '-', ''))`
  }
}
