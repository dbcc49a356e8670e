import type { CompiledQuery, Driver } from 'kysely'

/** Makes `before` see each statement on its way to the database. What it throws is the statement's error. */
export function beforeEveryStatement (driver: Driver, before: (query: CompiledQuery) => Promise<void> | void): void {
  const acquire = driver.acquireConnection.bind(driver)
  driver.acquireConnection = async () => {
    const connection = await acquire()
    const execute = connection.executeQuery.bind(connection)
    connection.executeQuery = async query => {
      await before(query)
      return await execute(query)
    }
    return connection
  }
}
