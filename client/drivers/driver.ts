/**
 * What the client needs of an SQLite library: a synchronous connection and five members.
 *
 * Rules that keep one client correct on all of them:
 * - only `?` placeholders;
 * - parameters are string, number, null or Uint8Array. A number may arrive as REAL (better-sqlite3 and node:sqlite bind 5
 *   as 5.0) or, where it is whole, as INTEGER, but always as the same number: the client uses numbers only where the
 *   column's affinity or a cast settles the type;
 * - integers beyond 2^53 travel as text in both directions (`cast(? as integer)`, `cast(x as text)`); a driver never has to
 *   return one;
 * - a text keeps its first character, also where that is a byte order mark. One with NUL goes in whole; a driver may return
 *   it only as far as the NUL (node:sqlite of Node 22 does). Statements that read such a text for more than a message take it
 *   as hex;
 * - `all` returns plain objects by column name; a blob may be any Uint8Array;
 * - statements may be cached, in a bounded cache;
 * - every error of SQLite is thrown as `DriverError`.
 */
export interface Driver {
  /** Run one or more statements without parameters. */
  exec: (sql: string) => void
  /** Run one statement; `changes` counts the rows that it changed itself (not those of triggers). */
  run: (sql: string, params?: readonly SqlParameter[]) => { changes: number }
  /** Run one statement and return all its rows. */
  all: <Row = Record<string, unknown>>(sql: string, params?: readonly SqlParameter[]) => Row[]
  /** Close the connection, if this driver opened it. */
  close: () => void
  /** Whether the connection is inside a transaction, the app's or ours. */
  readonly inTransaction: boolean
  /**
   * Try to become the one that syncs this file, among all processes: returns the function that lets go, or null where another
   * has it. The operating system lets go for a process that died. undefined: there can be no lock (a folder that cannot be
   * written), and the client goes on without. Absent where no other process can open the file.
   */
  lockRun?: () => (() => void) | null | undefined
}

export type SqlParameter = string | number | null | Uint8Array

/**
 * `unique`: a primary key or UNIQUE constraint. `constraint`: NOT NULL, CHECK, foreign key, a STRICT type, RAISE in a trigger.
 * `busy`: another connection writes, busy_timeout is over. `full`, `io`, `readonly`, `corrupt`: the device's storage.
 */
export type DriverErrorCode = 'unique' | 'constraint' | 'busy' | 'full' | 'io' | 'readonly' | 'corrupt' | 'unsupported' | 'other'

/** An error of SQLite or of its library, with the original as `cause`. */
export class DriverError extends Error {
  override readonly name = 'DriverError'
  readonly code: DriverErrorCode

  constructor (code: DriverErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}
