import { CompiledQuery, type DatabaseConnection, type QueryResult, type Transaction } from 'kysely'
import type { Database } from './database.js'

/** A connection that sends several statements before it waits for the answer to the first. */
export interface PipeliningConnection extends DatabaseConnection {
  /**
   * Answers come in the order of the statements; throws what the first says that failed, behind which PostgreSQL takes no
   * other of the transaction. With `commits` COMMIT goes out behind them and the transaction is over, whatever became of them:
   * PostgreSQL makes a ROLLBACK of it where one has failed.
   */
  executeTogether: (queries: readonly CompiledQuery[], options: PipelineOptions) => Promise<Array<QueryResult<any>>>
}

export interface PipelineOptions {
  commits: boolean
  /** Where statements go one after the other: whether the next is still wanted, by the answers so far. */
  goesOn?: (answers: Array<QueryResult<any>>) => boolean
}

/** Has constraints that wait for COMMIT speak now. */
export const CONSTRAINTS_SPEAK = CompiledQuery.raw('set constraints all immediate')

type Results<Queries extends readonly CompiledQuery[]> = { -readonly [K in keyof Queries]: Queries[K] extends CompiledQuery<infer Row> ? QueryResult<Row> : never }

/**
 * Runs statements of a transaction of which none depends on what another answers, in one round trip where the dialect can do
 * that and one after the other where it cannot. Each still takes its snapshot when its turn comes. `commits` says that they are
 * the transaction's last: the caller has nothing to do or to refuse after them.
 */
export async function sendTogether<const Queries extends readonly CompiledQuery<any>[]> (trx: Transaction<Database>, queries: Queries, options: PipelineOptions = { commits: false }): Promise<Results<Queries>> {
  return await trx.getExecutor().provideConnection(async connection => {
    return await (isPipelining(connection) ? connection.executeTogether(queries, options) : executeInTurn(connection, queries, options))
  }) as Results<Queries>
}

/** Runs statements one after the other. COMMIT is Kysely's then, and a constraint that waits for it would not speak to the caller. */
export async function executeInTurn (connection: DatabaseConnection, queries: readonly CompiledQuery[], { commits, goesOn = () => true }: PipelineOptions): Promise<Array<QueryResult<any>>> {
  const results: Array<QueryResult<any>> = []
  for (const query of queries) {
    if (!goesOn(results)) return results
    results.push(await connection.executeQuery<any>(query))
  }
  if (commits) await connection.executeQuery(CONSTRAINTS_SPEAK)
  return results
}

export function isPipelining (connection: DatabaseConnection): connection is PipeliningConnection {
  return 'executeTogether' in connection
}
