import net from 'node:net'
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

t.test('a server that is killed at any point of an upload: nothing or everything, and another one tells which (C1, P1, P2, P6)', { timeout: 300_000 }, async t => {
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
