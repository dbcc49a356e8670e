import type { RowWrite } from '../materializer/materializer.js'
import { asDatabaseError, type DatabaseError } from '../storage/database-error.js'
import type { Refusal } from './prepare.js'

/** The database refuses a row's content: a value its type, a constraint, a trigger or a policy. Anything else is about the server. */
export function isRowProblem ({ sqlstate }: DatabaseError): boolean {
  return sqlstate.startsWith('22') || sqlstate.startsWith('23') || sqlstate === 'P0001' || sqlstate === '44000' || sqlstate === '42501'
}

/** A unique or exclusion constraint: another order of the same statements may satisfy it. */
export function mayBeOrder (error: unknown): boolean {
  const sqlstate = asDatabaseError(error)?.sqlstate
  return sqlstate === '23505' || sqlstate === '23P01'
}

/** A value that its type refuses: PostgreSQL does not say which column it was read for. */
export function isUnreadable (error: unknown): boolean {
  return asDatabaseError(error)?.sqlstate.startsWith('22') === true
}

/** The key belongs to a row that this scope does not have. Whose it is stays unsaid. */
export function taken (_row: RowWrite): Refusal {
  return { reason: 'not_owner', message: 'The key is not available.' }
}

/** What the database said about a row, in words of our own: its messages may show other rows or the app's internals. */
export function refusalFor (error: unknown, { table, verb, payload }: RowWrite, unreadableColumn: string | null): Refusal {
  const { sqlstate, constraint, column: namedColumn } = asDatabaseError(error) as DatabaseError
  const column = namedColumn ?? unreadableColumn
  if (sqlstate === '23503' && verb !== 'delete') {
    const foreignKey = table.foreignKeys.find(key => key.constraint === constraint)
    if (foreignKey !== undefined) {
      const values = payload === null ? {} : JSON.parse(payload) as Record<string, unknown>
      const missing = `${foreignKey.parent}:${foreignKey.columns.map(name => String(values[name])).join(',')}`
      return { reason: 'fk_missing', message: `The row refers to ${missing}, which is not there.`, details: { missing: [missing] } }
    }
  }
  if (sqlstate.startsWith('22')) {
    return { reason: 'bad_payload', message: column === null ? `A value does not fit its column in ${table.name}.` : `The value of ${column} does not fit its column in ${table.name}.`, details: { column, sqlstate } }
  }
  return {
    reason: 'constraint_violation',
    message: sqlstate === '23502' && column !== null
      ? `The column ${column} must not be null.`
      : constraint === null ? `The database refuses the row (${sqlstate}).` : `The row breaks the constraint ${constraint}.`,
    details: { constraint, column, sqlstate }
  }
}
