import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { assertSound, john, log, put, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { holdUser } from '../helpers/locks.js'
import { remoteDevice, startServer } from '../helpers/server-process.js'
import { waitFor } from '../helpers/wait-for.js'

/** A database with the example's tables. */
async function businessDb (t: Test) {
  const db = await freshDb(t)
  await createBusinessSchema(db.sql)
  return db
}

const RENAME = [put(2, 'users', uuid(1), john('Jane'), 1), put(3, 'posts', uuid(1), { title: 'post', author_id: uuid(1) })]
const RENAMED = ['2 applied v2', '3 applied v1']

t.test('SIGTERM: what is under way is acknowledged, new requests are 503, and idle sockets hold nothing up (C3, P1)', { timeout: 60_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const server = await startServer(t, url, { DRAIN_MS: '3000' })
  await remoteDevice(server.origin, 'alice').upload([put(1, 'users', uuid(1), john())])
  const { port } = new URL(server.origin)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  const idle = net.connect(Number(port), '127.0.0.1')
  idle.on('error', () => {})
  t.teardown(() => { idle.destroy() })
  await once(idle, 'connect')
  t.equal((await get(agent, port)).status, 200, 'a socket that is kept alive')

  const release = await holdUser(t, sql, uuid(1))
  const underWay = remoteDevice(server.origin, 'alice').post(RENAME)
  await waitFor('it waits for the row', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  const queued = remoteDevice(server.origin, 'alice', 'pad').post([put(1, 'users', uuid(900), john())]).then(({ status }) => status, () => 'no reply')
  server.process.kill('SIGTERM')
  await waitFor('the server takes no new connections or answers 503', async () => {
    try {
      return (await get(agent, port)).status === 503
    } catch (error) {
      return /ECONNREFUSED|ECONNRESET/.test(String((error as { code?: string }).code))
    }
  })
  await release()
  const reply = await underWay
  t.equal(reply.status, 200)
  t.strictSame(verdicts(await reply.json() as never), RENAMED)
  const late = await queued
  t.ok([200, 503, 'no reply'].includes(late), `the one in line: ${late}`)
  t.equal((await log(sql, 'alice')).length, late === 200 ? 4 : 3, 'and its answer is true')
  await server.printed(/^closed$/m)
  t.equal(await server.ended(), 0, 'the process ends by itself')
  t.equal((await sql`select from pg_stat_activity where datname = current_database() and application_name = 'mortal'`).length, 0, 'and leaves no connection')
  await assertSound(t, sql, 'alice')
})

t.test('SIGTERM while a statement takes seconds: the upload is still acknowledged (C3, P1)', { timeout: 60_000 }, async t => {
  const { url, sql } = await businessDb(t)
  await sql.unsafe(`create function slow() returns trigger language plpgsql as $$ begin if new.name = 'Slow' then perform pg_sleep(7); end if; return new; end $$;
    create trigger slow before insert on business.users for each row execute function slow()`)
  const server = await startServer(t, url)
  await remoteDevice(server.origin, 'alice').upload([put(1, 'users', uuid(1), john())])
  const underWay = remoteDevice(server.origin, 'alice').post([put(2, 'users', uuid(2), john('Slow'))])
  await waitFor('it sleeps', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`).length > 0)
  server.process.kill('SIGTERM')
  const reply = await underWay
  t.equal(reply.status, 200)
  t.strictSame(verdicts(await reply.json() as never), ['2 applied v1'])
  t.equal(await server.ended(), 0)
})

t.test('SIGTERM while a caller sends its body for ever: the app\'s limit for closing ends it, nothing is stored (C3, B9)', { timeout: 60_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const server = await startServer(t, url, { DRAIN_MS: '500' })
  const socket = net.connect(Number(new URL(server.origin).port), '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => { socket.destroy() })
  await once(socket, 'connect')
  socket.write('POST /sync/upload HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nX-Device: phone\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{')
  await fetch(`${server.origin}/sync/schema-version`, { headers: { 'x-user': 'alice', 'x-device': 'x' } })
  server.process.kill('SIGTERM')
  t.equal(await server.ended(), 0)
  t.equal((await sql`select from sync.scope`).length, 0)
})

t.test('a process that stalls in an upload keeps nobody else from the stream for long, and says the truth when it wakes (C22, P6)', { timeout: 90_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const [stalling, other] = [await startServer(t, url, { STEP_BY_STEP: 'yes' }), await startServer(t, url)]
  await remoteDevice(stalling.origin, 'alice').upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const underWay = remoteDevice(stalling.origin, 'alice').post(RENAME)
  await waitFor('it has the stream and waits for a row', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  // Longer than a transaction may idle: PostgreSQL ends the transaction of the process that does not go on.
  const stalled = fetch(`${stalling.origin}/stall?ms=17000`, { method: 'POST' })
  await waitFor('it stalls', async () => await Promise.race([fetch(`${stalling.origin}/sync/schema-version`, { headers: { 'x-user': 'alice', 'x-device': 'x' }, signal: AbortSignal.timeout(200) }).then(() => false), new Promise(resolve => setTimeout(resolve, 300, true))]).catch(() => true))
  await release()
  const phone = remoteDevice(other.origin, 'alice', 'pad')
  t.equal((await phone.download()).changes.length, 1, 'downloads go on')
  const reply = await waitFor('another process gets the stream', async () => await phone.upload([put(1, 'users', uuid(900), john())]))
  t.strictSame(verdicts(reply), ['1 applied v1'])
  await stalled
  const first = await underWay
  t.equal(first.status, 503, 'nothing half done')
  const retry = await waitFor('the retry goes through', async () => await remoteDevice(other.origin, 'alice').upload(RENAME))
  t.strictSame(verdicts(retry), RENAMED)
  await assertSound(t, sql, 'alice')
})

t.test('a process that stalls after it has sent everything: PostgreSQL ends the upload without it (C22, P1)', { timeout: 90_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const stalling = await startServer(t, url)
  await remoteDevice(stalling.origin, 'alice').upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const underWay = remoteDevice(stalling.origin, 'alice').upload(RENAME)
  await waitFor('it waits for a row', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  let isAwake = false
  const awake = fetch(`${stalling.origin}/stall?ms=8000`, { method: 'POST' }).then(() => { isAwake = true })
  await waitFor('it stalls', async () => await fetch(`${stalling.origin}/sync/schema-version`, { headers: { 'x-user': 'alice', 'x-device': 'x' }, signal: AbortSignal.timeout(200) }).then(() => false, () => true))
  await release()
  await waitFor('the upload is there', async () => (await log(sql, 'alice')).length === 3)
  t.equal(isAwake, false, 'while the process stalls')
  await awake
  t.strictSame(verdicts(await underWay), RENAMED, 'and it says so when it wakes')
  await assertSound(t, sql, 'alice')
})

async function get (agent: http.Agent, port: string): Promise<{ status: number }> {
  const request = http.get({ agent, port, host: '127.0.0.1', path: '/sync/schema-version', headers: { 'x-user': 'alice', 'x-device': 'x' } })
  const [reply] = await once(request, 'response') as [http.IncomingMessage]
  reply.resume()
  await once(reply, 'end')
  return { status: reply.statusCode ?? 0 }
}
