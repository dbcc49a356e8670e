import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Sql } from 'postgres'
import type { Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import type { Driver } from '../../client/drivers/driver.js'
import { createSyncClient, type SyncClient, type SyncClientOptions } from '../../client/index.js'
import { contentsOfDevice, contentsOfPostgres } from '../../examples/common/compare.js'
import { LOCAL_TABLES, TABLES } from '../../examples/common/local-tables.js'
import { createBusinessSchema, SYNCED_TABLES } from '../../examples/server/business-schema.js'
import oversync, { sourceIdFrom, type OversyncOptions } from '../../src/index.js'
import { freshDb } from '../helpers/db.js'
import { ONLY_READS } from '../client/mortal.js'
import { checkEveryReply } from '../helpers/every-reply.js'

/** What becomes of a request: delivered, lost before or after the server did its work, delivered twice, or twice at the same time. */
export type Fate = 'deliver' | 'lose request' | 'lose reply' | 'deliver twice' | 'deliver twice at once'

/** The process is gone: nothing it would have done afterwards happens. */
export class Crash extends Error {}

export interface World {
  app: FastifyInstance
  sql: Sql
  /** Opens, or opens again, the SQLite file of a device. */
  device: (name: string, options?: DeviceOptions) => Device
}

export interface DeviceOptions extends Partial<SyncClientOptions> {
  user?: string
  /** Columns that this version of the app does not have, by table. */
  dropColumns?: Record<string, string[]>
}

export interface Device {
  name: string
  user: string
  db: Database.Database
  sync: SyncClient
  /** Decides over each request; all are delivered by default. */
  fate: (method: string, body: string | undefined) => Fate
  /** Statements that may write and requests made so far, and the one at which the process dies. */
  steps: { made: number, crashAt: number }
  /** Ends the process as it is and starts it again on the same file. */
  restart: () => Device
  close: () => void
}

/** A server with the example's business tables on a database of its own, and as many devices as a test asks for. */
export async function createWorld (t: Test, options: Partial<OversyncOptions> = {}): Promise<World> {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  checkEveryReply(t, app)
  await app.register(oversync, {
    database: url,
    tables: SYNCED_TABLES,
    getIdentity: request => {
      return { userId: String(request.headers['x-user']), deviceId: sourceIdFrom(request) }
    },
    ...options
  })
  await app.ready()
  const folder = t.testdir({})
  const open = new Set<Device>()
  t.teardown(() => { for (const device of open) device.close() })

  const device = (name: string, { user = 'alice', dropColumns = {}, ...clientOptions }: DeviceOptions = {}): Device => {
    const file = path.join(folder, `${user}-${name}.db`)
    const isNew = !fs.existsSync(file)
    const db = new Database(file)
    if (isNew) {
      db.exec(LOCAL_TABLES)
      for (const [table, columns] of Object.entries(dropColumns)) for (const column of columns) db.exec(`alter table ${table} drop column ${column}`)
    }
    const steps = { made: 0, crashAt: Infinity }
    const step = () => {
      if (++steps.made >= steps.crashAt) throw new Crash(`crash at step ${steps.crashAt}`)
    }
    const opened: Device = {
      name,
      user,
      db,
      steps,
      fate: () => 'deliver',
      sync: createSyncClient(counted(betterSqlite3(db), steps, step), {
        url: 'http://server/sync',
        schema: 'business',
        tables: TABLES,
        userId: user,
        headers: { 'x-user': user },
        fetch: inject(app, step, (method, body) => opened.fate(method, body)),
        ...clientOptions
      }),
      restart: () => {
        opened.close()
        return device(name, { user, ...clientOptions })
      },
      close: () => {
        if (!open.delete(opened)) return
        // No polite close of the client: a process that is gone says nothing.
        db.close()
      }
    }
    open.add(opened)
    return opened
  }
  return { app, sql, device }
}

/** Counts what the client does to its file, so that a test can let it die between any two steps. */
function counted (driver: Driver, steps: Device['steps'], step: () => void): Driver {
  const counting = <Rest extends unknown[], Result>(call: (sql: string, ...rest: Rest) => Result) => (sql: string, ...rest: Rest): Result => {
    if (!ONLY_READS.test(sql)) step()
    else if (steps.made >= steps.crashAt) throw new Crash('gone')
    return call(sql, ...rest)
  }
  return {
    exec: counting(driver.exec.bind(driver)),
    run: counting(driver.run.bind(driver)),
    all: counting(driver.all.bind(driver)) as Driver['all'],
    close: () => driver.close(),
    get inTransaction () { return driver.inTransaction }
  }
}

/** A fetch that reaches the app without a socket, with the fate of each request decided by the test. */
function inject (app: FastifyInstance, step: () => void, fate: (method: string, body: string | undefined) => Fate): NonNullable<SyncClientOptions['fetch']> {
  return async (input, init) => {
    const method = init?.method ?? 'GET'
    const body = init?.body === undefined || init.body === null ? undefined : String(init.body)
    const url = new URL(String(input))
    const send = async () => {
      const reply = await app.inject({
        method: method as 'GET' | 'POST', url: url.pathname + url.search, headers: Object.fromEntries(new Headers(init?.headers)), ...(body === undefined ? {} : { payload: body })
      })
      return new Response(reply.rawPayload, { status: reply.statusCode, headers: Object.entries(reply.headers).map(([name, value]) => [name, String(value)] as [string, string]) })
    }
    step()
    const decided = fate(method, body)
    if (decided === 'lose request') throw new TypeError('fetch failed')
    if (decided === 'deliver twice at once') await Promise.all([send(), send()])
    if (decided === 'deliver twice') await send()
    const reply = await send()
    if (decided === 'lose reply') throw new TypeError('fetch failed')
    step()
    return reply
  }
}

/** Every device of the user equals the business tables, has nothing left to send, and the stream keeps its promises. */
export async function expectConverged (t: Test, { sql }: World, devices: Device[], { checksStream = true } = {}): Promise<void> {
  for (const device of devices) {
    const truth = await contentsOfPostgres(sql, device.user)
    t.strictSame(contentsOfDevice(device), truth, `${device.user}'s ${device.name} equals PostgreSQL`)
    const { pending, outbox, held, shadow } = device.sync.status()
    t.strictSame({ pending, outbox, held, shadow }, { pending: 0, outbox: 0, held: 0, shadow: 0 }, `${device.user}'s ${device.name} has nothing left to do`)
  }
  if (checksStream) await expectSoundStream(t, sql)
}

/** Positions are dense, versions of a row are 1, 2, 3 …, no change is in twice, and row_state tells the latest entry (P2, P7, P8). */
export async function expectSoundStream (t: Test, sql: Sql): Promise<void> {
  const holes = await sql`
    select scope_id from sync.stream s
    left join lateral (select count(*) as entries, coalesce(max(server_id), 0) as last from sync.change_log l where l.scope_id = s.scope_id) l on true
    where l.entries <> s.head or l.last <> s.head`
  t.strictSame([...holes], [], 'positions are dense')
  const broken = await sql`
    select scope_id, table_id, pk, version from (
      select *, row_number() over (partition by scope_id, table_id, pk order by server_id) as expected from sync.change_log) l
    where version <> expected`
  t.strictSame([...broken], [], 'versions of each row are 1, 2, 3 … in the order of the stream')
  const stale = await sql`
    select r.pk from sync.row_state r
    where not exists (select from sync.change_log l where l.scope_id = r.scope_id and l.server_id = r.server_id and l.table_id = r.table_id
      and l.pk = r.pk and l.version = r.version and (l.op = 'D') = r.deleted)
    or exists (select from sync.change_log l where l.scope_id = r.scope_id and l.table_id = r.table_id and l.pk = r.pk and l.version > r.version)`
  t.strictSame([...stale], [], 'row states tell the latest entry')
}

/** Syncs the devices in turn until a whole round moves nothing, a bounded number of rounds. */
export async function syncUntilQuiet (devices: Device[], maxRounds = 10): Promise<void> {
  let last = ''
  for (let round = 0; round < maxRounds; round++) {
    for (const device of devices) await device.sync.syncOnce()
    const state = JSON.stringify(devices.map(({ sync }) => [sync.status().cursor, sync.status().pending]))
    if (state === last) return
    last = state
  }
  throw new Error(`The devices were not quiet after ${maxRounds} rounds: ${last}`)
}
