import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import type { UploadChange } from '../../src/contract/upload-change.js'
import { assertSound, del, john, log, put, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { remoteDevice, startServer, type ServerProcess } from '../helpers/server-process.js'
import { waitFor } from '../helpers/wait-for.js'

/** A database with the example's tables. */
async function businessDb (t: Test) {
  const db = await freshDb(t)
  await createBusinessSchema(db.sql)
  return db
}

/** An insert, an update, a deletion and a child: every kind of statement. Round n needs round n - 1. */
function batch (n: number): UploadChange[] {
  const id = 10 * n
  return [
    put(id + 1, 'users', uuid(id), john(`User${n}`)),
    put(id + 2, 'posts', uuid(id), { title: `post ${n}`, author_id: uuid(id) }),
    put(id + 3, 'users', uuid(1), john(`Round${n}`), n),
    del(id + 4, 'posts', uuid(id - 10), 1)
  ]
}

const expected = (n: number) => [`${10 * n + 1} applied v1`, `${10 * n + 2} applied v1`, `${10 * n + 3} applied v${n + 1}`, `${10 * n + 4} applied v2`]

/** Uploads what makes `batch(1)` possible. */
async function seed (server: ServerProcess): Promise<void> {
  await remoteDevice(server.origin, 'alice').upload([put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(0), { title: 'first' })])
}

t.test('a server that is killed at any point of an upload: nothing or everything, and another one tells which (C1, P1, P2, P6)', { timeout: 120_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const survivor = await startServer(t, url)
  await seed(survivor)
  const phone = remoteDevice(survivor.origin, 'alice')
  const total = Number((await phone.post(batch(1))).headers.get('x-statements'))
  t.ok(total > 8, `${total} statements`)
  const points = ['auth', 'parsed', ...Array.from({ length: total }, (_, i) => `statement ${i + 1}`), 'commit sent', 'replying']
  let n = 1
  // The next victims start while one dies.
  const victims = points.slice(0, 2).map(async () => await startServer(t, url))
  for (const [i, point] of points.entries()) {
    n++
    const victim = await victims[i] as ServerProcess
    if (i + 2 < points.length) victims.push(startServer(t, url))
    const before = (await log(sql, 'alice')).length
    await t.rejects(remoteDevice(victim.origin, 'alice').post(batch(n), { 'x-die-at': point }), `${point}: no reply`)
    t.equal(await victim.ended(), 'SIGKILL', `${point}: killed`)
    if (point === 'replying') t.equal((await log(sql, 'alice')).length, before + 4, `${point}: everything`)
    else if (point !== 'commit sent') t.equal((await log(sql, 'alice')).length, before, `${point}: nothing`)
    // PostgreSQL may take a moment to notice: until then its session holds the stream's lock.
    const reply = await waitFor('the retry goes through', async () => await phone.upload(batch(n)))
    t.strictSame(verdicts(reply), expected(n), `${point}: the retry`)
    t.equal((await log(sql, 'alice')).length, before + 4, `${point}: once`)
    t.equal((await sql`select from business.posts`).length, 1, `${point}: the table agrees`)
  }
  await assertSound(t, sql, 'alice')
})

t.test('a server that is killed in the middle of a page: the device has no page, and asks again (C1, B4)', async t => {
  const { url, sql } = await businessDb(t)
  const survivor = await startServer(t, url)
  const rows = Array.from({ length: 60 }, (_, i) => put(i + 1, 'files', uuid(i + 1), { name: 'f', data: 'QUJD'.repeat(25_000) }))
  await remoteDevice(survivor.origin, 'alice').upload(rows)
  const victim = await startServer(t, url)
  const { port } = new URL(victim.origin)
  const socket = net.connect(Number(port), '127.0.0.1')
  const closed = new Promise(resolve => { socket.on('close', resolve) })
  socket.on('error', () => {}) // a reset is what a killed process may leave
  socket.write('GET /sync/download?include_self=true HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nX-Device: phone\r\n\r\n')
  let text = ''
  socket.on('data', data => {
    text += data.toString('latin1')
    // The rest of the page is on its way, more than the sockets' buffers take.
    if (text.length > 100_000) victim.process.kill('SIGKILL')
  })
  await closed
  t.equal(await victim.ended(), 'SIGKILL')
  const [head = '', body = ''] = text.split('\r\n\r\n')
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
  t.ok(length > 5_000_000 && body.length < length, 'the length tells that the page is cut')
  t.throws(() => JSON.parse(body), 'and so does the text')
  t.equal((await remoteDevice(survivor.origin, 'alice').download()).changes.length, 60)
  t.strictSame((await sql`select state from pg_stat_activity where datname = current_database() and state like 'idle in%'`).length, 0)
})

t.test('two processes serve one database in turns: nothing is lost or doubled (C21, P2, P8)', { timeout: 60_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const first = await startServer(t, url)
  await seed(first)
  const second = await startServer(t, url)
  await Promise.all(['a', 'b', 'c'].map(async device => {
    for (let n = 1; n <= 20; n++) {
      const changes = [put(n, 'users', uuid(1000 * device.charCodeAt(0) + n), john())]
      const replies = await Promise.all([first, second].map(async ({ origin }) => {
        const phone = remoteDevice(origin, 'alice', device)
        return await waitFor('an answer', async () => await phone.upload(changes))
      }))
      for (const reply of replies) t.strictSame(verdicts(reply), [`${n} applied v1`])
    }
  }))
  t.equal((await log(sql, 'alice')).length, 62)
  await assertSound(t, sql, 'alice')
})

/** Holds a user's row until released. */
async function hold (t: Test, sql: Sql, pk: string): Promise<() => Promise<void>> {
  const other = await sql.reserve()
  await other`begin`
  await other`select from business.users where id = ${pk} for update`
  let held = true
  const release = async () => {
    if (!held) return
    held = false
    await other`commit`
    other.release()
  }
  t.teardown(release)
  return release
}

t.test('SIGTERM: what is under way is acknowledged, new requests are 503, and idle sockets hold nothing up (C3, P1)', { timeout: 60_000 }, async t => {
  const { url, sql } = await businessDb(t)
  const server = await startServer(t, url, { DRAIN_MS: '3000' })
  await seed(server)
  const { port } = new URL(server.origin)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  const idle = net.connect(Number(port), '127.0.0.1')
  idle.on('error', () => {})
  t.teardown(() => { idle.destroy() })
  await once(idle, 'connect')
  t.equal((await get(agent, port)).status, 200, 'a socket that is kept alive')

  const release = await hold(t, sql, uuid(1))
  const underWay = remoteDevice(server.origin, 'alice').post(batch(1))
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
  t.strictSame(verdicts(await reply.json() as never), expected(1))
  const late = await queued
  t.ok([200, 503, 'no reply'].includes(late), `the one in line: ${late}`)
  t.equal((await log(sql, 'alice')).length, late === 200 ? 7 : 6, 'and its answer is true')
  await server.printed(/^closed$/m)
  t.equal(await server.ended(), 0, 'the process ends by itself')
  t.equal((await sql`select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`).length, 0, 'and leaves no connection')
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
  const [stalling, other] = [await startServer(t, url), await startServer(t, url)]
  await seed(stalling)
  const release = await hold(t, sql, uuid(1))
  const underWay = remoteDevice(stalling.origin, 'alice').post(batch(1))
  await waitFor('it has the stream and waits for a row', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  // Longer than a transaction may idle: PostgreSQL ends the transaction of the process that does not go on.
  const stalled = fetch(`${stalling.origin}/stall?ms=17000`, { method: 'POST' })
  await waitFor('it stalls', async () => await Promise.race([fetch(`${stalling.origin}/sync/schema-version`, { headers: { 'x-user': 'alice', 'x-device': 'x' }, signal: AbortSignal.timeout(200) }).then(() => false), new Promise(resolve => setTimeout(resolve, 300, true))]).catch(() => true))
  await release()
  const phone = remoteDevice(other.origin, 'alice', 'pad')
  t.equal((await phone.download()).changes.length, 2, 'downloads go on')
  const reply = await waitFor('another process gets the stream', async () => await phone.upload([put(1, 'users', uuid(900), john())]))
  t.strictSame(verdicts(reply), ['1 applied v1'])
  await stalled
  const first = await underWay
  t.equal(first.status, 503, 'nothing half done')
  const retry = await waitFor('the retry goes through', async () => await remoteDevice(other.origin, 'alice').upload(batch(1)))
  t.strictSame(verdicts(retry), expected(1))
  await assertSound(t, sql, 'alice')
})

async function get (agent: http.Agent, port: string): Promise<{ status: number }> {
  const request = http.get({ agent, port, host: '127.0.0.1', path: '/sync/schema-version', headers: { 'x-user': 'alice', 'x-device': 'x' } })
  const [reply] = await once(request, 'response') as [http.IncomingMessage]
  reply.resume()
  await once(reply, 'end')
  return { status: reply.statusCode ?? 0 }
}
