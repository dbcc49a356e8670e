import {
  CompiledQuery, DummyDriver, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, Transaction,
  type DatabaseConnection, type Dialect, type QueryResult
} from 'kysely'
import { asDatabaseError } from './database-error.js'
import type { Database } from './database.js'
import { withTraits } from './statement-traits.js'

/** Ending the transaction is not the borrower's to do: the rest would run outside it, statement by statement. */
const ENDS_TRANSACTION = /^\s*(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i

/**
 * Lends a transaction to code of the app for as long as `work` takes. What that code kept of it is worth nothing afterwards:
 * a late statement would land in the rest of the upload, or in whatever the connection does next. A statement that failed
 * fails the work, also where the code went on, unless it was undone to a savepoint: PostgreSQL takes nothing more by then.
 */
export async function lend<T> (trx: Transaction<Database>, work: (lent: Transaction<any>) => Promise<T>): Promise<T> {
  const loan: Loan = { isOver: false, failure: null, pending: new Set() }
  const executor = trx.getExecutor()
  const lent = new Transaction<any>({
    config: { dialect: DIALECT },
    dialect: DIALECT,
    driver: new DummyDriver(),
    executor: executor.withoutPlugins().withConnectionProvider({
      provideConnection: async consumer => await executor.provideConnection(async connection => await consumer(new LentConnection(connection, loan)))
    })
  })
  try {
    const result = await work(lent)
    if (loan.pending.size > 0) {
      loan.isOver = true
      await Promise.allSettled(loan.pending)
      throw new Error('The app\'s code ended before its statements: it must await each of them.')
    }
    if (loan.failure !== null) throw loan.failure
    return result
  } finally {
    loan.isOver = true
  }
}

interface Loan {
  isOver: boolean
  /** What the database said last, where nothing has gone well since. */
  failure: unknown
  pending: Set<Promise<unknown>>
}

class LentConnection implements DatabaseConnection {
  readonly #connection: DatabaseConnection
  readonly #loan: Loan

  constructor (connection: DatabaseConnection, loan: Loan) {
    this.#connection = connection
    this.#loan = loan
  }

  async executeQuery<R> (query: CompiledQuery): Promise<QueryResult<R>> {
    this.#check(query)
    const loan = this.#loan
    const answer = this.#connection.executeQuery<R>(withTraits(query, { foreign: true }))
    loan.pending.add(answer)
    try {
      const result = await answer
      loan.failure = null
      return result
    } catch (error) {
      // What follows the first failure only says that there was one.
      if (asDatabaseError(error)?.sqlstate !== '25P02') loan.failure = error
      throw error
    } finally {
      loan.pending.delete(answer)
    }
  }

  async * streamQuery<R> (query: CompiledQuery, chunkSize?: number): AsyncIterableIterator<QueryResult<R>> {
    this.#check(query)
    yield * this.#connection.streamQuery<R>(query, chunkSize)
  }

  #check ({ sql }: CompiledQuery): void {
    if (this.#loan.isOver) throw new Error('This transaction was lent for the time of one call, which is over.')
    if (ENDS_TRANSACTION.test(sql)) throw new Error('The transaction is the upload\'s: it can be neither begun nor ended here. Use savepoints.')
  }
}

/** For the parts of Kysely that ask nothing of the connection; statements go through the executor of the transaction itself. */
const DIALECT: Dialect = {
  createDriver: () => new DummyDriver(),
  createAdapter: () => new PostgresAdapter(),
  createIntrospector: db => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler()
}
