/** What PostgreSQL said, whichever driver reported it. */
export interface DatabaseError {
  /** SQLSTATE of five characters. */
  sqlstate: string
  constraint: string | null
  column: string | null
  table: string | null
  schema: string | null
}

/** The error as PostgreSQL's own, or null where it is none (a cut connection, a mistake in the code). */
export function asDatabaseError (error: unknown): DatabaseError | null {
  const fields = error as Record<string, unknown> | null
  const code = fields?.['code']
  // Node's own codes (EPIPE) can look like a SQLSTATE; only a server's error carries a severity.
  if (fields === null || typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || typeof fields['severity'] !== 'string') return null
  const text = (...names: string[]): string | null => {
    const name = names.find(name => typeof fields[name] === 'string')
    return name === undefined ? null : fields[name] as string
  }
  return {
    sqlstate: code,
    constraint: text('constraint_name', 'constraint'),
    column: text('column_name', 'column'),
    table: text('table_name', 'table'),
    schema: text('schema_name', 'schema')
  }
}

/** The session does not know the name of a statement of ours: somebody made it forget, or it is another than before. */
export class ForgottenStatement extends Error {
  readonly code = '26000'

  constructor (cause: unknown) {
    super('The session of the database does not know a prepared statement: a pooler hands sessions around, or something has discarded it.', { cause })
  }
}

/** The same transaction may succeed when it is run again at once: why it was chosen as a victim, or null where it was not. */
export function victimReason (error: unknown): 'deadlock' | 'lock_timeout' | 'serialization' | 'forgotten_statement' | null {
  if (error instanceof ForgottenStatement) return 'forgotten_statement'
  switch (asDatabaseError(error)?.sqlstate) {
    case '40001': return 'serialization'
    case '40P01': return 'deadlock'
    case '55P03': return 'lock_timeout'
    default: return null
  }
}

/** Trouble that goes away by itself: answered 503, with nothing half done. */
export function isPassing (error: unknown): boolean {
  const database = asDatabaseError(error)
  if (database !== null) {
    const { sqlstate } = database
    return victimReason(error) !== null || sqlstate.startsWith('08') || sqlstate.startsWith('53') || sqlstate.startsWith('57') ||
      sqlstate.startsWith('58') || sqlstate === '25006' || sqlstate === '25P03' || sqlstate === '25P04' || sqlstate === '40003'
  }
  return victimReason(error) !== null || isConnectionLost(error)
}

/** There was no connection, or there is none any more. */
export function isConnectionLost (error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && CONNECTION_CODES.has(code)
}

/** Codes of the drivers and of Node for a connection that could not be made or was cut. */
const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT', 'CONNECTION_CONNECT_TIMEOUT',
  'ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT'
])
