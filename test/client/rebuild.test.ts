import t, { type Test } from 'tap'
import type { RebuildNews } from '../../client/index.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer, reply } from './fake-server.js'

const author = (n: number, name = `Author ${n}`): string => `insert into authors values ('${id(n)}', '${name}', null);`
const row = (n: number, name: string): Record<string, unknown> => ({ id: id(n), name, email: null })
const names = (device: Device): unknown[] => device.all('select name from authors order by id').map(found => found['name'])

function listen (device: Device): RebuildNews[] {
  const news: RebuildNews[] = []
  device.client.on('rebuild', event => { news.push(event) })
  return news
}

/** A device in step with three authors, one of which is deleted since; the server then loses all but the first. */
async function restored (t: Test): Promise<{ server: FakeServer, device: Device, news: RebuildNews[] }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2) + author(3) + author(4))
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'newer' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
  await device.client.syncOnce()
  server.restore(2, 'epoch-2')
  return { server, device, news: listen(device) }
}

t.test('a restored server gets back what it lost: rows, newer versions and deletions (L2, C8, C9)', async t => {
  for (const call of ['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate'] as const) {
    for (const isReopened of [false, true]) {
      const { server, device: before, news: heard } = await restored(t)
      const device = isReopened ? before.reopen() : before
      const news = isReopened ? listen(device) : heard
      device.db.exec(author(5, 'made meanwhile'))
      await device.client[call]()
      t.match(device.client.status(), { epoch: 'epoch-2', rebuild: null }, `${call}: rebuilt by itself`)
      t.not(device.client.status().deviceId, 'phone', 'under a new source id')
      t.same(news, [{ reason: 'history', phase: 'begun' }, { reason: 'history', queued: 4, diverged: 0, removed: 0, phase: 'done' }])
      await device.client.syncOnce()
      t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0, conflicts: 0 })
      t.same(names(device), ['newer', 'Author 3', 'Author 4', 'made meanwhile'])
      t.same([1, 2, 3, 4, 5].map(n => server.payload('authors', id(n))?.['name']), ['newer', undefined, 'Author 3', 'Author 4', 'made meanwhile'])
      t.equal(server.payload('authors', id(2)), null, 'the deletion of a row that the dump had')
      t.same([1, 2, 3].map(n => server.version('authors', id(n))), [2, 2, 1])
    }
  }
})

t.test('a server that is ahead after its restore is taken over; two pasts of a row go by rule, on record (L2)', async t => {
  for (const [rule, wins] of [['serverWins', 'theirs'], ['clientWins', 'ours']] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server, tables: [{ table: 'authors', conflict: rule }, 'posts'] })
    device.db.exec(author(1) + author(2))
    await device.client.syncOnce()
    device.db.exec(`update authors set name = 'ours' where id = '${id(1)}'`)
    await device.client.syncOnce()
    server.restore(2, 'epoch-2')
    server.write('authors', id(1), row(1, 'theirs'))
    server.write('authors', id(2), row(2, 'ahead'))
    await device.client.syncOnce()
    t.same(names(device), [wins, 'ahead'], rule)
    t.same(server.payload('authors', id(1)), row(1, wins))
    t.match(device.client.conflicts(), [{ kind: 'update-update', columns: ['name'], mine: { name: 'ours' }, theirs: { name: 'theirs' }, result: { name: wins } }])
    t.same(Object.keys(device.client.conflicts()[0]?.before ?? {}), ['id', 'email'], 'what was before is told as far as both pasts agree')
    t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
  }
})

t.test('pending and held rows outlive a rebuild', async t => {
  const { server, device } = await restored(t)
  server.refuse = change => change.pk === id(3) ? { reason: 'rejected' } : null
  device.db.exec(`update authors set name = 'refused' where id = '${id(3)}'; update authors set email = 'a@x' where id = '${id(1)}'`)
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: id(3), reason: 'rejected', server: null }])
  t.same(server.payload('authors', id(1)), { id: id(1), name: 'newer', email: 'a@x' })
  server.restore(0, 'epoch-3')
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: id(3), reason: 'rejected' }])
  t.same(names(device), ['newer', 'refused', 'Author 4'])
  t.same(server.payload('authors', id(1)), { id: id(1), name: 'newer', email: 'a@x' }, 'a second restore, of an empty dump')
})

t.test('a row in shadow that the server lost is sent as soon as it has a place', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, tables: ['authors'], sql: 'create table authors (id text primary key, name text not null, email text unique)' })
  server.write('posts', id(9), { id: id(9), title: 'of a newer app', author_id: null })
  await device.client.syncOnce()
  t.equal(device.client.status().shadow, 1)
  server.restore(0, 'epoch-2')
  await device.client.syncOnce()
  t.match(await device.client.signOut().catch((error: unknown) => error), { code: 'unsent_changes', unsent: 1 }, 'it counts as unsent')
  device.db.exec('create table posts (id text primary key, title text not null, author_id text)')
  device = device.reopen({ tables: ['authors', 'posts'] })
  await device.client.syncOnce()
  await device.client.syncOnce()
  t.same(server.payload('posts', id(9)), { id: id(9), title: 'of a newer app', author_id: null })
  t.same(device.all('select title from posts'), [{ title: 'of a newer app' }])
})

t.test('a server that was rewound and kept its epoch is noticed by its numbers, its head or a version (L4)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1) + author(2))
  await device.client.syncOnce()
  server.restore(1)
  await device.reopen().client.syncOnce()
  t.equal(server.payload('authors', id(2))?.['name'], 'Author 2', 'at the handshake')

  const other = createDevice(t, { server })
  await other.client.syncOnce()
  server.write('authors', id(3), row(3, 'three'))
  await other.client.syncOnce()
  server.restore(server.head - 1)
  await other.client.syncOnce()
  t.equal(server.payload('authors', id(3))?.['name'], 'three', 'a cursor beyond the head, in the middle of a session')

  server.write('authors', id(3), row(3, 'four'))
  await other.client.syncOnce()
  const head = server.head
  server.restore(head - 1)
  server.write('authors', id(4), row(4, 'five'))
  other.db.exec(`update authors set name = 'mine' where id = '${id(3)}'`)
  await other.client.syncOnce()
  t.same(server.payload('authors', id(3)), row(3, 'mine'), 'a conflict whose version is older than the base')
  t.same(other.client.held(), [])
})

t.test('a standby that lags or has not heard of the restore triggers nothing (L1, C10)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  await device.client.syncOnce()
  const news = listen(device)
  server.onRequest = async ({ path }, answer) => {
    const response = answer()
    if (path === '/upload') return response
    // It has seen nothing yet: its own head is 0, and so is the highest number it knows of us.
    const page = JSON.parse(await response.text()) as Record<string, unknown>
    return reply(200, JSON.stringify({ ...page, changes: [], has_more: false, next_source_change_id: 1 }))
  }
  device.db.exec(author(2))
  await device.client.syncOnce()
  t.match(device.client.status(), { deviceId: 'phone', rebuild: null, pending: 0, outbox: 0 })
  server.onRequest = ({ path }, answer) => path === '/upload' ? answer() : reply(409, '{"error":"history_changed","message":"Another history."}')
  await t.rejects(device.client.downloadOnce(), { code: 'history_changed', status: 409 })
  t.match(device.client.status(), { deviceId: 'phone', rebuild: null, epoch: 'epoch-1' }, 'primary and file agree')
  t.same(news, [])
})

t.test('another url with another history stops until the app agrees; a server that moved does not (L9)', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, url: 'http://one.test/sync/' })
  device.db.exec(author(1))
  await device.client.syncOnce()
  const before = device.client.status()
  device = device.reopen({ url: 'HTTP://ONE.test:80/sync' })
  await device.client.syncOnce()
  device = device.reopen({ url: 'http://two.test/sync' })
  await device.client.syncOnce()
  t.match(device.client.status(), { deviceId: before.deviceId, cursor: before.cursor }, 'the same history at another address')

  const other = new FakeServer()
  other.epoch = 'of another environment'
  device = device.reopen({ server: other, url: 'http://three.test/sync' })
  device.db.exec(author(2))
  for (const call of ['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate'] as const) {
    await t.rejects(async () => device.client[call](), { code: 'history_changed', message: /last in step with http:\/\/two\.test\/sync/, retry: false }, call)
  }
  t.match(device.client.status(), { pending: 1, outbox: 0, rebuild: null, epoch: 'epoch-1', lastError: { code: 'history_changed' } })
  t.equal(other.log.length, 0, 'nothing was mixed in')
  t.equal(other.downloads.length, 0)

  await device.client.rebuild()
  await device.client.syncOnce()
  t.same([1, 2].map(n => other.payload('authors', id(n))?.['name']), ['Author 1', 'Author 2'])

  const third = new FakeServer()
  third.epoch = 'a third'
  device = device.reopen({ server: third, url: 'http://four.test/sync', onServerChange: 'rebuild' })
  await device.client.syncOnce()
  t.equal(third.log.length, 2, 'by option')
})

t.test('rebuild() compares everything, and changes nothing where all is well', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1) + author(2))
  server.write('authors', id(3), row(3, 'three'))
  await device.client.syncOnce()
  device.db.exec(author(4))
  const report = await device.client.rebuild()
  t.match(report.rebuilt, { reason: 'history', queued: 0, diverged: 0, removed: 0 })
  await device.client.syncOnce()
  t.equal(server.log.length, 4)
  t.same(names(device), ['Author 1', 'Author 2', 'three', 'Author 4'])
  t.match(device.client.status(), { pending: 0, outbox: 0, conflicts: 0 })
})

/** A device whose cursor has expired: the peer deleted two of its rows, and the server has forgotten that. */
async function expired (t: Test): Promise<{ server: FakeServer, device: Device }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  for (let n = 1; n <= 6; n++) device.db.exec(author(n))
  device.db.exec(`insert into posts values ('${id(11)}', 'kept', null, '${id(1)}'), ('${id(12)}', 'goes with its author', null, '${id(2)}')`)
  await device.client.syncOnce()
  server.write('posts', id(12), null)
  for (const n of [2, 3]) server.write('authors', id(n), null)
  server.write('authors', id(7), row(7, 'new'))
  server.compact(server.head - 1)
  device.db.exec(`update authors set name = 'edited' where id = '${id(3)}'; update authors set name = 'mine' where id = '${id(4)}'`)
  return { server, device }
}

t.test('an expired cursor: everything again, and rows that are gone are removed unless they carry local work (J5)', async t => {
  const { server, device } = await expired(t)
  const news = listen(device)
  await device.client.downloadOnce()
  t.same(news, [{ reason: 'expired', phase: 'begun' }, { reason: 'expired', queued: 0, diverged: 0, removed: 2, phase: 'done' }])
  t.same(names(device), ['Author 1', 'edited', 'mine', 'Author 5', 'Author 6', 'new'])
  t.same(device.all('select title from posts'), [{ title: 'kept' }])
  t.match(device.client.status(), { deviceId: 'phone', pending: 2, rebuild: null, shadow: 0 })
  await device.client.syncOnce()
  t.same(names(device), ['Author 1', 'mine', 'Author 5', 'Author 6', 'new'], 'an edit of a deleted row goes by rule')
  t.match(device.client.conflicts(), [{ kind: 'update-delete', key: id(3) }])
  t.equal(server.payload('authors', id(4))?.['name'], 'mine')
})

t.test('a rebuild that breaks off shows nothing, goes on where it was, and begins again where the cursor expires again (J7)', async t => {
  const { server, device: before } = await expired(t)
  server.pageSize = 2
  let pages = 0
  server.onRequest = ({ path }, answer) => {
    if (path === '/download' && ++pages === 4) throw new TypeError('lost')
    return answer()
  }
  const shown = names(before)
  await t.rejects(before.client.downloadOnce(), { code: 'network' })
  t.match(before.client.status(), { rebuild: 'expired', cursor: 0 })
  t.same(names(before), shown, 'half a window is not shown')
  const device = before.reopen()
  const asked = server.downloads.length
  pages = 10
  await device.client.downloadOnce()
  t.not(server.downloads[asked]?.get('after'), '0', 'it goes on with the page that is missing')
  t.equal(server.downloads[asked]?.get('floor'), String(server.floor), 'reading below the floor that its first page named')
  t.equal(device.client.status().rebuild, null)
  t.equal(names(device).length, 6)

  const again = await expired(t)
  again.server.pageSize = 2
  let isFirst = true
  again.server.onRequest = ({ path, query }, answer) => {
    if (path === '/download' && isFirst && query.get('after') !== '0' && again.device.client.status().rebuild !== null) {
      isFirst = false
      again.server.write('authors', id(5), null)
      again.server.compact(again.server.head)
    }
    return answer()
  }
  await again.device.client.downloadOnce()
  t.same(names(again.device), ['Author 1', 'edited', 'mine', 'Author 6', 'new'])
  t.match(again.device.client.status(), { pending: 2, rebuild: null })
})

t.test('an outbox outlives an expired cursor, and its batch is judged once (J5)', async t => {
  const { server, device } = await expired(t)
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes('"payload"') === true) throw new TypeError('lost reply')
    return response
  }
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  server.onRequest = (_, answer) => answer()
  await device.client.downloadOnce()
  t.match(device.client.status(), { outbox: 2, deviceId: 'phone' })
  await device.client.syncOnce()
  t.equal(server.version('authors', id(4)), 2, 'applied once')
  t.match(device.client.status(), { pending: 0, outbox: 0, shadow: 0 })
})

t.test('a server that refuses every history, or every cursor, ends with a typed error (L2, J7)', async t => {
  for (const [code, status] of [['history_changed', 409], ['cursor_expired', 410]] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    device.db.exec(author(1))
    await device.client.syncOnce()
    let requests = 0
    let epoch = 1
    server.onRequest = ({ path, body }, answer) => {
      requests++
      if (code === 'history_changed') server.epoch = `another-${++epoch}`
      return path === '/upload' && body?.includes('"changes":[]') === true ? answer() : reply(status, `{"error":"${code}","message":"No."}`)
    }
    device.db.exec(author(2))
    await t.rejects(device.client.syncOnce(), { code, status })
    t.ok(requests < 20, `${requests} requests`)
    t.match(device.client.status(), { rebuild: code === 'history_changed' ? 'history' : 'expired' }, 'the next call goes on with it')
    server.onRequest = (_, answer) => answer()
    await device.client.syncOnce()
    t.match(device.client.status(), { pending: 0, outbox: 0, rebuild: null })
    t.same(names(device), ['Author 1', 'Author 2'])
  }
})

t.test('a batch that was applied unheard before the file became a copy is the base of later edits, not their rival (D8, D9)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2))
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'sent' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes('"source_change_id"') === true) throw new TypeError('lost reply')
    return response
  }
  await t.rejects(device.client.uploadOnce())
  device.db.exec(`update authors set name = 'edited since' where id = '${id(1)}'` + ';' + author(2, 'made again'))
  server.onRequest = (_, answer) => answer()
  server.claimIds('phone', 50) // another copy went on
  await device.reopen().client.syncOnce()
  t.same([1, 2].map(n => server.payload('authors', id(n))?.['name']), ['edited since', 'made again'])
  t.same(device.reopen().client.conflicts(), [])
})

t.test('a server that was put back to a row of an older version of the app gets back the column that it lost with the newer one (P1, P15)', async t => {
  for (const [name, theirs] of [['base', null], ['same', 'same']] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    server.write('authors', id(1), { id: id(1), name: 'base' })
    await device.client.syncOnce()
    device.db.exec(`update authors set name = '${name}', email = 'mine@x'`)
    await device.client.syncOnce()
    server.restore(1, 'epoch-2')
    if (theirs !== null) server.write('authors', id(1), { id: id(1), name: theirs }) // the older version goes on
    await device.client.syncOnce()
    t.same(server.payload('authors', id(1)), { id: id(1), name, email: 'mine@x' })
    t.same(device.all('select name, email from authors'), [{ name, email: 'mine@x' }])
    t.same(device.client.conflicts(), [])
  }
})

t.test('what was sent unheard is known again where the server keeps a column to itself: the edit since then stands', async t => {
  const server = new FakeServer()
  let lose = false
  const strip = (text: string): string => text.replaceAll(/,"body":"[^"]*"/g, '')
  server.onRequest = async ({ path, body }, answer) => {
    const answered = strip(await answer().text())
    if (path === '/upload' && lose && JSON.parse(body ?? '{}').changes.length > 0) throw new Error('lost')
    return reply(200, answered)
  }
  let device = createDevice(t, { server })
  device.db.exec(`insert into posts (id, title, body) values ('${id(1)}', 'a', 'mine')`)
  await device.client.syncOnce()
  device.db.exec("update posts set title = 'b'")
  lose = true
  await t.rejects(device.client.uploadOnce())
  lose = false
  device.db.exec("update posts set title = 'c'")
  // The reply was lost, and another copy of the file used the next id: a new source id.
  server.claimIds((device.all('select source_id from _sync_client')[0] as { source_id: string }).source_id, 50)
  device = device.reopen()
  await device.client.syncOnce()
  await device.client.syncOnce()
  t.strictSame(device.all('select title, body from posts'), [{ title: 'c', body: 'mine' }])
  t.strictSame(device.client.conflicts(), [])
  t.strictSame(device.pending(), [])
})
