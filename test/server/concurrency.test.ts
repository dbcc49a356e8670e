import postgres from 'postgres'
import t, { type Test } from 'tap'
import { MAX_QUEUED_UPLOADS } from '../../src/limits.js'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdicts, type Caller, type World } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { holdUser, lockWaiter } from '../helpers/locks.js'
import { createBusinessSchema, SYNCED_TABLES } from '../../examples/server/business-schema.js'
import type { UploadResponse } from '../../src/index.js'

/** Two apps on one database: two processes of the server, each with a queue and a pool of its own. */
async function twoServers (t: Test): Promise<World & { there: World['user'] }> {
  const world = await buildApp(t)
  const second = await startApp(t, { database: world.url })
  return { ...world, there: (userId, deviceId, options) => caller(second, userId, deviceId, options) }
}

t.test('a slow upload and a fast one of one user: a reader between them skips nothing (A1, P8, P9)', async t => {
  const { user, there, sql } = await twoServers(t)
  const [slow, fast, reader] = [user('alice', 'slow'), there('alice', 'fast'), user('alice', 'reader')]
  await slow.upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const slowReply = slow.upload([put(2, 'users', uuid(1), john('Slow'), 1), put(3, 'users', uuid(2), john('Slow'))])
  await lockWaiter(sql, 1)
  const fastReply = fast.upload([put(1, 'users', uuid(3), john('Fast'))])
  await lockWaiter(sql, 2)
  const between = await reader.download()
  t.strictSame(between.changes.map(({ server_id: position }) => position), [1], 'nothing shows before it is committed')
  await release()
  t.strictSame([verdicts(await slowReply), verdicts(await fastReply)], [['2 applied v2', '3 applied v1'], ['1 applied v1']])
  const after = await reader.download({ after: between.next_after })
  t.strictSame(after.changes.map(({ server_id: position, source_id: source }) => `${position} ${source}`), ['2 slow', '3 slow', '4 fast'])
  await assertSound(t, sql, 'alice')
})

t.test('while devices upload at once, a reader\'s cursor never passes anything by (P8, P9, A14)', async t => {
  const { user, there, sql } = await twoServers(t)
  const writers = [user('alice', 'a'), there('alice', 'b'), user('alice', 'c'), there('alice', 'd')]
  let isDone = false
  const uploads = Promise.all(writers.map(async (device, d) => {
    for (let n = 1; n <= 25; n++) t.strictSame(verdicts(await device.upload([put(2 * n, 'users', uuid(1000 * d + n), john()), put(2 * n + 1, 'posts', uuid(1000 * d + n), { title: 't', author_id: uuid(1000 * d + n) })])).filter(line => !line.endsWith('applied v1')), [])
  })).finally(() => { isDone = true })
  const reader = user('alice', 'reader')
  const seen: number[] = []
  for (let after = 0, last = false; !last;) {
    last = isDone
    const { changes, next_after: next } = await reader.download({ after, limit: 7 })
    seen.push(...changes.map(({ server_id: position }) => position))
    if (next > after) last = false
    after = next
  }
  await uploads
  t.strictSame(seen, Array.from({ length: 200 }, (_, i) => i + 1), 'each position once, in order')
  await assertSound(t, sql, 'alice')
})

t.test('one row, one base, at once: one is applied, the others see the winner (A2, P7)', async t => {
  const { user, there, sql } = await twoServers(t)
  await user('alice').upload([put(1, 'users', uuid(1), john())])
  for (let round = 1; round <= 10; round++) {
    const devices = [user('alice', 'a'), there('alice', 'b'), there('alice', 'c')]
    const replies = await Promise.all(devices.map(async (device, i) => await device.upload([put(round, 'users', uuid(1), john(`Round${round}of${i}`), round)])))
    const winners = replies.filter(({ statuses }) => statuses[0]?.status === 'applied')
    t.equal(winners.length, 1, `round ${round}`)
    const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select name from business.users`
    for (const { statuses: [status] } of replies) if (status?.status === 'conflict') t.match(status.server_row, { server_version: round + 1, payload: { name } })
  }
  await assertSound(t, sql, 'alice')
})

t.test('one request, delivered to two servers at once: one effect, the same verdicts (A3, B6, P2)', async t => {
  const { user, there, sql } = await twoServers(t)
  for (let round = 1; round <= 10; round++) {
    const changes = [put(3 * round, 'users', uuid(2 * round), john()), put(3 * round + 1, 'users', uuid(2 * round), john('Jane'), 1), del(3 * round + 2, 'users', uuid(2 * round), 2), put(1000 + round, 'typed_rows', uuid(round), { note: 'x'.repeat(1001) })]
    const replies = await Promise.all([user('alice').upload(changes), there('alice').upload(changes), user('alice').upload(changes)])
    const brief = replies.map(({ statuses }) => statuses.map(status => `${status.source_change_id} ${status.status} ${status.status === 'applied' ? status.new_server_version as number : ''}`))
    t.strictSame(brief[0], [`${3 * round} applied 1`, `${3 * round + 1} applied 2`, `${3 * round + 2} applied 3`, `${1000 + round} invalid `])
    t.strictSame(brief[1], brief[0])
    t.strictSame(brief[2], brief[0])
    t.equal((await log(sql, 'alice')).length, 3 * round)
  }
  await assertSound(t, sql, 'alice')
})

t.test('first requests of a new user at once, to two servers, make one stream', async t => {
  const { user, there, sql } = await twoServers(t)
  for (let round = 1; round <= 5; round++) {
    const name = `user ${round}`
    const make = (device: Caller, n: number) => device.uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(100 * round + n), john())] }))
    const replies = await Promise.all([
      make(user(name, 'a'), 1), make(there(name, 'b'), 2), user(name, 'c').request({ url: '/download' }), there(name, 'd').request({ url: '/status' }), make(there(name, 'a'), 1), user(name, 'e').uploadText('{}')
    ])
    t.strictSame(replies.map(({ statusCode }) => statusCode), [200, 200, 200, 200, 200, 200], name)
    t.equal(new Set(replies.map(reply => (JSON.parse(reply.body) as UploadResponse).epoch)).size, 1, `${name}: one epoch`)
    t.equal((await log(sql, name)).length, 2, `${name}: two changes`)
    await assertSound(t, sql, name)
  }
})

t.test('users with the same keys at once: one has each of them, the others are told (A24)', async t => {
  const { user, there, sql } = await twoServers(t)
  const names = ['alice', 'bob', 'carol', 'dave']
  const changes = Array.from({ length: 20 }, (_, i) => put(i + 1, 'users', uuid(i + 1), john()))
  const replies = await Promise.all(names.map(async (name, i) => {
    const device = (i % 2 === 0 ? user : there)(name)
    // Different orders are what deadlocks are made of.
    const { statuses } = await device.upload(i < 2 ? changes : [...changes].reverse())
    return statuses
  }))
  const all = replies.flat()
  t.equal(all.filter(({ status }) => status === 'applied').length, 20)
  t.ok(all.every(status => status.status === 'applied' || (status.status === 'invalid' && status.invalid.reason === 'not_owner')))
  t.equal((await sql`select from business.users`).length, 20)
  for (const name of names) await assertSound(t, sql, name)
})

t.test('servers that start at once on an empty database make one schema (C2)', async t => {
  for (let round = 0; round < 3; round++) {
    const { url, sql } = await freshDb(t)
    await createBusinessSchema(sql)
    const apps = await Promise.all(Array.from({ length: 4 }, async () => await startApp(t, { database: url })))
    t.equal((await sql`select from sync.meta`).length, 1)
    t.strictSame((await sql`select table_name from sync.synced_table order by table_id`).map(row => `business.${row['table_name'] as string}`).sort(), SYNCED_TABLES.map(({ table }) => table).sort())
    for (const [i, app] of apps.entries()) t.strictSame(verdicts(await caller(app, 'alice', `device ${i}`).upload([put(1, 'users', uuid(i), john())])), ['1 applied v1'])
    await assertSound(t, sql, 'alice')
  }
})

t.test('uploads of one user wait in a queue with an end, and the others are told to come later (A16, G7)', async t => {
  const { user, sql } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const first = user('alice').upload([put(2, 'users', uuid(1), john('Jane'), 1)])
  await lockWaiter(sql, 1)
  const waiting = Array.from({ length: MAX_QUEUED_UPLOADS - 1 }, async (_, i) => await user('alice', `device ${i}`).uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(10 + i), john())] })))
  const beyond = await Promise.all([1, 2, 3].map(async () => await user('alice', 'late').uploadText('{}')))
  for (const { statusCode, headers, body } of beyond) {
    t.equal(`${statusCode} ${JSON.parse(body).error as string}`, '429 too_many_requests')
    t.match(headers['retry-after'], /^[1-9]\d*$/)
  }
  t.equal((await user('bob').uploadText('{}')).statusCode, 200, 'another user has a queue of his own')
  t.equal((await user('alice').request({ url: '/download' })).statusCode, 200, 'downloads do not wait')
  await release()
  t.strictSame(verdicts(await first), ['2 applied v2'])
  t.ok((await Promise.all(waiting)).every(({ statusCode }) => statusCode === 200), 'who waited was served')
  t.equal((await user('alice', 'late').uploadText('{}')).statusCode, 200, 'and the queue is free again')
  await assertSound(t, sql, 'alice')
})

t.test('one busy user takes one connection of the pool, not all (A16)', async t => {
  const { sql, url } = await buildApp(t)
  const client = postgres(url, { max: 2, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: client })
  await caller(app, 'alice').upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const busy = Array.from({ length: 20 }, async (_, i) => await caller(app, 'alice', `device ${i}`).upload([put(1, 'users', uuid(1), john('Jane'), 1)]))
  await lockWaiter(sql, 1)
  for (let n = 1; n <= 5; n++) t.strictSame(verdicts(await caller(app, 'bob').upload([put(n, 'users', uuid(100 + n), john())])), [`${n} applied v1`])
  t.equal((await caller(app, 'bob', 'pad').download()).changes.length, 5)
  await release()
  t.equal((await Promise.all(busy)).filter(({ statuses }) => statuses[0]?.status === 'applied').length, 1)
  await assertSound(t, sql, 'alice')
})

t.test('an app that closes finishes what is under way (C3)', async t => {
  const { sql, url } = await buildApp(t)
  const app = await startApp(t, { database: url })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const address = app.addresses()[0] as { port: number }
  const post = async (changes: object[]) => await fetch(`http://127.0.0.1:${address.port}/sync/upload`, { method: 'POST', headers: { 'content-type': 'application/json', connection: 'close', 'x-user': 'alice', 'x-device': 'phone' }, body: JSON.stringify({ changes }) })
  await (await post([put(1, 'users', uuid(1), john())])).text()
  const release = await holdUser(t, sql, uuid(1))
  const underWay = post([put(2, 'users', uuid(1), john('Jane'), 1)])
  await lockWaiter(sql, 1)
  const closed = app.close()
  await release()
  const reply = await underWay
  t.equal(reply.status, 200)
  t.strictSame(verdicts(await reply.json() as UploadResponse), ['2 applied v2'])
  await closed
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 1 U v2'])
  await t.rejects(app.oversync.upload({ userId: 'alice', deviceId: 'phone' }, '{}'), { code: 'unavailable' }, 'and takes nothing more')
})
