import type { Refused, RowWrite } from '../materializer/row-write.js'
import { asDatabaseError, type DatabaseError } from '../storage/database-error.js'
import type { Refusal } from './prepare.js'

/**
 * SQLSTATEs by which the database refuses a row: a value its type (22), a constraint (23, 44), a privilege or a policy
 * (42501), a limit of its own such as the length of an index entry (54), code of the app in triggers and functions
 * (09, 20, 21, 27, 2F, 38, 39, and P0 and all others that such code may choose: the standard leaves I to Z to it).
 */
const ROW_PROBLEM = /^(?:09|2[01237F]|3[89]|44|54|[6-9I-WYZ]|X[^X])|^42501$/

/**
 * The database refuses a row's content. Anything else is about the server. Class 42 (no such column, no such function) is a
 * fault in a trigger of the app, once it is known that the tables have not changed; so is 0A (not supported).
 */
export function isRowProblem ({ sqlstate }: DatabaseError): boolean {
  return ROW_PROBLEM.test(sqlstate) || sqlstate.startsWith('42') || sqlstate === '0A000'
}

/** A unique or exclusion constraint: another order of the same statements may satisfy it. */
export function mayBeOrder (error: unknown): boolean {
  const sqlstate = asDatabaseError(error)?.sqlstate
  return sqlstate === '23505' || sqlstate === '23P01'
}

/** What one row was refused for may be due to its place among the others: a unique value not yet free, a child not yet gone, a parent apart. */
export function mayBePlace (error: unknown): boolean {
  return mayBeOrder(error) || asDatabaseError(error)?.sqlstate === '23503'
}

/** A value that its type refuses: PostgreSQL does not say which column it was read for. */
export function isUnreadable (error: unknown): boolean {
  return asDatabaseError(error)?.sqlstate.startsWith('22') === true
}

/** A refusal that needs no further words of the database. Whose a taken key is stays unsaid. */
export function refusalOf ({ why, message }: Refused): Refusal {
  switch (why) {
    case 'taken': return { reason: 'not_owner', message: 'The key is not available.' }
    case 'kept': return { reason: 'constraint_violation', message: 'The database keeps the row as it was.', details: { constraint: null, column: null, sqlstate: null } }
    case 'rejected': return { reason: 'rejected', message: message ?? 'The app refuses this change.' }
  }
}

/** A deletion that would change a row that is not live in this scope: somebody else's, or the app's own. */
export function reachesFurther (constraint: string): Refusal {
  return { reason: 'constraint_violation', message: `Other rows refer to the row by ${constraint}.`, details: { constraint, column: null, sqlstate: '23503' } }
}

/** What the database said about a row, in words of our own: its messages may show other rows or the app's internals. */
export function refusalFor (error: unknown, { table, verb, payload, references }: RowWrite, unreadableColumn: string | null): Refusal {
  const { sqlstate, constraint, column: namedColumn } = asDatabaseError(error) as DatabaseError
  const column = namedColumn ?? unreadableColumn
  if (sqlstate === '23503' && verb !== 'delete') {
    const foreignKey = table.foreignKeys.find(key => key.constraint === constraint)
    if (foreignKey !== undefined) {
      const values = payload === null ? {} : JSON.parse(payload) as Record<string, unknown>
      const missing = references.find(reference => reference.constraint === constraint)?.name ??
        `${foreignKey.parent}:${foreignKey.columns.map(name => String(values[name])).join(',')}`
      return { reason: 'fk_missing', message: `The row refers to ${missing}, which is not there.`, details: { missing: [missing] } }
    }
  }
  if (sqlstate.startsWith('22')) {
    return { reason: 'bad_payload', message: column === null ? `A value does not fit its column in ${table.name}.` : `The value of ${column} does not fit its column in ${table.name} (${table.columns.get(column)?.type ?? 'unknown'}).`, details: { column, sqlstate } }
  }
  return {
    reason: 'constraint_violation',
    message: sqlstate === '23502' && column !== null
      ? `The column ${column} must not be null.`
      : constraint === null ? `The database refuses the row (${sqlstate}).` : `The row breaks the constraint ${constraint}.`,
    details: { constraint, column, sqlstate }
  }
}
