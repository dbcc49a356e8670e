import { Kysely } from 'kysely'
import postgres, { type Sql } from 'postgres'
import { ConfigurationError } from '../errors.js'
import { CONNECT_TIMEOUT_S, RECONNECT_PAUSE_S } from '../limits.js'
import type { Database } from './database.js'
import { hasOwnSessions } from './own-sessions.js'
import { PostgresJSDialect } from './postgres-js-dialect.js'

export interface Connection {
  db: Kysely<Database>
  /** Whether the statements of every request have names. */
  preparedStatements: boolean
  /** Closes what was opened here; an instance that the app brought stays open. */
  close: () => Promise<void>
}

/** A Kysely over the app's connection string, postgres.js instance or Kysely instance. `'auto'` looks whether sessions are one's own. */
export async function open (database: string | Sql | Kysely<any>, { preparedStatements }: { preparedStatements: boolean | 'auto' }): Promise<Connection> {
  return connect(database, { preparedStatements: preparedStatements === 'auto' ? await mayName(database) : preparedStatements })
}

/** The same, where it is known whether statements get names. */
export function connect (database: string | Sql | Kysely<any>, { preparedStatements = false }: { preparedStatements?: boolean } = {}): Connection {
  if (typeof database === 'string') {
    // prepare: a statement with a name belongs to one session of the server, and a pooler hands sessions around.
    const client = postgres(database, { ...SETTINGS, prepare: preparedStatements })
    return { db: overPostgres(client, preparedStatements), preparedStatements, close: async () => { await client.end({ timeout: 5 }) } }
  }
  if (typeof database === 'function') {
    refuseTransforms(database)
    const names = preparedStatements && database.options.prepare
    return { db: overPostgres(database, names), preparedStatements: names, close: async () => {} }
  }
  // The app's plugins (camel case, for one) are not for the metadata.
  return { db: database.withoutPlugins() as Kysely<Database>, preparedStatements: false, close: async () => {} }
}

const SETTINGS = { connect_timeout: CONNECT_TIMEOUT_S, backoff: () => RECONNECT_PAUSE_S, onnotice: () => {} }

/** Asks by a connection that makes no named statement itself. */
async function mayName (database: string | Sql | Kysely<any>): Promise<boolean> {
  if (typeof database === 'function') return database.options.prepare && await hasOwnSessions(database)
  if (typeof database !== 'string') return false
  const client = postgres(database, { ...SETTINGS, max: 1, prepare: false })
  try {
    return await hasOwnSessions(client)
  } finally {
    await client.end({ timeout: 0 })
  }
}

/** `transform: postgres.camel` and its like rename the columns of the metadata too. */
function refuseTransforms (client: Sql): void {
  const { column, value, row } = client.options.transform
  if (column.from !== undefined || value.from !== undefined || row.from !== undefined) {
    throw new ConfigurationError('Option database is a postgres.js instance with a transform, which would rename the columns of the metadata. Give a connection string, or an instance without it.')
  }
}

function overPostgres (client: Sql, preparedStatements: boolean): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresJSDialect(client, { preparedStatements }) })
}
