// The loop of a real client on a real file, in a world whose time the test moves.
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import type { Driver, LoopState, SyncClient, SyncClientOptions, SyncEvents } from '../../client/index.js'
import { openClient } from '../../client/sync-client.js'
import { id, SCHEMA } from './device.js'
import { FakeServer, reply } from './fake-server.js'
import { FakeWorld } from './fake-world.js'

interface Stage {
  db: Database.Database
  client: SyncClient
  server: FakeServer
  world: FakeWorld
  /** Resolves when the loop comes to this state. */
  reach: (state: LoopState) => Promise<void>
}

function createStage (t: Test, { wrap = driver => driver, ...options }: Partial<SyncClientOptions> & { wrap?: (driver: Driver) => Driver } = {}): Stage {
  const db = new Database(':memory:')
  db.exec(SCHEMA)
  const server = new FakeServer()
  const world = new FakeWorld()
  const client = openClient(wrap(betterSqlite3(db)), {
    url: 'http://server.test/sync', schema: 'business', tables: ['authors', 'posts'], userId: 'ann', fetch: server.fetch, ...options
  }, world)
  t.teardown(async () => {
    await client.close()
    db.close()
    if (world.timers.size + world.watchers.size > 0) throw new Error('something is armed after close')
  })
  const reach = (state: LoopState): Promise<void> => new Promise(resolve => {
    if (client.status().state === state) return resolve()
    const off = client.on('status', status => {
      if (status.state !== state) return
      off()
      resolve()
    })
  })
  return { db, client, server, world, reach }
}

/** Everything a client tells, in order. */
function listen (client: SyncClient): Array<[keyof SyncEvents, unknown]> {
  const heard: Array<[keyof SyncEvents, unknown]> = []
  for (const name of ['status', 'progress', 'conflict', 'held', 'change', 'error'] as const) client.on(name, event => heard.push([name, event]))
  return heard
}

t.test('start syncs, a local write goes up within a second, a change of another device comes with the poll', async t => {
  const { db, client, server, world, reach } = createStage(t)
  t.equal(client.status().state, 'stopped')
  client.start()
  await reach('idle')
  db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  world.pass(1_000)
  await reach('idle')
  t.strictSame(server.payload('authors', id(1)), { id: id(1), name: 'One', email: null })
  const requests = server.downloads.length
  server.write('authors', id(2), { id: id(2), name: 'Two', email: null })
  world.pass(29_999)
  t.equal(server.downloads.length, requests)
  world.pass(1)
  await reach('idle')
  t.equal(db.prepare('select count(*) from authors').pluck().get(), 2)
})

t.test('events: status, progress with totals, changed tables, conflicts and held rows, each once and after the fact', async t => {
  const { db, client, server, reach } = createStage(t, { uploadBatchSize: 2, downloadLimit: 2 })
  for (let n = 1; n <= 5; n++) server.write('authors', id(n), { id: id(n), name: `Author ${n}`, email: null })
  server.refuse = ({ pk }) => pk === id(9) ? { reason: 'rejected', message: 'No.' } : null
  for (let n = 5; n <= 9; n++) db.prepare('insert into authors values (?, ?, null)').run(id(n), `Mine ${n}`)
  const heard = listen(client)
  const seen: number[] = []
  client.on('change', () => seen.push(db.prepare('select count(*) from authors').pluck().get() as number))
  client.start()
  await reach('idle')
  const of = (name: keyof SyncEvents): unknown[] => heard.filter(([heard]) => heard === name).map(([, event]) => event)
  t.match(of('status'), [{ state: 'running' }, { state: 'idle', pending: 0, held: 1, conflicts: 1 }])
  t.strictSame(of('progress'), [
    { phase: 'upload', done: 2, total: 5 }, { phase: 'upload', done: 4, total: 5 }, { phase: 'upload', done: 5, total: 5 },
    { phase: 'download', done: 2, total: 8 }, { phase: 'download', done: 4, total: 8 }, { phase: 'download', done: 8, total: 8 }
  ])
  t.match(of('conflict'), [{ table: 'authors', key: id(5), mine: { name: 'Mine 5' }, theirs: { name: 'Author 5' } }])
  t.match(of('held'), [{ table: 'authors', key: id(9), reason: 'rejected', message: 'No.' }])
  t.equal(of('held').length + of('conflict').length, 2)
  t.strictSame(of('change'), [{ tables: ['authors'] }, { tables: ['authors'] }])
  t.equal(seen.at(-1), 9, 'what a listener reads is what it was told of')
  t.strictSame(of('error'), [])
})

t.test('a listener that throws is reported and disturbs nothing; one that was removed hears nothing', async t => {
  const { client, reach } = createStage(t)
  const thrown: unknown[] = []
  const own = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', error => thrown.push(error))
  t.teardown(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of own) process.on('uncaughtException', listener)
  })
  let heard = 0
  client.on('status', () => { throw new Error('mine') })
  client.on('status', () => { heard++ })
  client.on('status', () => { heard += 100 })()
  client.start()
  await reach('idle')
  t.equal(heard, 2)
  t.match(thrown, [{ message: 'mine' }, { message: 'mine' }])
})

t.test('a network that goes and comes leaves nothing behind but a wait (B12, B13)', async t => {
  const { db, client, server, world, reach } = createStage(t)
  const heard = listen(client)
  const answer = server.onRequest
  server.onRequest = () => { throw new TypeError('fetch failed') }
  db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  client.start()
  for (let n = 1; n <= 4; n++) {
    await reach('backoff')
    world.pass(8_000)
  }
  await reach('backoff')
  t.ok(heard.filter(([name]) => name === 'error').length >= 5)
  t.match(heard.find(([name]) => name === 'error'), ['error', { code: 'network', retry: true }])
  db.exec(`update authors set name = 'Uno'; insert into authors values ('${id(2)}', 'Two', null)`)
  server.onRequest = answer
  world.pass(16_000)
  await reach('idle')
  t.strictSame([...server.rows.values()].map(({ payload }) => JSON.parse(payload as string).name), ['Uno', 'Two'])
  t.equal(client.status().lastError, null)
})

t.test('a captive portal and a proxy that is overloaded are waited for; then the day goes on (B14, B15)', async t => {
  const { client, server, world, reach } = createStage(t)
  const replies = [
    () => new Response('<html>Log in</html>', { headers: { 'content-type': 'text/html' } }),
    () => new Response(null, { status: 302, headers: { location: 'http://portal' } }),
    () => reply(503, '{"error":"unavailable","message":"Later."}', { 'retry-after': '40' })
  ]
  const errors: unknown[] = []
  client.on('error', error => errors.push((error as { code?: string }).code))
  server.onRequest = (_, answer) => replies.shift()?.() ?? answer()
  client.start()
  await reach('backoff')
  world.pass(1_000)
  await reach('backoff')
  world.pass(2_000)
  await reach('backoff')
  world.pass(39_999)
  t.equal(client.status().state, 'backoff')
  world.pass(1)
  await reach('idle')
  t.strictSame(errors, ['not_json', 'redirected', 'unavailable'])
})

t.test('a token that ran out is renewed once; a sign-in that is needed blocks until the app wakes the loop (I2, E3)', async t => {
  const asked: boolean[] = []
  let token = 'old'
  let valid = 'new'
  const { db, client, server, reach } = createStage(t, {
    getToken ({ refresh }) {
      asked.push(refresh)
      if (refresh) token = 'new'
      return token
    }
  })
  server.onRequest = ({ headers }, answer) => headers.get('authorization') === `Bearer ${valid}` ? answer() : reply(401, '{"error":"authentication_failed","message":"Who?"}')
  db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  client.start()
  await reach('idle')
  t.strictSame(asked.slice(0, 3), [false, true, false])
  t.equal(server.rows.size, 1)
  valid = 'newest'
  db.exec("update authors set name = 'Uno'")
  client.wake()
  await reach('blocked')
  t.match(client.status(), { outbox: 1, lastError: { code: 'authentication_failed' } })
  token = 'newest'
  client.wake()
  await reach('idle')
  t.equal(server.payload('authors', id(1))?.['name'], 'Uno')
})

t.test('stop and close end a request that hangs, and what was frozen goes again later (B11)', async t => {
  for (const how of ['stop', 'close'] as const) {
    const { db, client, server } = createStage(t)
    let aborted = 0
    db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
    const hanging = new Promise<void>(resolve => {
      server.onRequest = ({ body }, answer) => body?.includes('source_change_id') === true ? new Promise(() => resolve()) : answer()
    })
    const fetch = server.fetch
    const again = openClient(betterSqlite3(db), {
      url: 'http://server.test/sync',
      tables: ['authors', 'posts'],
      userId: 'ann',
      fetch (url, init) {
        init.signal?.addEventListener('abort', () => aborted++)
        return fetch(url, init)
      }
    }, new FakeWorld())
    again.start()
    await hanging
    await again[how]()
    t.equal(aborted, 1, `${how} aborts the request`)
    server.onRequest = (_, answer) => answer()
    t.equal(client.status().outbox, 1)
    await client.syncOnce()
    t.equal(server.log.length, 1)
    if (how === 'close') await t.rejects(again.syncOnce(), { code: 'closed' })
    else await again.close()
  }
})

t.test('calls of the app take their turn with the loop, and its abort signal ends them alone', async t => {
  const { client, server, reach } = createStage(t)
  client.start()
  const [first, second] = await Promise.all([client.syncOnce(), client.downloadOnce()])
  t.equal(first.drained, true)
  t.equal(second.pages, 1)
  await reach('idle')
  server.onRequest = () => new Promise(() => {})
  const abort = new AbortController()
  const call = client.syncOnce({ signal: abort.signal })
  abort.abort(new Error('enough'))
  await t.rejects(call, { code: 'aborted' })
  server.onRequest = (_, answer) => answer()
  t.equal((await client.syncOnce()).drained, true)
})

t.test('one process at a time: a call waits for the other, the loop looks again later (A19)', async t => {
  let isTaken = true
  let taken = 0
  const { client, world, reach } = createStage(t, {
    timeoutMs: 250,
    wrap: driver => Object.create(driver, {
      lockRun: { value: () => isTaken ? null : (taken++, () => { taken-- }) }
    }) as Driver
  })
  await t.rejects(client.syncOnce(), { code: 'sync_elsewhere', retry: true })
  client.start()
  await reach('elsewhere')
  isTaken = false
  world.pass(5_000)
  await reach('idle')
  t.equal(taken, 0, 'the lock is let go after a run')
  isTaken = true
  const abort = new AbortController()
  const call = client.uploadOnce({ signal: abort.signal })
  abort.abort()
  await t.rejects(call, { code: 'aborted' })
})

t.test('the app writes in a transaction of its own while the loop looks: the look waits', async t => {
  const { db, client, server, world, reach } = createStage(t)
  client.start()
  await reach('idle')
  db.exec(`begin; insert into authors values ('${id(1)}', 'One', null)`)
  world.pass(3_000)
  t.equal(client.status().state, 'idle')
  db.exec('commit')
  world.pass(1_000)
  await reach('idle')
  t.equal(server.rows.size, 1)
})

t.test('a laptop that slept for days in the middle of a request gives it up, renews its token and goes on (E5)', async t => {
  let token = 'of monday'
  const { db, client, server, world, reach } = createStage(t, {
    timeoutMs: 30,
    getToken ({ refresh }) {
      if (refresh) token = 'of thursday'
      return token
    }
  })
  db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  server.onRequest = () => new Promise(() => {}) // the socket is gone, and nobody says so
  client.start()
  await reach('backoff')
  t.match(client.status().lastError, { code: 'timeout' })
  server.onRequest = ({ headers }, answer) => headers.get('authorization') === 'Bearer of thursday' ? answer() : reply(401, '{"error":"authentication_failed","message":"Expired."}')
  world.pass(3 * 24 * 3600_000)
  await reach('idle')
  t.equal(server.rows.size, 1)
})

t.test('a notice of a write starts a run where the loop is idle, and cuts through no wait after a failure (B15)', async t => {
  const { db, client, server, world, reach } = createStage(t, { localCheckMs: 0 })
  client.start()
  await reach('idle')
  const write = (n: number): void => {
    db.exec(`insert into authors values ('${id(n)}', 'Author', null)`)
    client.noticeWrite()
  }
  write(1)
  t.equal(client.status().state, 'running')
  await reach('idle')
  t.equal(server.rows.size, 1)
  client.noticeWrite()
  t.equal(client.status().state, 'idle', 'where nothing is to be sent there is no run')

  let requests = 0
  server.onRequest = () => { requests++; return reply(503, '{"error":"unavailable","message":"Busy."}', { 'retry-after': '60' }) }
  write(2)
  await reach('backoff')
  const before = requests
  write(3)
  write(4)
  world.pass(30_000)
  t.equal(client.status().state, 'backoff')
  t.equal(requests, before, 'the server asked for a minute')
  server.onRequest = (_, answer) => answer()
  world.pass(60_000)
  await reach('idle')
  t.equal(server.rows.size, 4)

  let open = (): void => {}
  const gate = new Promise<void>(resolve => { open = resolve })
  server.onRequest = async (_, answer) => {
    await gate
    return answer()
  }
  client.wake()
  t.equal(client.status().state, 'running')
  const sent = new Promise<void>(resolve => client.on('status', ({ state }) => {
    if (state !== 'idle') return
    if (server.rows.size === 5) resolve()
    else queueMicrotask(() => world.pass(0))
  }))
  await new Promise(resolve => setImmediate(resolve)) // until the run waits for the server
  write(5)
  open()
  await sent
  t.equal(server.rows.size, 5, 'a write during a run is seen after it, also where the loop does not look by itself')
})
