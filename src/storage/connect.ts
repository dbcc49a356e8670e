import { Kysely } from 'kysely'
import postgres, { type Sql } from 'postgres'
import { ConfigurationError } from '../errors.js'
import { CONNECT_TIMEOUT_S, RECONNECT_PAUSE_S } from '../limits.js'
import type { Database } from './database.js'
import { PostgresJSDialect } from './postgres-js-dialect.js'

export interface Connection {
  db: Kysely<Database>
  /** Closes what was opened here; an instance that the app brought stays open. */
  close: () => Promise<void>
}

/** A Kysely over the app's connection string, postgres.js instance or Kysely instance. */
export function connect (database: string | Sql | Kysely<any>, { preparedStatements = false }: { preparedStatements?: boolean } = {}): Connection {
  if (typeof database === 'string') {
    // prepare: a statement with a name belongs to one session of the server, and a pooler hands sessions around.
    const client = postgres(database, { connect_timeout: CONNECT_TIMEOUT_S, backoff: () => RECONNECT_PAUSE_S, prepare: preparedStatements, onnotice: () => {} })
    return { db: overPostgres(client, preparedStatements), close: async () => { await client.end({ timeout: 5 }) } }
  }
  if (typeof database === 'function') {
    refuseTransforms(database)
    return { db: overPostgres(database, preparedStatements), close: async () => {} }
  }
  // The app's plugins (camel case, for one) are not for the metadata.
  return { db: database.withoutPlugins() as Kysely<Database>, close: async () => {} }
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
