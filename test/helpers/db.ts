import { randomBytes } from 'node:crypto'
import postgres, { type Sql } from 'postgres'

export interface FreshDb {
  /** Connection string of a database of this test's own. */
  url: string
  /** Connections to it, closed at teardown. */
  sql: Sql
}

/** An empty database on the server of DATABASE_URL, dropped at teardown, also from under connections that a test left open. */
export async function freshDb (t: { teardown (fn: () => Promise<void>): void }): Promise<FreshDb> {
  const serverUrl = process.env['DATABASE_URL']
  if (serverUrl === undefined) throw new Error('DATABASE_URL is not set. Run the tests by npm test or npm run test:unit, which start PostgreSQL.')
  const name = `oversync_test_${process.pid}_${randomBytes(4).toString('hex')}`
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  await withServer(serverUrl, server => server.unsafe(`create database ${name}`))
  const sql = postgres(url.href, { onnotice: () => {} })
  t.teardown(async () => {
    await sql.end({ timeout: 1 })
    await withServer(serverUrl, server => server.unsafe(`drop database ${name} with (force)`))
  })
  return { url: url.href, sql }
}

async function withServer (url: string, run: (server: Sql) => Promise<unknown>): Promise<void> {
  const server = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await run(server)
  } finally {
    await server.end()
  }
}
