import { AsyncLocalStorage } from 'node:async_hooks'
import Fastify, { type FastifyInstance } from 'fastify'
import { Kysely, type Driver } from 'kysely'
import postgres, { type Sql } from 'postgres'
import oversync, { sourceIdFrom } from '../../src/index.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { watchStatements } from '../helpers/every-statement.js'
import { SERVER_SCHEMA, SERVER_TABLES } from './tables.js'

/** What shall happen between server and database while one request is served. */
export interface Trouble {
  /** The connection breaks at COMMIT: `cut` before it took place, `lost` after. */
  commit?: 'cut' | 'lost'
  /** The connection breaks before the nth statement. */
  cutAt?: number
  /** Called before each statement and awaited: a test may let it stand still. */
  before?: (n: number, sql: string) => Promise<void> | void
}

const troubles = new AsyncLocalStorage<Trouble & { seen: number }>()

/** The plugin's dialect, over connections that break as the request's trouble says. */
class TroubledDialect extends PostgresJSDialect {
  override createDriver (): Driver {
    const driver = super.createDriver()
    watchStatements(driver, {
      before: async query => {
        const trouble = troubles.getStore()
        if (trouble === undefined) return
        const n = ++trouble.seen
        await trouble.before?.(n, query.sql)
        if (n === trouble.cutAt) throw connectionLost()
      },
      isClose: () => troubles.getStore() !== undefined
    })
    const commit = driver.commitTransaction.bind(driver)
    const rollback = driver.rollbackTransaction.bind(driver)
    driver.commitTransaction = async connection => {
      const trouble = troubles.getStore()
      if (trouble?.commit === 'cut') {
        await rollback(connection) // as PostgreSQL does for a connection that is gone
        throw connectionLost()
      }
      await commit(connection)
      if (trouble?.commit === 'lost') throw connectionLost()
    }
    // A transaction that ended with its connection cannot be rolled back a second time.
    driver.rollbackTransaction = async connection => {
      if (troubles.getStore()?.commit === undefined) await rollback(connection)
      else await rollback(connection).catch(() => {})
    }
    return driver
  }
}

function connectionLost (): Error {
  return Object.assign(new Error('The connection was cut on purpose.'), { code: 'CONNECTION_CLOSED' })
}

export interface Reply {
  status: number
  body: string
  headers: Record<string, string>
  /** What the server noted last, where it could not answer. */
  log: string
}

export interface Request { method: 'GET' | 'POST', url: string, headers: Record<string, string>, body: string | undefined }

/** Two processes of one server, as far as the database can tell. */
export interface Servers {
  sql: Sql
  send: (server: number, request: Request, trouble?: Trouble) => Promise<Reply>
  /** Ends one of them and starts another in its place. */
  restart: (server: number) => Promise<void>
  close: () => Promise<void>
}

export async function startServers (url: string): Promise<Servers> {
  const sql = postgres(url, { max: 4, onnotice: () => {} })
  await sql.unsafe(SERVER_SCHEMA)
  const clients = [0, 1].map(() => postgres(url, { max: 8, prepare: false, onnotice: () => {} }))
  let lastLine = ''
  const start = async (server: number): Promise<FastifyInstance> => {
    const app = Fastify({ logger: { level: 'warn', stream: { write: line => { lastLine = line } } } })
    await app.register(oversync, {
      database: new Kysely<any>({ dialect: new TroubledDialect(clients[server] as Sql) }),
      tables: SERVER_TABLES,
      // The one commits at once what it can; the hook keeps the other from it.
      ...(server === 1 ? { authorize: () => true } : {}),
      getIdentity: request => ({ userId: String(request.headers['x-user']), deviceId: sourceIdFrom(request) })
    })
    await app.ready()
    return app
  }
  const apps = [await start(0), await start(1)]
  return {
    sql,
    async send (server, { method, url, headers, body }, trouble) {
      const inject = async (): Promise<Reply> => {
        const reply = await (apps[server] as FastifyInstance).inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) })
        return { status: reply.statusCode, body: reply.body, log: reply.statusCode === 503 ? lastLine : '', headers: Object.fromEntries(Object.entries(reply.headers).map(([name, value]) => [name, String(value)])) }
      }
      const ask = async (): Promise<Reply> => trouble === undefined ? await inject() : await troubles.run({ ...trouble, seen: 0 }, inject)
      const reply = await ask()
      // Another story has just restarted the server: a load balancer would ask the next one.
      return reply.status === 503 && reply.body.includes('The server is shutting down.') ? await ask() : reply
    },
    async restart (server) {
      const next = await start(server)
      const old = apps[server] as FastifyInstance
      apps[server] = next
      await old.close()
    },
    async close () {
      for (const app of apps) await app.close()
      for (const client of [...clients, sql]) await client.end({ timeout: 1 })
    }
  }
}
