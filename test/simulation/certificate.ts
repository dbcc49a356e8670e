/*
 * Rows that certify themselves. A row has groups of columns, and all columns of a group follow from the table, the key and
 * the group's list of tokens; each edit appends a token of its own. So any copy of a row, wherever it lies, can be checked by
 * itself: a torn, mixed or rounded one does not fit. Merging goes column by column, and both columns of a group change with
 * every token: whatever rule decides, a group comes out whole.
 */
import { createHash } from 'node:crypto'

/** Columns of a row as text: integers and decimals in digits, blobs in hex; null for NULL. */
export type Values = Readonly<Record<string, string | null>>

/** Groups and the columns that each consists of. The first holds the list; what the others hold follows from it. */
export const GROUPS = {
  a: ['a', 'a_num', 'a_blob'],
  b: ['b', 'b_dec'],
  c: ['c', 'c_num']
} as const

export type GroupName = keyof typeof GROUPS

/** Where a row lives; `owner` is the user of this run of the story. */
export interface RowName { owner: string, table: string, key: string }

/** All columns of a group that has these tokens. */
export function groupValues (row: RowName, group: GroupName, tokens: readonly string[]): Record<string, string> {
  const text = `${row.owner}/${row.table}/${row.key}/${group}:${tokens.join(' ')}`
  return Object.fromEntries(GROUPS[group].map(column => [column, column === group ? text : derived(column, text)]))
}

/** The tokens of a group; null where the row has none. */
export function tokensOf (values: Values, group: GroupName): string[] | null {
  const text = values[group]
  return text == null ? null : text.slice(text.indexOf(':') + 1).split(' ')
}

/** What is wrong with a row, or null where it fits. Columns that the copy does not have do not count. */
export function flaw (row: RowName, values: Values): string | null {
  for (const group of Object.keys(GROUPS) as GroupName[]) {
    if (!(group in values)) continue
    const tokens = tokensOf(values, group)
    if (tokens !== null && new Set(tokens).size !== tokens.length) return `${group} has a token twice: ${tokens.join(' ')}`
    const expected = tokens === null ? null : groupValues(row, group, tokens)
    for (const column of GROUPS[group]) {
      if ((values[column] ?? null) !== (expected?.[column] ?? null)) return `${column} is ${values[column]} where ${values[group]} asks for ${expected?.[column] ?? null}`
    }
  }
  return tokensOf(values, 'a') === null && 'a' in values ? 'it has no a' : null
}

const known = new Map<string, string>()

/** Numbers of up to 63 bits and decimals of 30 digits, so that a float on the way shows. */
function derived (column: string, text: string): string {
  const name = `${column} ${text}`
  const before = known.get(name)
  if (before !== undefined) return before
  const digest = createHash('md5').update(name).digest()
  const value = column.endsWith('_num')
    ? digest.readBigInt64LE(0).toString()
    : column.endsWith('_dec')
      ? `9${digest.readBigUInt64LE(0)}.${digest.readUInt32LE(8)}7`
      : digest.toString('hex', 0, 1 + (digest[15] as number & 7))
  if (known.size > 50_000) known.clear()
  known.set(name, value)
  return value
}
