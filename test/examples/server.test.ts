import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { buildServer } from '../../examples/server/build-server.js'
import { assertContract } from '../helpers/contract.js'
import { freshDb } from '../helpers/db.js'
import { isListening } from '../helpers/is-listening.js'
import { runNode, type Running } from '../helpers/run.js'
import { waitFor } from '../helpers/wait-for.js'

const SECRET = 'secret-of-the-test'
const USER = { id: '550e8400-e29b-41d4-a716-446655440000', name: 'John', email: 'john@example.com', created_at: 1_700_000_000, updated_at: 1_700_000_001 }
const INSERT = { source_change_id: 1, schema: 'business', table: 'users', op: 'INSERT', pk: USER.id, server_version: 0, payload: USER }

t.test('a user signs in on two devices; what one uploads, the other downloads', async t => {
  const { app, sql } = await build(t)
  const phone = await signIn(app, 'alice', 'phone')
  const laptop = await signIn(app, 'alice', 'laptop')
  const stranger = await signIn(app, 'bob', 'phone')

  const uploaded = await app.inject({ method: 'POST', url: '/sync/upload', headers: bearer(phone), payload: { changes: [INSERT] } })
  assertContract(t, 'POST', '/sync/upload', uploaded)
  t.match(uploaded.json(), { accepted: true, source_id: 'phone', statuses: [{ status: 'applied', new_server_version: 1 }] })
  t.strictSame([...await sql`select name, extract(epoch from created_at)::int as created from business.users`], [{ name: 'John', created: USER.created_at }])

  const downloaded = await app.inject({ url: '/sync/download?after=0', headers: bearer(laptop) })
  assertContract(t, 'GET', '/sync/download', downloaded)
  t.match(downloaded.json(), { changes: [{ table: 'users', pk: USER.id, source_id: 'phone', payload: USER }] })
  const others = await app.inject({ url: '/sync/download?after=0&include_self=true', headers: bearer(stranger) })
  t.strictSame(others.json().changes, [], 'another user sees nothing')
})

t.test('a token that is missing or not ours is answered 401', async t => {
  const { app } = await build(t)
  const good = { sub: 'alice', did: 'phone', exp: Math.floor(Date.now() / 1000) + 60 }
  const cases: Record<string, string | undefined> = {
    missing: undefined,
    'of another scheme': 'Basic YWxpY2U6eA==',
    garbage: 'Bearer garbage',
    'empty text': 'Bearer ',
    'of another secret': `Bearer ${token(good, { secret: 'another' })}`,
    'without a signature (alg none)': `Bearer ${token(good, { alg: 'none' })}`,
    'of another algorithm (HS512)': `Bearer ${token(good, { alg: 'HS512' })}`,
    expired: `Bearer ${token({ ...good, exp: good.exp - 120 })}`,
    'without a user': `Bearer ${token({ ...good, sub: undefined })}`,
    'without a device': `Bearer ${token({ ...good, did: undefined })}`,
    'with an empty user': `Bearer ${token({ ...good, sub: '' })}`,
    'with a number for a device': `Bearer ${token({ ...good, did: 7 })}`
  }
  for (const [name, authorization] of Object.entries(cases)) {
    const reply = await app.inject({ url: '/sync/status', headers: authorization === undefined ? {} : { authorization } })
    t.equal(reply.statusCode, 401, `a token ${name}`)
    assertContract(t, 'GET', '/sync/status', reply)
  }
  const reply = await app.inject({ url: '/sync/status', headers: { authorization: `Bearer ${token({ sub: 'alice', did: 'phone' })}` } })
  t.equal(reply.statusCode, 200, 'user and device are the only claims it needs')
  assertContract(t, 'GET', '/sync/status', reply)
})

t.test('a token of another device than the header names is answered 400', async t => {
  const { app } = await build(t)
  const headers = bearer(await signIn(app, 'alice', 'phone'))
  t.equal((await app.inject({ url: '/sync/status', headers: { ...headers, 'oversync-source-id': 'laptop' } })).statusCode, 400)
  t.equal((await app.inject({ url: '/sync/status', headers: { ...headers, 'oversync-source-id': 'phone' } })).statusCode, 200)
})

t.test('the sign-in wants a user, a password and a device', async t => {
  const { app } = await build(t)
  const complete = { user: 'alice', password: 'x', device: 'phone' }
  for (const wrong of [{}, { ...complete, user: '' }, { ...complete, password: '' }, { ...complete, password: undefined }, { ...complete, device: '' }, { ...complete, device: 'oversync:server' }]) {
    const reply = await app.inject({ method: 'POST', url: '/dummy-signin', payload: wrong })
    t.equal(reply.statusCode, 400, JSON.stringify(wrong))
  }
  const reply = await app.inject({ method: 'POST', url: '/dummy-signin', payload: complete })
  t.match(reply.json(), { token: /^\S+\.\S+\.\S+$/, expires_in: 3600, user: 'alice', device: 'phone' })
})

t.test('the document shows the routes of the app and of the plugin', async t => {
  const { app } = await build(t)
  t.equal((await app.inject('/docs/')).statusCode, 200)
  const { paths, components } = (await app.inject('/docs/json')).json()
  t.strictSame(Object.keys(paths).sort(), ['/dummy-signin', '/health', '/sync/download', '/sync/schema-version', '/sync/status', '/sync/upload'])
  t.hasProps(components.schemas, ['UploadRequest', 'UploadResponse', 'DownloadResponse', 'ErrorResponse'])
})

t.test('health says so when the database is away', async t => {
  const { app, url } = await build(t)
  t.strictSame((await app.inject('/health')).json(), { status: 'ok' })
  const name = new URL(url).pathname.slice(1)
  const server = postgres(process.env['DATABASE_URL']!, { max: 1, onnotice: () => {} })
  t.teardown(async () => {
    await server`alter database ${server(name)} allow_connections true`
    await server.end()
  })
  await server`alter database ${server(name)} allow_connections false`
  await server`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
  const reply = await waitFor('health notices', async () => {
    const reply = await app.inject('/health')
    return reply.statusCode === 200 ? null : reply
  })
  t.equal(reply.statusCode, 503)
  t.strictSame(reply.json(), { status: 'unavailable' })
  await server`alter database ${server(name)} allow_connections true`
  await waitFor('health recovers', async () => (await app.inject('/health')).statusCode === 200)
})

t.test('a second server starts on the tables of the first', async t => {
  const { url, sql } = await freshDb(t)
  const servers = await Promise.all([1, 2, 3].map(() => buildServer({ database: url, jwtSecret: SECRET })))
  const tables = await sql`select table_name from information_schema.tables where table_schema = 'business' order by 1`
  t.strictSame(tables.map(({ table_name: name }) => name), ['file_reviews', 'files', 'posts', 'typed_rows', 'users'])
  for (const server of servers) await server.close()
  t.equal((await sql`select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`).count, 0, 'a closed server has no connection left')
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`started as a program with nothing set, it serves, and ${signal} ends it and its PostgreSQL`, async t => {
    const server = start(t)
    const [, address] = await server.printed(/^Reference server: (http:\/\/\S+)$/m) as unknown as [string, string]
    const [, url] = await server.printed(/PostgreSQL +(postgres:\S+)/) as unknown as [string, string]
    await server.printed(/dummy-signin accepts every password/)
    await server.printed(/JWT_SECRET is not set/)
    t.strictSame(await (await fetch(`${address}/health`)).json(), { status: 'ok' })
    const reply = await fetch(`${address}/dummy-signin`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user: 'alice', password: 'x', device: 'phone' }) })
    const { token } = await reply.json() as { token: string }
    const status = await fetch(`${address}/sync/status`, { headers: bearer(token) })
    t.match(await status.json(), { status: 'healthy', source_id: 'phone', registered_tables: ['business.users', 'business.posts', 'business.files', 'business.file_reviews', 'business.typed_rows'] })

    server.process.kill(signal)
    server.process.kill(signal) // an impatient one
    t.equal(await server.ended(), 0)
    t.notOk(await isListening(Number(new URL(address).port)), 'nobody listens')
    t.notOk(await isListening(Number(new URL(url).port)), 'PostgreSQL is gone')
  })
}

t.test('stopped while it starts, it leaves nothing either', async t => {
  const server = start(t)
  await server.printed(/dummy-signin/) // between its start and its listening
  server.process.kill('SIGINT')
  t.equal(await server.ended(), 0)
})

t.test('production needs a secret of its own', async t => {
  const server = start(t, { NODE_ENV: 'production' })
  t.equal(await server.ended(), 1)
  await server.printed(/did not start: set JWT_SECRET/)
})

t.test('a port that is taken is told, and PostgreSQL stopped', async t => {
  const squatter = net.createServer().listen(0, '127.0.0.1')
  await once(squatter, 'listening')
  t.teardown(() => { squatter.close() })
  const server = start(t, { PORT: String((squatter.address() as net.AddressInfo).port) })
  t.equal(await server.ended(), 1)
  await server.printed(/did not start: .*EADDRINUSE/)
})

async function build (t: Test) {
  const { url, sql } = await freshDb(t)
  const app = await buildServer({ database: url, jwtSecret: SECRET })
  t.teardown(() => app.close())
  return { app, sql, url }
}

async function signIn (app: Awaited<ReturnType<typeof buildServer>>, user: string, device: string): Promise<string> {
  const reply = await app.inject({ method: 'POST', url: '/dummy-signin', payload: { user, password: 'x', device } })
  return reply.json().token
}

function bearer (token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}

function token (claims: object, { alg = 'HS256', secret = SECRET } = {}): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = `${encode({ alg, typ: 'JWT' })}.${encode(claims)}`
  const signature = alg === 'none' ? '' : createHmac(alg.replace('HS', 'sha'), secret).update(head).digest('base64url')
  return `${head}.${signature}`
}

function start (t: Test, env: Record<string, string> = {}): Running {
  return runNode(t, ['--import=tsx', 'examples/server/index.ts'], { DATABASE_URL: undefined, JWT_SECRET: undefined, NODE_ENV: undefined, PORT: '0', ...env })
}
