import {
  PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler,
  type DatabaseConnection, type DatabaseIntrospector, type Dialect, type DialectAdapter, type Driver, type Kysely, type QueryCompiler, type TransactionSettings
} from 'kysely'
import type { Sql } from 'postgres'
import { ACQUIRE_TIMEOUT_MS, ANSWER_TIMEOUT_MS } from '../limits.js'
import { PostgresJSConnection, type DialectOptions } from './postgres-js-connection.js'

/**
 * Kysely over postgres.js, for connections that break. The usual dialect takes connections by `reserve()`, which after an
 * outage hands some of them to callers that have long been told of their failure, so that requests wait for ever; and
 * it sends ROLLBACK to connections that are gone, which ends the app's process. Here a statement outside a transaction
 * goes to whichever connection is free, and a transaction takes its own (`TakenConnection`).
 */
export class PostgresJSDialect implements Dialect {
  readonly #client: Sql
  readonly #options: DialectOptions

  constructor (client: Sql, { answerTimeoutMs = ANSWER_TIMEOUT_MS, acquireTimeoutMs = ACQUIRE_TIMEOUT_MS, preparedStatements = false }: Partial<DialectOptions> = {}) {
    this.#client = client
    this.#options = { answerTimeoutMs, acquireTimeoutMs, preparedStatements }
  }

  createDriver (): Driver {
    return new PostgresJSDriver(this.#client, this.#options)
  }

  createAdapter (): DialectAdapter {
    return new PostgresAdapter()
  }

  createIntrospector (db: Kysely<any>): DatabaseIntrospector {
    return new PostgresIntrospector(db)
  }

  createQueryCompiler (): QueryCompiler {
    return new PostgresQueryCompiler()
  }
}

class PostgresJSDriver implements Driver {
  readonly #client: Sql
  readonly #options: DialectOptions

  constructor (client: Sql, options: DialectOptions) {
    this.#client = client
    this.#options = options
  }

  async init (): Promise<void> {}

  async acquireConnection (): Promise<DatabaseConnection> {
    return new PostgresJSConnection(this.#client, this.#options)
  }

  async beginTransaction (connection: DatabaseConnection, { isolationLevel, accessMode }: TransactionSettings): Promise<void> {
    await (connection as PostgresJSConnection).begin([isolationLevel === undefined ? '' : `isolation level ${isolationLevel}`, accessMode ?? ''].join(' ').trim())
  }

  async commitTransaction (connection: DatabaseConnection): Promise<void> {
    await (connection as PostgresJSConnection).end('commit')
  }

  async rollbackTransaction (connection: DatabaseConnection): Promise<void> {
    await (connection as PostgresJSConnection).end('rollback')
  }

  async releaseConnection (connection: DatabaseConnection): Promise<void> {
    (connection as PostgresJSConnection).release()
  }

  async destroy (): Promise<void> {
    await this.#client.end()
  }
}
