import { MAX_KEY_BYTES } from '../limits.js'
import { inInt64 } from './decimal.js'
import type { TableInfo } from './table-info.js'
import { isWireUuid, looksLikeUuid } from './uuid.js'

/** Why a key cannot travel; null where it can. Keys are compared byte by byte on both sides and never altered. */
export function keyProblem (table: TableInfo, key: string): string | null {
  switch (table.key.type) {
    case 'integer':
      return /^(?:0|-?[1-9][0-9]*)$/.test(key) && inInt64(key) ? null : 'is not an integer of 64 bits'
    case 'blob':
      return isWireUuid(key) ? null : 'is not a uuid of 16 bytes'
    case 'text':
      if (key.includes('\0')) return 'contains NUL'
      if (!key.isWellFormed() || key.includes('\ufffd')) return 'is not valid UTF-8'
      if (looksLikeUuid(key) && !isWireUuid(key)) return 'is a uuid but not spelled lower-case with dashes'
      return new TextEncoder().encode(key).length > MAX_KEY_BYTES ? `is longer than ${MAX_KEY_BYTES} bytes` : null
  }
}
