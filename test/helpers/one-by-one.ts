import type { DatabaseConnection, Driver } from 'kysely'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'

/** A dialect as an app may bring it: it sends one statement at a time, and COMMIT is Kysely's. */
export class OneByOne extends PostgresJSDialect {
  /** All that was sent. */
  readonly seen: string[] = []

  override createDriver (): Driver {
    const driver = super.createDriver()
    const whole = new WeakMap<DatabaseConnection, DatabaseConnection>()
    const of = (connection: DatabaseConnection): DatabaseConnection => whole.get(connection) as DatabaseConnection
    return {
      init: async () => { await driver.init() },
      acquireConnection: async () => {
        const connection = await driver.acquireConnection()
        const plain: DatabaseConnection = {
          executeQuery: async query => {
            this.seen.push(query.sql)
            return await connection.executeQuery(query)
          },
          streamQuery: (query, size) => connection.streamQuery(query, size)
        }
        whole.set(plain, connection)
        return plain
      },
      beginTransaction: async (connection, settings) => { await driver.beginTransaction(of(connection), settings) },
      commitTransaction: async connection => {
        this.seen.push('commit')
        await driver.commitTransaction(of(connection))
      },
      rollbackTransaction: async connection => { await driver.rollbackTransaction(of(connection)) },
      releaseConnection: async connection => { await driver.releaseConnection(of(connection)) },
      destroy: async () => { await driver.destroy() }
    }
  }
}
