import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { createBusinessSchema, SYNCED_TABLES } from '../../examples/server/business-schema.js'
import oversync from '../../src/index.js'
import { assertSound, john, log, put, uuid, verdicts } from '../helpers/app.js'
import { chaosProxy, type ChaosProxy } from '../helpers/chaos-proxy.js'
import { freshDb } from '../helpers/db.js'
import { remoteDevice } from '../helpers/server-process.js'
import { waitFor } from '../helpers/wait-for.js'

interface ListeningWorld {
  app: FastifyInstance
  sql: Sql
  port: number
  origin: string
}

/** An app that listens on a real socket, over a pool of two connections. */
async function listen (t: Test, options: { requestTimeout?: number, connectionsCheckingInterval?: number } = {}): Promise<ListeningWorld> {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const { connectionsCheckingInterval = 30_000, requestTimeout = 0 } = options
  const app = Fastify({ requestTimeout, http: { connectionsCheckingInterval, headersTimeout: Math.max(requestTimeout, 1) } })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
  })
  await app.register(oversync, {
    database: `${url}?max=2&application_name=listening`,
    tables: SYNCED_TABLES,
    getIdentity: ({ headers }) => ({ userId: String(headers['x-user']), deviceId: String(headers['x-device']) })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.addresses()[0] as net.AddressInfo
  return { app, sql, port, origin: `http://127.0.0.1:${port}` }
}

async function throughProxy (t: Test): Promise<ListeningWorld & { proxy: ChaosProxy }> {
  const world = await listen(t)
  return { ...world, proxy: await chaosProxy(t, world.port) }
}

/** The bytes of an upload. */
function uploadBytes (body: string | Buffer, more: string[] = []): Buffer {
  const head = ['POST /sync/upload HTTP/1.1', 'Host: x', 'X-User: alice', 'X-Device: phone', 'Content-Type: application/json', ...(more.some(line => /^content-length|^transfer/i.test(line)) ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]), ...more]
  return Buffer.concat([Buffer.from(head.join('\r\n') + '\r\n\r\n'), Buffer.from(body)])
}

/** A socket, and all that comes back on it. */
async function connect (t: Test, port: number, options: net.NetConnectOpts = { port }): Promise<{ socket: net.Socket, received: () => string, closed: Promise<unknown> }> {
  const socket = net.connect({ host: '127.0.0.1', ...options, port })
  let text = ''
  socket.on('data', data => { text += data.toString('latin1') })
  socket.on('error', () => {}) // resets are what we are here for
  const closed = new Promise(resolve => { socket.on('close', resolve) })
  t.teardown(() => { socket.destroy() })
  await once(socket, 'connect')
  return { socket, received: () => text, closed }
}

/** Connections of the app that are in a transaction or at work, and locks that it holds. */
async function held (sql: Sql): Promise<number> {
  const [row] = await sql<Array<{ count: number }>>`
    select (select count(*) from pg_stat_activity where datname = current_database() and application_name = 'listening' and state <> 'idle')::int
      + (select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and a.application_name = 'listening')::int as count`
  return row?.count as number
}

const body = (...changes: object[]): string => JSON.stringify({ changes })

t.test('a request that is cut after any number of bytes has no effect, and its retry applies (B1, B3, P6)', async t => {
  const { sql, port, origin } = await listen(t)
  const phone = remoteDevice(origin, 'alice')
  const full = uploadBytes(body(put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())))
  const cuts = [0, 1, 20, full.indexOf('\r\n\r\n') + 2, full.indexOf('\r\n\r\n') + 4, full.indexOf('{') + 1, full.length - 40, full.length - 1]
  for (const [i, cut] of cuts.entries()) {
    const { socket, closed } = await connect(t, port)
    socket.write(full.subarray(0, cut))
    if (i % 2 === 0) socket.resetAndDestroy()
    else socket.end()
    await closed
    t.equal((await sql`select from sync.change_log`).length, 0, `${cut} of ${full.length} bytes`)
  }
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())])), ['1 applied v1', '2 applied v1'])
  t.equal(await held(sql), 0)
})

t.test('a reply that is cut after any number of bytes is none, its length tells so, and the retry has the same verdicts (B2, B4, P3, P6)', async t => {
  const { proxy, sql } = await throughProxy(t)
  const phone = remoteDevice(proxy.url, 'alice')
  let n = 0
  for (const cut of [0, 1, 17, 100, 250, 400, 600]) {
    n++
    const change = put(n, 'users', uuid(n), john())
    proxy.rule.cutAfterBytes = cut
    const outcome = await phone.post([change], { connection: 'close' }).then(async reply => await reply.text().then(text => ({ text, length: Number(reply.headers.get('content-length')) }))).catch(() => null)
    if (outcome !== null) t.equal(outcome.text.length, outcome.length, `${cut}: whatever is read to its end is whole`)
    proxy.rule.cutAfterBytes = Infinity
    const retry = await waitFor('the retry goes through', async () => await phone.upload([change]))
    t.strictSame(verdicts(retry), [`${n} applied v1`], `${cut} bytes of the reply`)
    t.equal((await log(sql, 'alice')).length, n, `${cut}: once`)
  }
  proxy.rule.cutAfterBytes = 300
  await t.rejects(phone.download(), 'half a page is no page')
  proxy.rule.cutAfterBytes = Infinity
  t.equal((await phone.download()).changes.length, n)
  await assertSound(t, sql, 'alice')
})

t.test('deliveries twice, at once, and in the wrong order are one effect each (B6, B7, P2)', async t => {
  const { sql, origin } = await listen(t)
  const phone = remoteDevice(origin, 'alice')
  const numbered = (from: number) => Array.from({ length: 10 }, (_, i) => put(from + i, 'users', uuid(from + i), john()))
  const expected = (from: number) => Array.from({ length: 10 }, (_, i) => `${from + i} applied v1`)
  t.strictSame(verdicts(await phone.upload(numbered(11))), expected(11), 'the second first')
  t.strictSame(verdicts(await phone.upload(numbered(1))), expected(1), 'then the first: holes are filled')
  for (const reply of await Promise.all(Array.from({ length: 8 }, async () => await phone.upload(numbered(21))))) t.strictSame(verdicts(reply), expected(21))
  for (const reply of [await phone.upload(numbered(11)), await phone.upload(numbered(21))]) t.equal(reply.next_source_change_id, 31)
  t.equal((await log(sql, 'alice')).length, 30)
  await assertSound(t, sql, 'alice')
})

t.test('senders that trickle headers or bodies are cut by the app\'s requestTimeout, and hold no connection meanwhile (B9)', { timeout: 30_000 }, async t => {
  const { sql, port, origin } = await listen(t, { requestTimeout: 1_500, connectionsCheckingInterval: 200 })
  const full = uploadBytes(body(put(1, 'users', uuid(1), john())))
  const slow = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const { socket, received, closed } = await connect(t, port)
    socket.write(full.subarray(0, i % 2 === 0 ? 30 : full.length - 30))
    let at = i % 2 === 0 ? 30 : full.length - 30
    const drip = setInterval(() => { if (socket.writable && at < full.length - 5) socket.write(full.subarray(at, ++at)) }, 300)
    return closed.then(() => { clearInterval(drip); return received() })
  }).map(async sender => await sender))
  t.ok(slow.every(text => text === '' || / 408 /.test(text)), 'they hear 408 or nothing')
  t.equal((await sql`select from sync.scope`).length, 0, 'nothing was done for them')
  t.equal(await held(sql), 0)
  t.strictSame(verdicts(await remoteDevice(origin, 'alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
})

t.test('readers that do not read their large pages hold no connection of the database, and few bytes (B10)', { timeout: 60_000 }, async t => {
  const { sql, port, origin } = await listen(t)
  await remoteDevice(origin, 'alice').upload(Array.from({ length: 60 }, (_, i) => put(i + 1, 'files', uuid(i + 1), { name: 'f', data: 'QUJD'.repeat(25_000) })))
  const request = 'GET /sync/download?include_self=true HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nX-Device: phone\r\n\r\n'
  const before = process.memoryUsage().rss
  const readers = await Promise.all(Array.from({ length: 10 }, async () => {
    const { socket } = await connect(t, port)
    socket.pause()
    socket.write(request)
    return socket
  }))
  await waitFor('their pages are read', async () => await held(sql) === 0)
  t.strictSame(verdicts(await remoteDevice(origin, 'bob').upload([put(1, 'users', uuid(900), john())])), ['1 applied v1'], 'others are served by the same two connections')
  t.equal((await remoteDevice(origin, 'alice', 'pad').download()).changes.length, 60)
  const grownBytes = process.memoryUsage().rss - before
  t.ok(grownBytes < 600 * 1024 * 1024, `${Math.round(grownBytes / 1024 / 1024)} MiB for ten pages of 6 MB, this test's own copies included`)
  for (const socket of readers) socket.destroy()
})

t.test('a peer that vanishes in the middle of its request, or of the reply, keeps nobody else waiting (B11, E5)', async t => {
  const { proxy, sql, origin } = await throughProxy(t)
  const phone = remoteDevice(proxy.url, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  proxy.rule.blackHole = true
  const lost = phone.post([put(2, 'users', uuid(1), john('Lost'), 1)], { connection: 'close' }).catch(() => null)
  const direct = remoteDevice(origin, 'alice', 'pad')
  t.strictSame(verdicts(await direct.upload([put(1, 'users', uuid(2), john())])), ['1 applied v1'], 'the stream is free')
  t.equal(await held(sql), 0)
  proxy.cut()
  t.equal(await lost, null)
  proxy.rule.blackHole = false
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(1), john('Lost'), 1)])), ['2 applied v2'])
  await assertSound(t, sql, 'alice')
})

t.test('a network that comes and goes within milliseconds: every change arrives once (B12, B13, B19, P1, P2, P18)', { timeout: 60_000 }, async t => {
  const { proxy, sql, port } = await throughProxy(t)
  const stop = new AbortController()
  const weather = (async () => {
    for (let i = 0; !stop.signal.aborted; i++) {
      await new Promise(resolve => { setTimeout(resolve, 1 + i * 7 % 50) })
      if (i % 3 === 0) proxy.cut()
      proxy.rule.refuse = i % 5 === 0
      proxy.rule.cutAfterBytes = i % 4 === 0 ? 200 : Infinity
    }
    Object.assign(proxy.rule, { refuse: false, cutAfterBytes: Infinity })
  })()
  t.teardown(async () => { stop.abort(); await weather })
  const second = await chaosProxy(t, port)
  await Promise.all(['a', 'b', 'c'].map(async (device, d) => {
    for (let n = 1; n <= 25; n++) {
      // Every other attempt takes the other way, as a phone that changes its network.
      let way = 0
      const reply = await waitFor('the change arrives', async () =>
        await remoteDevice(way++ % 2 === 0 ? proxy.url : second.url, 'alice', device).upload([put(n, 'users', uuid(1000 * d + n), john())]))
      t.strictSame(verdicts(reply), [`${n} applied v1`])
    }
  }))
  stop.abort()
  await weather
  t.equal((await log(sql, 'alice')).length, 75)
  await assertSound(t, sql, 'alice')
})

t.test('a caller that hangs up while the server commits: applied, and its next request learns it (B20, P6)', async t => {
  const { sql, origin, port } = await listen(t)
  const phone = remoteDevice(origin, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  const other = await sql.reserve()
  await other`begin`
  await other`select from business.users for update`
  const { socket, closed } = await connect(t, port)
  socket.write(uploadBytes(body(put(2, 'users', uuid(1), john('Jane'), 1))))
  await waitFor('it waits for the row', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  socket.destroy()
  await closed
  await other`commit`
  other.release()
  await waitFor('it is committed', async () => (await log(sql, 'alice')).length === 2)
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(1), john('Jane'), 1)])), ['2 applied v2'])
  t.equal((await log(sql, 'alice')).length, 2)
})

t.test('a compressed body is refused as such and unpacked by nobody, bomb or not (B17, H20)', async t => {
  const { sql, origin } = await listen(t)
  const headers = { 'content-type': 'application/json', 'x-user': 'alice', 'x-device': 'phone' }
  for (const [encoding, packed] of [['gzip', gzipSync(body(put(1, 'users', uuid(1), john())))], ['gzip', gzipSync(Buffer.alloc(64 * 1024 * 1024))], ['br', Buffer.from('x')], ['deflate', Buffer.from('x')], ['gzip, gzip', Buffer.from('x')], ['x-unknown', Buffer.from(body())]] as const) {
    const reply = await fetch(`${origin}/sync/upload`, { method: 'POST', headers: { ...headers, 'content-encoding': encoding }, body: packed })
    t.equal(`${reply.status} ${(await reply.json() as { error: string }).error}`, '415 unsupported_media_type', encoding)
    t.equal(reply.headers.get('accept-encoding'), 'identity', 'and says what is taken')
  }
  t.equal((await sql`select from sync.change_log`).length, 0)
  const plain = await fetch(`${origin}/sync/upload`, { method: 'POST', headers: { ...headers, 'content-encoding': 'Identity' }, body: body(put(1, 'users', uuid(1), john())) })
  t.equal(plain.status, 200, 'identity is no encoding')
})

t.test('shapes of request smuggling are refused, and pipelined requests are served in order, once (B18)', async t => {
  const { sql, port, origin } = await listen(t)
  const one = body(put(1, 'users', uuid(1), john()))
  const hidden = uploadBytes(body(put(666, 'users', uuid(666), john())))
  const shapes: Array<[string, Buffer]> = [
    ['a length and chunks', uploadBytes(Buffer.concat([Buffer.from('0\r\n\r\n'), hidden]), ['Content-Length: 5', 'Transfer-Encoding: chunked'])],
    ['two lengths', uploadBytes(one, [`Content-Length: ${one.length}`, 'Content-Length: 0'])],
    ['a length with a sign', uploadBytes(one, [`Content-Length: +${one.length}`])],
    ['a length in hex', uploadBytes(one, ['Content-Length: 0x10'])],
    ['an unknown coding', uploadBytes(one, ['Transfer-Encoding: xchunked'])],
    ['a blank before the colon', uploadBytes(one, ['Content-Length : 5', 'Content-Length: 5'])],
    ['a chunk size that overflows', uploadBytes('ffffffffffffffffff\r\nx', ['Transfer-Encoding: chunked'])],
    ['a bare line feed in a header', uploadBytes(one, [`X-A: b\nContent-Length: ${one.length}`])]
  ]
  for (const [what, bytes] of shapes) {
    const { socket, received, closed } = await connect(t, port)
    socket.end(bytes)
    await closed
    t.match(received(), /^HTTP\/1\.1 4\d\d /, `${what}: ${received().split('\r\n')[0] as string}`)
    t.notMatch(received(), /"status":"applied"/, `${what}: nothing applied`)
  }
  t.equal((await sql`select from business.users`).length, 0)
  const { socket, received, closed } = await connect(t, port)
  const piped = Array.from({ length: 5 }, (_, i) => uploadBytes(body(put(i + 1, 'users', uuid(1), john(`N${i}`), i)), i === 4 ? ['Connection: close'] : []))
  socket.write(Buffer.concat(piped))
  await closed
  t.strictSame([...received().matchAll(/"new_server_version":(\d)/g)].map(([, version]) => version), ['1', '2', '3', '4', '5'])
  t.equal((await log(sql, 'alice')).length, 5)
  t.equal((await remoteDevice(origin, 'alice').download()).changes.length, 5)
  await assertSound(t, sql, 'alice')
})

t.test('thousands of aborted requests leave no socket, timer, connection or lock behind (C12, G7, G11)', { timeout: 90_000 }, async t => {
  const { app, sql, port, origin } = await listen(t)
  const phone = remoteDevice(origin, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  const full = uploadBytes(body(put(2, 'users', uuid(1), john('Jane'), 1), put(3, 'users', uuid(2), john())))
  const page = Buffer.from('GET /sync/download?include_self=true HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nX-Device: phone\r\n\r\n')
  const abort = async (i: number) => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    const closed = new Promise(resolve => { socket.on('close', resolve) })
    await once(socket, 'connect')
    const bytes = i % 3 === 0 ? page : full
    // Some in their headers, some in their body, some whole and gone before the answer.
    socket.write(bytes.subarray(0, i % 7 === 0 ? bytes.length : 1 + (i * 37) % bytes.length), () => { socket.destroy() })
    await closed
  }
  const many = async (from: number, to: number) => {
    for (let at = from; at < to; at += 50) await Promise.all(Array.from({ length: 50 }, async (_, i) => { await abort(at + i) }))
    await waitFor('all sockets are gone', async () => await new Promise<boolean>((resolve, reject) => {
      app.server.getConnections((error, count) => { if (error === null) resolve(count <= 1); else reject(error) })
    }))
    await waitFor('the database is idle', async () => await held(sql) === 0)
  }
  const resources = () => {
    const counts: Record<string, number> = {}
    for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1
    return counts
  }
  await many(0, 500)
  const before = resources()
  await many(500, 5_000)
  const after = resources()
  for (const name of ['TCPSocketWrap', 'Timeout']) t.ok((after[name] ?? 0) <= (before[name] ?? 0) + 5, `${name}: ${before[name] ?? 0}, then ${after[name] ?? 0}`)
  t.ok((await sql`select from pg_stat_activity where datname = current_database() and application_name = 'listening'`).length <= 2, 'connections of the pool alone')
  const last = await phone.upload([put(2, 'users', uuid(1), john('Jane'), 1), put(3, 'users', uuid(2), john())])
  t.strictSame(verdicts(last), ['2 applied v2', '3 applied v1'], 'whether one of them arrived or not')
  t.equal((await log(sql, 'alice')).length, 3)
  await assertSound(t, sql, 'alice')
})

t.test('a socket that is kept alive over many requests and one that is not are told the same (B19)', async t => {
  const { origin, sql } = await listen(t)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  for (let n = 1; n <= 20; n++) {
    const request = http.request(`${origin}/sync/upload`, { agent, method: 'POST', localAddress: '127.0.0.1', headers: { 'content-type': 'application/json', 'x-user': 'alice', 'x-device': 'phone' } })
    request.end(body(put(n, 'users', uuid(n), john())))
    const [reply] = await once(request, 'response') as [http.IncomingMessage]
    reply.resume()
    await once(reply, 'end')
    t.equal(reply.statusCode, 200)
    t.strictSame(verdicts(await remoteDevice(origin, 'alice').upload([put(n, 'users', uuid(n), john())])), [`${n} applied v1`])
  }
  t.equal((await log(sql, 'alice')).length, 20)
})
