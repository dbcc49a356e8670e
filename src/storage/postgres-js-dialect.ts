import {
  PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler,
  type CompiledQuery, type DatabaseConnection, type DatabaseIntrospector, type Dialect, type DialectAdapter, type Driver, type Kysely, type QueryCompiler, type QueryResult, type TransactionSettings
} from 'kysely'
import type { Sql, TransactionSql } from 'postgres'
import { ACQUIRE_TIMEOUT_MS, ANSWER_TIMEOUT_MS } from '../limits.js'
import { isConnectionLost } from './database-error.js'

/**
 * Kysely over postgres.js, for connections that break. The usual dialect takes connections by `reserve()`, which after an
 * outage hands some of them to callers that have long been told of their failure, so that requests wait for ever; and
 * it sends ROLLBACK to connections that are gone, which ends the app's process. Here a statement outside a transaction
 * goes to whichever connection is free, and a transaction takes its own by `begin()`.
 */
export class PostgresJSDialect implements Dialect {
  readonly #client: Sql
  readonly #patience: Patience

  constructor (client: Sql, { answerTimeoutMs = ANSWER_TIMEOUT_MS, acquireTimeoutMs = ACQUIRE_TIMEOUT_MS }: Partial<Patience> = {}) {
    this.#client = client
    this.#patience = { answerTimeoutMs, acquireTimeoutMs }
  }

  createDriver (): Driver {
    return new PostgresJSDriver(this.#client, this.#patience)
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

/** How long is waited for the database. */
export interface Patience {
  /** For the answer to a statement. */
  answerTimeoutMs: number
  /** For a connection that is free. */
  acquireTimeoutMs: number
}

class PostgresJSDriver implements Driver {
  readonly #client: Sql
  readonly #patience: Patience

  constructor (client: Sql, patience: Patience) {
    this.#client = client
    this.#patience = patience
  }

  async init (): Promise<void> {}

  async acquireConnection (): Promise<DatabaseConnection> {
    return new PostgresJSConnection(this.#client, this.#patience)
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
  readonly #patience: Patience
  #transaction: TransactionSql | null = null
  /** Makes postgres.js roll back and take the transaction's connection back. */
  #abandon: (reason: unknown) => void = () => {}
  /** What ended the transaction's connection. postgres.js must not be asked for anything more on it. */
  #lost: unknown = null
  /** The transaction ends: what comes behind its last statement would be on a connection that is somebody else's by then. */
  #isEnding = false
  #isReleased = false

  constructor (client: Sql, patience: Patience) {
    this.#client = client
    this.#patience = patience
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
    return await this.#execute(query.sql, query.parameters, FOREIGN.has(query))
  }

  async #execute<R> (sql: string, parameters: readonly unknown[], isForeign = false): Promise<QueryResult<R>> {
    if (this.#lost !== null) throw this.#lost
    const query = (this.#transaction ?? this.#client).unsafe(sql, [...parameters] as never[], ONE_AT_A_TIME)
    if (!isForeign) sendAtOnce(query)
    const rows = await this.#inTime(query, () => this.#transaction !== null || isAtWork(query))
    return { rows: [...rows] as R[], numAffectedRows: BigInt(rows.count ?? 0) }
  }

  /** Waits for a connection and, where `hasConnection` says that it has come, for the answer. */
  async #inTime<T> (answer: PromiseLike<T>, hasConnection: () => boolean): Promise<T> {
    const { acquireTimeoutMs, answerTimeoutMs } = this.#patience
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

/** Statements whose parameters may be of any kind. */
const FOREIGN = new WeakSet<CompiledQuery>()

/**
 * The statement as one of the app's own. The plugin's parameters are texts, numbers, booleans and nulls that PostgreSQL reads
 * as they are; what the app gives, dates, arrays and objects among it, becomes text by the types that the server describes.
 */
export function foreign (query: CompiledQuery): CompiledQuery {
  const copy = { ...query }
  FOREIGN.add(copy)
  return copy
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

/** Called when a statement has been sent: false keeps postgres.js from sending another before its answer, where it could get stuck behind it. */
const ONE_AT_A_TIME = { onexecute: () => false } as object

/** Patience is over. Nothing is known of the connection. */
class TooLate extends Error {
  readonly code = 'ETIMEDOUT'
}

/** postgres.js marks the statement that the server is at; one in line for a connection, or behind another statement on it, is not. */
function isAtWork (query: object): boolean {
  return (query as { active?: boolean }).active !== false
}
