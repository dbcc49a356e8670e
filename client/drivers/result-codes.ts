import type { DriverErrorCode } from './driver.js'

/** SQLite's primary result codes (the low byte of a result code), https://sqlite.org/rescode.html. Others are 'other'. */
const PRIMARY: Readonly<Record<number, DriverErrorCode>> = {
  5: 'busy', // SQLITE_BUSY
  6: 'busy', // SQLITE_LOCKED
  8: 'readonly', // SQLITE_READONLY
  10: 'io', // SQLITE_IOERR
  11: 'corrupt', // SQLITE_CORRUPT
  13: 'full', // SQLITE_FULL
  14: 'io', // SQLITE_CANTOPEN
  19: 'constraint', // SQLITE_CONSTRAINT
  26: 'corrupt' // SQLITE_NOTADB
}

/** SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_ROWID */
const UNIQUE = new Set([1555, 2067, 2579])

/** Maps an extended result code, for drivers that have numbers. */
export function errorCodeOfNumber (code: number): DriverErrorCode {
  return UNIQUE.has(code) ? 'unique' : PRIMARY[code & 0xff] ?? 'other'
}

/** Maps the name of a result code (`SQLITE_CONSTRAINT_UNIQUE`), for drivers that have names. */
export function errorCodeOfName (name: string): DriverErrorCode {
  if (/^SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY|ROWID)/.test(name)) return 'unique'
  if (name.startsWith('SQLITE_CONSTRAINT')) return 'constraint'
  if (name.startsWith('SQLITE_BUSY') || name.startsWith('SQLITE_LOCKED')) return 'busy'
  if (name.startsWith('SQLITE_FULL')) return 'full'
  if (name.startsWith('SQLITE_IOERR') || name.startsWith('SQLITE_CANTOPEN')) return 'io'
  if (name.startsWith('SQLITE_READONLY')) return 'readonly'
  if (name.startsWith('SQLITE_CORRUPT') || name.startsWith('SQLITE_NOTADB')) return 'corrupt'
  return 'other'
}
