import { quoteIdentifier } from './quote-identifier.js'
import type { KeySpec } from './key-spec.js'

/** Names of the key's columns, which a materialized table always has. */
export function keyColumns (key: KeySpec): string[] {
  return key.map(({ name }) => {
    if (name === null) throw new Error('The key of a table that is not materialized has no columns.')
    return name
  })
}

/** SQL of a row's key as it travels, from the given columns: those of the key itself, or those by which another table refers to it. */
export function keyText (columns: string[], alias: string): string {
  const texts = columns.map(name => `${alias}.${quoteIdentifier(name)}::text`)
  // Spelled as JSON.stringify spells it: no white space, and the same characters escaped.
  return texts.length === 1 ? texts[0] as string : `array_to_json(array[${texts.join(', ')}])::text`
}

/** SQL of a key's typed parts, from its text. */
export function keyParts (key: KeySpec, text: string): string[] {
  return key.length === 1
    ? [`${text}::${(key[0] as { type: string }).type}`]
    : key.map(({ type }, i) => `(${text}::json ->> ${i})::${type}`)
}

/**
 * SQL that is true for rows whose columns are one of the keys in `parameter`, a JSON array of keys as they travel. An array
 * keeps to the index whatever the planner believes of the table's size.
 */
export function isOneOf (key: KeySpec, columns: string[], alias: string, parameter: string): string {
  const names = columns.map(name => `${alias}.${quoteIdentifier(name)}`)
  const keys = `from json_array_elements_text(${parameter}::text::json) as k`
  return names.length === 1
    ? `${names[0] as string} = any (array(select ${keyParts(key, 'k').join('')} ${keys}))`
    : `(${names.join(', ')}) in (select ${keyParts(key, 'k').join(', ')} ${keys})`
}
