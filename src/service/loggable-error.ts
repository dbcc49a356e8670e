import { types } from 'node:util'
import { asDatabaseError } from '../storage/database-error.js'

/**
 * Classes of SQLSTATE whose messages name tables, columns and states, never values: connections, constraints, states of
 * transactions, sign-in, rollbacks, names and rights, resources, locks, interventions, the system, internal errors.
 */
const NAMES_ONLY = /^(?:08|0A|23|25|26|28|2D|34|3B|3D|3F|40|42|53|54|55|57|58|XX)/

/** PostgreSQL's own words about where it was. Any other place is code of the app, whose messages may say anything. */
const OWN_PLACE = /^while [a-z ]+ tuple \(\d+,\d+\) in relation "[^"]*"$/

/**
 * An error as a log above debug may show it: type, message, place in the code, what it was about, and no values of rows.
 * PostgreSQL puts those into `detail` ("Key (email)=(…) already exists"), `where`, into messages about values ("invalid
 * input syntax for type integer: …"); drivers add parameters; JSON.parse quotes what it could not read.
 */
export function loggable (error: unknown, depth = 0): unknown {
  if (!isError(error)) return new Error('Something that is no Error was thrown.')
  const message = loggableMessage(error, depth)
  const shown = new Error(message)
  shown.name = error.name
  shown.stack = [`${error.name}: ${message}`, ...frames(error)].join('\n')
  const { code, routine } = error as { code?: unknown, routine?: unknown }
  const { sqlstate, schema, table, column, constraint } = asDatabaseError(error) ?? {}
  const facts = { code: sqlstate === undefined ? code : undefined, sqlstate, schema, table, column, constraint, routine: sqlstate === undefined ? undefined : routine }
  for (const [name, fact] of Object.entries(facts)) {
    if (typeof fact === 'string') Object.assign(shown, { [name]: fact })
  }
  if (isError(error.cause) && depth < MAX_CAUSES) shown.cause = loggable(error.cause, depth + 1)
  return shown
}

const MAX_CAUSES = 5

/** Also one of another realm: test runners give the app globals of its own, and Node keeps to the first ones. */
function isError (error: unknown): error is Error {
  return error instanceof Error || types.isNativeError(error)
}

function loggableMessage (error: Error, depth: number): string {
  const database = asDatabaseError(error)
  if (database !== null) {
    const { where } = error as { where?: unknown }
    const own = typeof where !== 'string' || OWN_PLACE.test(where)
    return own && NAMES_ONLY.test(database.sqlstate) ? error.message : `PostgreSQL error ${database.sqlstate}; its message may hold values of rows and is logged at debug.`
  }
  if (error.name === 'SyntaxError') return 'Text that is not valid; it is logged at debug.'
  // Node tries every address of a host and tells of each; the whole says nothing.
  const { errors } = error as { errors?: unknown }
  if (error.message === '' && Array.isArray(errors) && depth < MAX_CAUSES) {
    return errors.map(one => (loggable(one, MAX_CAUSES) as Error).message).join('; ')
  }
  return error.message
}

/** The stack without its first lines, which repeat the message. */
function frames ({ name, message, stack = '' }: Error): string[] {
  const start = stack.indexOf(message)
  if (start < 0) return []
  return stack.slice(start + message.length).split('\n').filter(line => /^ +at /.test(line))
}
