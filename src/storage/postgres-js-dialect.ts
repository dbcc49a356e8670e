import {
  PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler,
  type CompiledQuery, type DatabaseConnection, type DatabaseIntrospector, type Dialect, type DialectAdapter, type Driver, type Kysely, type QueryCompiler, type QueryResult, type TransactionSettings
} from 'kysely'
import type { Sql, TransactionSql } from 'postgres'
import { ANSWER_TIMEOUT_MS } from '../limits.js'
import { isConnectionLost } from './database-error.js'

/**
 * Kysely over postgres.js, for connections that break. The usual dialect takes connections by `reserve()`, which after an
 * outage hands some of them to callers that have long been told of their failure, so that requests wait for ever; and
 * it sends ROLLBACK to connections that are gone, which ends the app's process. Here a statement outside a transaction
 * goes to whichever connection is free, and a transaction takes its own by `begin()`.
 */
export class PostgresJSDialect implements Dialect {
  readonly #client: Sql
  readonly #answerTimeoutMs: number

  constructor (client: Sql, answerTimeoutMs = ANSWER_TIMEOUT_MS) {
    this.#client = client
    this.#answerTimeoutMs = answerTimeoutMs
  }

  createDriver (): Driver {
    return new PostgresJSDriver(this.#client, this.#answerTimeoutMs)
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
  readonly #answerTimeoutMs: number

  constructor (client: Sql, answerTimeoutMs: number) {
    this.#client = client
    this.#answerTimeoutMs = answerTimeoutMs
  }

  async init (): Promise<void> {}

  async acquireConnection (): Promise<DatabaseConnection> {
    return new PostgresJSConnection(this.#client, this.#answerTimeoutMs)
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

class PostgresJSConnection implements DatabaseConnection {
  readonly #client: Sql
  readonly #answerTimeoutMs: number
  #transaction: TransactionSql | null = null
  /** What ended the transaction's connection. postgres.js must not be asked for anything more on it. */
  #lost: unknown = null
  /** The transaction ends: what comes behind its last statement would be on a connection that is somebody else's by then. */
  #isEnding = false
  #isReleased = false

  constructor (client: Sql, answerTimeoutMs: number) {
    this.#client = client
    this.#answerTimeoutMs = answerTimeoutMs
  }

  async begin (options: string): Promise<void> {
    this.#transaction = await this.#inTime(new Promise<TransactionSql>((resolve, reject) => {
      this.#client.begin(options, async transaction => {
        // Nobody waits for it any more: an exception makes postgres.js roll back and take the connection back.
        if (this.#lost !== null) throw this.#lost
        resolve(transaction)
        // COMMIT and ROLLBACK come as statements, and with either of them postgres.js has its connection back.
        await new Promise(() => {})
      }).catch((error: unknown) => {
        this.#lost = error
        reject(error)
      })
    }))
  }

  async end (statement: 'commit' | 'rollback'): Promise<void> {
    this.#isEnding = true
    await this.#execute(statement, [])
    this.#isEnding = false
    this.#transaction = null
  }

  /** Whoever has kept it has no connection any more. */
  release (): void {
    this.#isReleased = true
  }

  async executeQuery<R> ({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#isEnding || this.#isReleased) throw new Error('The transaction is over.')
    return await this.#execute(sql, parameters)
  }

  async #execute<R> (sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    if (this.#lost !== null) throw this.#lost
    const rows = await this.#inTime((this.#transaction ?? this.#client).unsafe(sql, [...parameters] as never[]))
    return { rows: [...rows] as R[], numAffectedRows: BigInt(rows.count ?? 0) }
  }

  async #inTime<T> (answer: PromiseLike<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => { reject(Object.assign(new Error('The database did not answer in time.'), { code: 'ETIMEDOUT' })) }, this.#answerTimeoutMs)
    })
    try {
      return await Promise.race([answer, timeout])
    } catch (error) {
      if (isConnectionLost(error)) this.#lost = error
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  async * streamQuery<R> (): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('The plugin reads no streams.')
  }
}
