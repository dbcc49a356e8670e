import { CompiledQuery, type QueryResult } from 'kysely'
import type { Row, Sql } from 'postgres'
import { asDatabaseError, ForgottenStatement, isConnectionLost } from './database-error.js'
import type { PipelineOptions, PipeliningConnection } from './pipeline.js'
import { isAtWork, onForgotten, ONE_AT_A_TIME, sendAtOnce, sendOnce } from './postgres-js-internals.js'
import { traitsOf } from './statement-traits.js'
import { TakenConnection } from './taken-connection.js'

/** How the database is spoken to. */
export interface DialectOptions {
  /** Longest wait for the answer to a statement. */
  answerTimeoutMs: number
  /** Longest wait for a connection that is free. */
  acquireTimeoutMs: number
  /** Whether statements may get names, which live as long as their session. Becomes false for good where a session has forgotten one. */
  preparedStatements: boolean
}

/** A connection for as long as somebody needs it: any that is free for each statement, or the one of a transaction. */
export class PostgresJSConnection implements PipeliningConnection {
  readonly #client: Sql
  readonly #options: DialectOptions
  #transaction: TakenConnection | null = null
  /** Told when the transaction's connection is lost: a statement that postgres.js keeps back behind others hears nothing of that. */
  readonly #waiting = new Set<(error: unknown) => void>()
  /** What ended the transaction's connection. postgres.js must not be asked for anything more on it. */
  #lost: unknown = null
  /** The transaction ends: what comes behind its last statement would be on a connection that is somebody else's by then. */
  #isEnding = false
  /** COMMIT went out with the last statements: there is nothing left to end. */
  #hasEnded = false
  #isReleased = false

  constructor (client: Sql, options: DialectOptions) {
    this.#client = client
    this.#options = options
  }

  async begin (options: string): Promise<void> {
    const connection = new TakenConnection(this.#client, error => {
      // Of a transaction that is over nobody wants to know.
      if (this.#transaction !== connection) return
      this.#lost ??= error
      for (const tell of this.#waiting) tell(error)
    })
    this.#hasEnded = false
    this.#isEnding = false
    this.#transaction = connection
    await this.#inTime(connection.begin(options), () => false)
  }

  async end (statement: 'commit' | 'rollback'): Promise<void> {
    if (this.#hasEnded) return
    this.#isEnding = true
    await this.#answer(this.#send(CompiledQuery.raw(statement)))
    this.#isEnding = false
    this.#transaction = null
  }

  /** Whoever has kept it has no connection any more. */
  release (): void {
    this.#isReleased = true
  }

  async executeQuery<R> (query: CompiledQuery): Promise<QueryResult<R>> {
    this.#requireOpen()
    return await this.#answer(this.#send(query))
  }

  async executeTogether (queries: readonly CompiledQuery[], { commits }: PipelineOptions): Promise<Array<QueryResult<any>>> {
    this.#requireOpen()
    if (this.#transaction === null) throw new Error('Only statements of a transaction go together.')
    this.#hasEnded = commits
    this.#isEnding = commits
    const statements = commits ? [...queries, COMMIT] : queries
    const sent = statements.map((query, i) => this.#send(query, i < statements.length - 1))
    const results = []
    for (const statement of sent) results.push(await this.#answer(statement))
    return results.slice(0, queries.length)
  }

  #requireOpen (): void {
    if (this.#isEnding || this.#isReleased) throw new Error('The transaction is over.')
  }

  /** Sends a statement. Unless another `follows` at once, its answer comes before anything else is sent on the connection. */
  #send (query: CompiledQuery, follows = false): Sent {
    if (this.#lost !== null) throw this.#lost
    const { foreign = false, named = false, bytesOf } = traitsOf(query)
    const statement = this.#client.unsafe(query.sql, [...query.parameters] as never[], { ...(follows ? {} : ONE_AT_A_TIME), prepare: named && this.#options.preparedStatements })
    if (!foreign) sendAtOnce(statement)
    if (this.#transaction === null) onForgotten(statement, () => { this.#options.preparedStatements = false })
    else {
      sendOnce(statement)
      this.#transaction.bind(statement)
    }
    const answer = bytesOf === undefined ? statement : statement.raw()
    // Also makes postgres.js send it. Who waits for it hears of its failure; who does not has heard of an earlier one.
    answer.catch(() => {})
    return { statement, answer, bytesOf, named }
  }

  async #answer<R> ({ statement, answer, bytesOf, named }: Sent): Promise<QueryResult<R>> {
    const rows = await this.#inTime(answer, () => this.#transaction !== null || isAtWork(statement)).catch((error: unknown) => {
      // What the app's own code prepares and forgets is its own affair.
      if (!named || asDatabaseError(error)?.sqlstate !== '26000') throw error
      this.#options.preparedStatements = false
      throw new ForgottenStatement(error)
    })
    if (bytesOf !== undefined) return { rows: readRaw(rows as unknown as RawRows, bytesOf) as R[] }
    return { rows: [...rows] as R[], numAffectedRows: BigInt(rows.count ?? 0) }
  }

  /** Waits for a connection and, where `hasConnection` says that it has come, for the answer. */
  async #inTime<T> (answer: PromiseLike<T>, hasConnection: () => boolean): Promise<T> {
    const { acquireTimeoutMs, answerTimeoutMs } = this.#options
    let timer: NodeJS.Timeout | undefined
    let tell: (error: unknown) => void = () => {}
    const failure = new Promise<never>((_resolve, reject) => {
      this.#waiting.add(tell = reject)
      const giveUp = (what: string) => { reject(new TooLate(what)) }
      const giveUpAnswer = () => { giveUp('The database did not answer in time.') }
      const firstMs = Math.min(acquireTimeoutMs, answerTimeoutMs)
      timer = setTimeout(() => {
        if (!hasConnection()) giveUp('No connection to the database was free in time.')
        else timer = setTimeout(giveUpAnswer, answerTimeoutMs - firstMs)
      }, firstMs)
    })
    try {
      return await Promise.race([answer, failure])
    } catch (error) {
      if (isConnectionLost(error)) this.#lose(error)
      throw error
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(tell)
    }
  }

  /** The connection may be whole and only its answer late: its transaction must not stay open then. One that is gone may be somebody else's by now. */
  #lose (error: unknown): void {
    if (this.#lost !== null) return
    this.#lost = error
    if (error instanceof TooLate) this.#transaction?.giveUp()
  }

  async * streamQuery<R> (): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('The plugin reads no streams.')
  }
}

type RawRows = Array<Array<Buffer | null>> & { columns: Array<{ name: string }> }

/** Rows whose columns are texts but for one, which stays as it came. */
function readRaw (rows: RawRows, bytesOf: string): Array<Record<string, string | Buffer | null>> {
  return [...rows].map(values => Object.fromEntries(rows.columns.map(({ name }, i) => {
    const value = values[i] ?? null
    return [name, name === bytesOf ? value : value?.toString() ?? null]
  })))
}

/** A statement on its way. */
interface Sent {
  statement: object
  answer: PromiseLike<Row[] & { count: number | null }>
  bytesOf: string | undefined
  named: boolean
}

const COMMIT = CompiledQuery.raw('commit')

/** Patience is over. Nothing is known of the connection. */
class TooLate extends Error {
  readonly code = 'ETIMEDOUT'
}
