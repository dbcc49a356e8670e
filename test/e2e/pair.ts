import Database from 'better-sqlite3'
import Fastify from 'fastify'
import type { Sql } from 'postgres'
import type { Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { createSyncClient, type SyncClient, type SyncClientOptions } from '../../client/index.js'
import oversync, { sourceIdFrom, type TableOptions } from '../../src/index.js'
import { freshDb } from '../helpers/db.js'

export interface PairedDevice { db: Database.Database, sync: SyncClient }

export interface Pair { sql: Sql, a: PairedDevice, b: PairedDevice }

/** Two devices of one user, each with a SQLite file in memory, over a server with tables of the test's own. */
export async function createPair (t: Test, { server, localA, localB = localA, tables, client = {} }: { server: string, localA: string, localB?: string, tables: TableOptions[], client?: Partial<SyncClientOptions> }): Promise<Pair> {
  const { url, sql } = await freshDb(t)
  await sql.unsafe(server)
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(oversync, { database: url, tables, getIdentity: request => ({ userId: 'alice', deviceId: sourceIdFrom(request) }) })
  await app.ready()

  const device = (local: string): PairedDevice => {
    const db = new Database(':memory:')
    db.exec(local)
    const sync = createSyncClient(betterSqlite3(db), {
      url: 'http://server/sync',
      tables: tables.map(({ table }) => table),
      userId: 'alice',
      fetch: async (input, init) => {
        const { pathname, search } = new URL(String(input))
        const reply = await app.inject({ method: init?.method as 'GET' | 'POST', url: pathname + search, headers: Object.fromEntries(new Headers(init?.headers)), payload: init?.body as string })
        return new Response(reply.rawPayload, { status: reply.statusCode, headers: { 'content-type': String(reply.headers['content-type']) } })
      },
      ...client
    })
    t.teardown(() => { db.close() })
    return { db, sync }
  }
  return { sql, a: device(localA), b: device(localB) }
}
