// Statements get names where sessions are one's own, and where that was a mistake, uploads go on without.
import net from 'node:net'
import { once } from 'node:events'
import { CompiledQuery } from 'kysely'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { caller, john, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { recordMetrics } from '../helpers/record-metrics.js'

/** Names that a session knows, but for what postgres.js asks for itself. */
const NAMES = "select count(*)::int as n from pg_prepared_statements where statement not like '%pg_catalog.pg_type%'"

async function build (t: Test, options: { prepare?: boolean } = {}) {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const client = postgres(url, { max: 1, onnotice: () => {}, ...options })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  return { url, sql, client, names: async () => (await client.unsafe<Array<{ n: number }>>(NAMES))[0]?.n }
}

t.test('by default the statements of every request have names where sessions are one\'s own', async t => {
  for (const [options, prepare, expected] of [[{}, true, 3], [{ preparedStatements: 'auto' as const }, true, 3], [{ preparedStatements: false }, true, 0], [{}, false, 0]] as const) {
    const { client, names } = await build(t, { prepare })
    const app = await startApp(t, { database: client, ...options })
    const phone = caller(app, 'ann')
    t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
    await phone.download()
    await phone.download({ until: 1 })
    t.equal(await names(), expected)
    t.equal(app.oversync.serverSettings.preparedStatements, expected > 0)
  }
})

t.test('behind a pooler, which greets with a process id that it made up, no statement gets a name (C13)', async t => {
  const { url, sql } = await build(t)
  const pooler = await startPooler(t, url)
  const app = await startApp(t, { database: `${pooler}?max=1` })
  t.equal(app.oversync.serverSettings.preparedStatements, false)
  t.strictSame(verdicts(await caller(app, 'ann').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  t.equal((await sql`select from business.users`).length, 1)
  const named = await startApp(t, { database: `${pooler}?max=1`, preparedStatements: true })
  t.equal(named.oversync.serverSettings.preparedStatements, true, 'who says that the pooler knows names is believed')
})

t.test('a session that has forgotten a name costs an upload another attempt, once: from then on nothing has names (C13)', async t => {
  const { client, names } = await build(t)
  const metrics = recordMetrics()
  const app = await startApp(t, { database: client, metrics })
  const phone = caller(app, 'ann')
  await phone.upload([put(1, 'users', uuid(1), john())])
  await phone.download()
  for (const n of [2, 3, 4]) {
    await client.unsafe('deallocate all')
    t.strictSame(verdicts(await phone.upload([put(n, 'users', uuid(n), john())])), [`${n} applied v1`])
  }
  t.strictSame(metrics.totals('oversync_transaction_retries_total'), { 'oversync_transaction_retries_total forgotten_statement': 1 })
  t.equal((await caller(app, 'ann', 'tablet').download()).changes.length, 4)
  t.equal(await names(), 0)
})

t.test('reads give names up too, although postgres.js sends them again by itself (C13)', async t => {
  const { client, names } = await build(t)
  const app = await startApp(t, { database: client })
  const tablet = caller(app, 'ann', 'tablet')
  t.strictSame(verdicts(await caller(app, 'ann').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  await tablet.download()
  for (const expected of [0, 0]) {
    await client.unsafe('deallocate all')
    t.equal((await tablet.download()).changes.length, 1)
    t.ok((await names() as number) <= 1, 'at most what was sent again')
    await client.unsafe('deallocate all')
    await tablet.download()
    t.equal(await names(), expected)
  }
})

t.test('what the app\'s own code has prepared and forgotten is its own affair: ours keep their names', async t => {
  const { client, names } = await build(t)
  const app = await startApp(t, {
    database: client,
    beforeApply: async ({ trx }) => { await trx.executeQuery(CompiledQuery.raw('execute of_the_app')) }
  })
  await caller(app, 'ann').download()
  const before = await names() as number
  t.ok(before > 0)
  t.equal((await caller(app, 'ann').uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] }))).statusCode, 500)
  await caller(app, 'ann').download()
  t.ok((await names() as number) > before, 'those of the upload beside those of the page')
})

t.test('a table has one named insert, whatever sets of columns devices send, computed ones among them (P19)', async t => {
  const { url, sql } = await freshDb(t)
  await sql`create table public.made (id uuid primary key, a text, b text, c text, x text generated always as (a) stored, y text generated always as (b) stored)`
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: client, alone: true, tables: ['public.made'] })
  const phone = caller(app, 'ann')
  const sets = ['', 'a', 'b', 'c', 'x', 'y', 'ab', 'abc', 'abx', 'bcx', 'cxy', 'axy', 'abcx', 'abcxy', 'acxy']
  for (const [n, columns] of sets.entries()) await phone.upload([put(n + 1, 'public.made', uuid(n + 1), Object.fromEntries([...columns].map(name => [name, name])))])
  t.equal((await sql`select from public.made`).length, sets.length)
  t.equal((await client.unsafe("select from pg_prepared_statements where statement like 'insert into \"public\".\"made\"%'")).length, 1)
})

t.test('an app starts while its standby is away, and while it says nothing (C10)', async t => {
  const { client } = await build(t)
  const silent = net.createServer(() => {})
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close() })
  const { port } = silent.address() as net.AddressInfo
  for (const replica of ['postgres://127.0.0.1:1/none', `postgres://127.0.0.1:${port}/none`]) {
    const app = await startApp(t, { database: client, replica })
    t.strictSame(verdicts(await caller(app, 'ann').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  }
})

/** Passes everything on but for the process id of the greeting (BackendKeyData), as poolers do. */
async function startPooler (t: Test, target: string): Promise<string> {
  const { hostname, port } = new URL(target)
  const server = net.createServer(device => {
    const database = net.connect({ host: hostname, port: Number(port) })
    let isGreeted = false
    device.pipe(database)
    database.on('data', (bytes: Buffer) => {
      const at = isGreeted ? -1 : bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
      if (at >= 0) {
        bytes.writeUInt32BE(bytes.readUInt32BE(at + 5) ^ 0x55555555, at + 5)
        isGreeted = true
      }
      device.write(bytes)
    })
    for (const [one, other] of [[device, database], [database, device]] as const) {
      one.on('error', () => {})
      one.on('close', () => { other.destroy() })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const url = new URL(target)
  url.host = `127.0.0.1:${(server.address() as net.AddressInfo).port}`
  return url.href
}
