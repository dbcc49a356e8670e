import {
  PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler,
  type CompiledQuery, type DatabaseConnection, type DatabaseIntrospector, type Dialect, type DialectAdapter, type Driver, type Kysely, type QueryCompiler, type QueryResult, type TransactionSettings
} from 'kysely'
import type { Sql, TransactionSql } from 'postgres'
import { ACQUIRE_TIMEOUT_MS, ANSWER_TIMEOUT_MS } from '../limits.js'
import { isConnectionLost } from './database-error.js'
import { traitsOf, type StatementTraits } from './statement-traits.js'

/**
 * Kysely over postgres.js, for connections that break. The usual dialect takes connections by `reserve()`, which after an
 * outage hands some of them to callers that have long been told of their failure, so that requests wait for ever; and
 * it sends ROLLBACK to connections that are gone, which ends the app's process. Here a statement outside a transaction
 * goes to whichever connection is free, and a transaction takes its own by `begin()`.
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

/** How the database is spoken to. */
export interface DialectOptions {
  /** Longest wait for the answer to a statement. */
  answerTimeoutMs: number
  /** Longest wait for a connection that is free. */
  acquireTimeoutMs: number
  /** Whether statements may get names, which live as long as their session. */
  preparedStatements: boolean
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

class PostgresJSConnection implements DatabaseConnection {
  readonly #client: Sql
  readonly #options: DialectOptions
  #transaction: TransactionSql | null = null
  /** Makes postgres.js roll back and take the transaction's connection back. */
  #abandon: (reason: unknown) => void = () => {}
  /** What ended the transaction's connection. postgres.js must not be asked for anything more on it. */
  #lost: unknown = null
  /** The transaction ends: what comes behind its last statement would be on a connection that is somebody else's by then. */
  #isEnding = false
  #isReleased = false

  constructor (client: Sql, options: DialectOptions) {
    this.#client = client
    this.#options = options
  }

  async begin (options: string): Promise<void> {
    const begun = new Promise<TransactionSql>((resolve, reject) => {
      this.#client.begin(options, async transaction => {
        // Nobody waits for it any more: an exception makes postgres.js roll back and take the connection back.
        if (this.#lost !== null) throw this.#lost
        resolve(transaction)
        // COMMIT and ROLLBACK come as statements, and with either of them postgres.js has its connection back.
        await new Promise((_resolve, reject) => { this.#abandon = reject })
      }).catch((error: unknown) => {
        this.#lost = error
        reject(error)
      })
    })
    // A connection answers BEGIN at once: whoever waits longer waits for a connection.
    this.#transaction = await this.#inTime(begun, () => false)
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

  async executeQuery<R> (query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#isEnding || this.#isReleased) throw new Error('The transaction is over.')
    return await this.#execute(query.sql, query.parameters, traitsOf(query))
  }

  async #execute<R> (sql: string, parameters: readonly unknown[], { foreign = false, named = false, bytesOf }: StatementTraits = {}): Promise<QueryResult<R>> {
    if (this.#lost !== null) throw this.#lost
    const query = (this.#transaction ?? this.#client).unsafe(sql, [...parameters] as never[], { ...ONE_AT_A_TIME, prepare: named && this.#options.preparedStatements })
    if (!foreign) sendAtOnce(query)
    if (bytesOf !== undefined) return { rows: readRaw(await this.#inTime(query.raw(), () => this.#transaction !== null || isAtWork(query)) as unknown as RawRows, bytesOf) as R[] }
    const rows = await this.#inTime(query, () => this.#transaction !== null || isAtWork(query))
    return { rows: [...rows] as R[], numAffectedRows: BigInt(rows.count ?? 0) }
  }

  /** Waits for a connection and, where `hasConnection` says that it has come, for the answer. */
  async #inTime<T> (answer: PromiseLike<T>, hasConnection: () => boolean): Promise<T> {
    const { acquireTimeoutMs, answerTimeoutMs } = this.#options
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_resolve, reject) => {
      const giveUp = (what: string) => { reject(new TooLate(what)) }
      const giveUpAnswer = () => { giveUp('The database did not answer in time.') }
      const firstMs = Math.min(acquireTimeoutMs, answerTimeoutMs)
      timer = setTimeout(() => {
        if (!hasConnection()) giveUp('No connection to the database was free in time.')
        else timer = setTimeout(giveUpAnswer, answerTimeoutMs - firstMs)
      }, firstMs)
    })
    try {
      return await Promise.race([answer, timeout])
    } catch (error) {
      if (isConnectionLost(error)) this.#lose(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** The connection may be whole and only its answer late: its transaction must not stay open then. */
  #lose (error: unknown): void {
    this.#lost = error
    if (error instanceof TooLate) this.#abandon(error)
  }

  async * streamQuery<R> (): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('The plugin reads no streams.')
  }
}

/**
 * Makes postgres.js send a statement with all that belongs to it. By itself it sends one without a name only to ask for the
 * types of its parameters, and the parameters once it has heard: a second round trip for each, in a transaction under the
 * stream's lock. It has no option against that; where a later version decides otherwise than by this field, statements take
 * two trips again, and test/server/round-trips.test.ts fails.
 */
function sendAtOnce (query: object): void {
  Object.defineProperty(query, 'describeFirst', { get: () => false, set () {} })
}

type RawRows = Array<Array<Buffer | null>> & { columns: Array<{ name: string }> }

/** Rows whose columns are texts but for one, which stays as it came. */
function readRaw (rows: RawRows, bytesOf: string): Array<Record<string, string | Buffer | null>> {
  return [...rows].map(values => Object.fromEntries(rows.columns.map(({ name }, i) => {
    const value = values[i] ?? null
    return [name, name === bytesOf ? value : value?.toString() ?? null]
  })))
}

/** Called when a statement has been sent: false keeps postgres.js from sending another before its answer, where it could get stuck behind it. */
const ONE_AT_A_TIME = { onexecute: () => false }

/** Patience is over. Nothing is known of the connection. */
class TooLate extends Error {
  readonly code = 'ETIMEDOUT'
}

/** postgres.js marks the statement that the server is at; one in line for a connection, or behind another statement on it, is not. */
function isAtWork (query: object): boolean {
  return (query as { active?: boolean }).active !== false
}
