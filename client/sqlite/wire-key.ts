import { MAX_KEY_BYTES } from '../limits.js'
import { inInt64 } from './decimal.js'
import { splitKey } from './key-text.js'
import type { KeyColumn, TableInfo } from './table-info.js'
import { isWireUuid, looksLikeUuid } from './uuid.js'

/** Why a key cannot travel; null where it can. Keys are compared byte by byte on both sides and never altered. */
export function keyProblem (table: TableInfo, key: string): string | null {
  const parts = splitKey(table, key)
  if (parts === null) return `is not a JSON array of ${table.key.length} strings`
  for (const [i, column] of table.key.entries()) {
    const problem = partProblem(column, parts[i] as string)
    if (problem !== null) return parts.length === 1 ? problem : `has a part, ${column.name}, that ${problem}`
  }
  // A UTF-16 unit is three bytes at most.
  return key.length > MAX_KEY_BYTES / 3 && new TextEncoder().encode(key).length > MAX_KEY_BYTES ? `is longer than ${MAX_KEY_BYTES} bytes` : null
}

function partProblem ({ type }: KeyColumn, part: string): string | null {
  switch (type) {
    case 'integer':
      return /^(?:0|-?[1-9][0-9]*)$/.test(part) && inInt64(part) ? null : 'is not an integer of 64 bits'
    case 'blob':
      return isWireUuid(part) ? null : 'is not a uuid of 16 bytes'
    case 'text':
      if (isWireUuid(part)) return null
      if (part.includes('\0')) return 'contains NUL'
      if (!part.isWellFormed() || part.includes('\ufffd')) return 'is not valid UTF-8'
      return looksLikeUuid(part) ? 'is a uuid but not spelled lower-case with dashes' : null
  }
}
