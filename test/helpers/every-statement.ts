import type { CompiledQuery, Driver } from 'kysely'
import { executeInTurn, isPipelining } from '../../src/storage/pipeline.js'

export interface Watch {
  /** Sees each statement on its way to the database. What it throws is the statement's error. */
  before: (query: CompiledQuery) => Promise<void> | void
  /** Whether statements that go together are to be seen each in its turn: they go one by one then, COMMIT too. */
  isClose: () => boolean
}

/** Puts somebody between a driver and its connections. */
export function watchStatements (driver: Driver, { before, isClose }: Watch): void {
  const acquire = driver.acquireConnection.bind(driver)
  driver.acquireConnection = async () => {
    const connection = await acquire()
    const execute = connection.executeQuery.bind(connection)
    connection.executeQuery = async query => {
      await before(query)
      return await execute(query)
    }
    if (!isPipelining(connection)) return connection
    const executeTogether = connection.executeTogether.bind(connection)
    connection.executeTogether = async (queries, options) => {
      if (isClose()) return await executeInTurn(connection, queries, options)
      for (const query of queries) await before(query)
      return await executeTogether(queries, options)
    }
    return connection
  }
}
