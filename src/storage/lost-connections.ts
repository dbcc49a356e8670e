import type { CompiledQuery, DatabaseConnection, Driver, QueryResult } from 'kysely'
import { PostgresJSDialect, PostgresJSDriver } from 'kysely-postgres-js'
import { isConnectionLost } from './database-error.js'

/**
 * kysely-postgres-js for connections that break. After the end of a reserved connection postgres.js must not be asked for
 * anything more on it: the ROLLBACK that follows would write to a socket that is gone, in a callback where nobody can
 * catch it, which ends the app's process; and a release would put the broken connection back among the open ones.
 */
export class CarefulPostgresJSDialect extends PostgresJSDialect {
  readonly #config: ConstructorParameters<typeof PostgresJSDialect>[0]

  constructor (config: ConstructorParameters<typeof PostgresJSDialect>[0]) {
    super(config)
    this.#config = config
  }

  override createDriver (): Driver {
    return new CarefulDriver(this.#config)
  }
}

class CarefulDriver extends PostgresJSDriver {
  override async acquireConnection (): Promise<DatabaseConnection> {
    return new CarefulConnection(await super.acquireConnection())
  }

  override async releaseConnection (connection: DatabaseConnection): Promise<void> {
    const { lost, inner } = connection as CarefulConnection
    // postgres.js has a broken connection back already.
    if (lost === null) await super.releaseConnection(inner as Parameters<PostgresJSDriver['releaseConnection']>[0])
  }
}

class CarefulConnection implements DatabaseConnection {
  readonly inner: DatabaseConnection
  /** What ended the connection, or null. */
  lost: unknown = null

  constructor (inner: DatabaseConnection) {
    this.inner = inner
  }

  async executeQuery<R> (query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.lost !== null) throw this.lost
    try {
      return await this.inner.executeQuery<R>(query)
    } catch (error) {
      if (isConnectionLost(error)) this.lost = error
      throw error
    }
  }

  streamQuery<R> (query: CompiledQuery, chunkSize?: number): AsyncIterableIterator<QueryResult<R>> {
    return this.inner.streamQuery<R>(query, chunkSize)
  }
}
