import Database from 'better-sqlite3'
import t from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import type { Driver } from '../../client/drivers/driver.js'
import { createSyncClient, type SyncClientOptions } from '../../client/index.js'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

/** Faults that a review found, each in the story that showed it. */

const author = (n: number, email: string | null, name = 'x') => ({ id: id(n), name, email })

t.test('P13: a conflict clause in the app\'s own schema does not let a download remove unsent work', async t => {
  for (const clause of ['replace', 'ignore', 'rollback', 'fail']) {
    const server = new FakeServer()
    const device = createDevice(t, { server, tables: ['authors'], sql: `create table authors (id text primary key, name text not null, email text unique on conflict ${clause})` })
    await device.client.syncOnce()
    device.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'mine', 'same')
    server.write('authors', id(2), author(2, 'same'))
    server.write('authors', id(3), author(3, 'other'))
    await device.client.downloadOnce()
    t.equal(device.all('select 1 from authors where id = ?', id(1)).length, 1, `${clause}: the local row is still there`)
    t.equal(device.all('select 1 from authors where id = ?', id(3)).length, 1, `${clause}: its neighbour arrived`)
    t.strictSame(device.client.shadow().map(({ key, reason }) => [key, reason]), [[id(2), 'unique']], `${clause}: the row that collides waits, and says why`)
  }
})

t.test('P12: INSERT OR REPLACE that removes a row through a default or a rowid is noted', async t => {
  const bySlot = createDevice(t, { server: new FakeServer(), tables: ['authors'], sql: 'create table authors (id text primary key, name text, slot integer not null default 0 unique)' })
  bySlot.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'a', 0)
  await bySlot.client.syncOnce()
  bySlot.db.prepare('insert or replace into authors values (?, ?, ?)').run(id(2), 'b', null)
  t.strictSame(bySlot.pending().sort(), [`authors:${id(1)}`, `authors:${id(2)}`])

  const byRowid = createDevice(t, { server: new FakeServer(), tables: ['authors'], sql: 'create table authors (id text primary key, name text)' })
  byRowid.db.prepare('insert into authors values (?, ?)').run(id(1), 'a')
  await byRowid.client.syncOnce()
  byRowid.db.prepare('insert or replace into authors (rowid, id, name) values (1, ?, ?)').run(id(2), 'b')
  t.strictSame(byRowid.pending().sort(), [`authors:${id(1)}`, `authors:${id(2)}`])
})

t.test('P14: a row that made way and was then overtaken is not thrown back to its old version', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1, 'a'))
  server.write('authors', id(2), author(2, 'b'))
  await device.client.syncOnce()
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(3), 'mine', 'p')
  server.write('authors', id(2), author(2, 'a'))
  server.write('authors', id(1), author(1, 'p', 'newer'))
  server.refuse = change => change.pk === id(3) ? { reason: 'constraint_violation' } : null
  await device.client.syncOnce()
  for (const row of device.client.held()) device.client.discardHeld(row.id)
  for (let i = 0; i < 3; i++) await device.client.syncOnce()
  t.match(device.client.status(), { shadow: 0, pending: 0, held: 0 })
  t.strictSame(device.all('select id, name, email from authors order by id'), [author(1, 'p', 'newer'), author(2, 'a')])
})

t.test('P14: a younger row in shadow is not overwritten by an older one when its parent goes', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table authors (id text primary key, name text); create table posts (id text primary key, title text unique, author_id text references authors)' })
  server.write('authors', id(1), { id: id(1), name: 'A' })
  server.write('posts', id(2), { id: id(2), title: 'one', author_id: id(1) })
  await device.client.syncOnce()
  device.db.prepare('insert into posts values (?, ?, null)').run(id(3), 'two')
  server.refuse = change => change.pk === id(3) ? { reason: 'constraint_violation' } : null
  server.write('posts', id(2), { id: id(2), title: 'two', author_id: id(1) })
  await device.client.syncOnce()
  server.write('authors', id(1), null)
  await device.client.syncOnce()
  server.write('authors', id(1), { id: id(1), name: 'A again' })
  await device.client.syncOnce()
  for (const row of device.client.held()) device.client.discardHeld(row.id)
  await device.client.syncOnce()
  t.strictSame(device.all('select id, title from posts'), [{ id: id(2), title: 'two' }])
})

t.test('P15: two server rows that wait for each other\'s unique value settle together', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1, 'a'))
  server.write('authors', id(2), author(2, 'b'))
  await device.client.syncOnce()
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(3), 'x', 'p')
  server.write('authors', id(1), author(1, 'p'))
  server.write('authors', id(2), author(2, 'a'))
  await device.client.downloadOnce()
  server.write('authors', id(1), author(1, 'b'))
  await device.client.downloadOnce()
  for (let i = 0; i < 4; i++) await device.client.syncOnce()
  t.match(device.client.status(), { pending: 0, held: 0, shadow: 0 })
  t.strictSame(device.all('select id, name, email from authors order by id'), [author(1, 'b'), author(2, 'a'), author(3, 'p')])
})

t.test('the id of a held row is never given to another: an old answer to held() discards nothing else', async t => {
  const server = new FakeServer()
  server.refuse = change => JSON.stringify(change).includes('BAD') ? { reason: 'bad_payload' } : null
  const device = createDevice(t, { server })
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'BAD', null)
  await device.client.syncOnce()
  const [shown] = device.client.held()
  device.db.prepare('update authors set name = ? where id = ?').run('good', id(1))
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(2), 'BAD too', null)
  await device.client.syncOnce()
  t.equal(device.client.discardHeld(shown?.id as number), false)
  t.equal(device.all('select 1 from authors where id = ?', id(2)).length, 1)
})

t.test('G1, B2: a batch that was applied unheard and is then too large for a proxy keeps its ids: a later deletion or edit stands', async t => {
  for (const later of ['delete from authors', "update authors set name = 'second'"]) {
    const server = new FakeServer()
    const device = createDevice(t, { server, deviceId: 'a' })
    await device.client.syncOnce()
    for (const n of [1, 2]) device.db.prepare('insert into authors values (?, ?, ?)').run(id(n), 'first', null)
    let mode = 'lose'
    server.onRequest = (request, answer) => {
      if (request.path !== '/upload' || request.body?.includes('INSERT') !== true || mode === 'deliver') return answer()
      if (mode === 'refuse') return new Response('<h1>', { status: 413, headers: { 'content-type': 'text/html' } })
      answer()
      throw new TypeError('lost')
    }
    await t.rejects(device.client.uploadOnce(), { code: 'network' })
    device.db.exec(later)
    mode = 'refuse'
    await device.client.uploadOnce()
    mode = 'deliver'
    for (let i = 0; i < 2; i++) await device.client.syncOnce()
    const peer = createDevice(t, { server, deviceId: 'b' })
    await peer.client.syncOnce()
    const expected = later.startsWith('delete') ? [] : [author(1, null, 'second'), author(2, null, 'second')]
    for (const { all } of [device, peer]) t.strictSame(all('select id, name, email from authors order by id'), expected, later)
    t.equal(device.client.conflicts().length, 0)
  }
})

t.test('P17: a decimal that a double would print otherwise is not shown in a REAL or INTEGER column, and goes back to nobody altered', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, tables: ['authors'], sql: 'create table authors (id text primary key, dec real, n integer)' })
  server.write('authors', id(1), `{"id":"${id(1)}","dec":9007199254740993.5,"n":1}`)
  server.write('authors', id(2), `{"id":"${id(2)}","dec":1,"n":9007199254740993.5}`)
  server.write('authors', id(3), `{"id":"${id(3)}","dec":0.10000000000000001,"n":1}`)
  server.write('authors', id(4), `{"id":"${id(4)}","dec":0.1,"n":1.0}`)
  await device.client.syncOnce()
  t.strictSame(device.client.shadow().map(({ key, reason }) => [key, reason]), [1, 2, 3].map(n => [id(n), 'value']))
  t.strictSame(device.all('select dec from authors'), [{ dec: 0.1 }])
})

t.test('B15: an error page in another encoding is known by its status', async t => {
  for (const [status, code] of [[503, 'unavailable'], [401, 'authentication_failed'], [413, null]] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    await device.client.syncOnce()
    for (let n = 1; n < 5; n++) device.db.prepare('insert into authors values (?, ?, ?)').run(id(n), 'x'.repeat(100), null)
    const page = Buffer.from('<h1>trop \xe9lev\xe9</h1>', 'latin1')
    server.onRequest = (request, answer) => request.path === '/upload' && (request.body?.length ?? 0) > 500
      ? new Response(page, { status, headers: { 'content-type': 'text/html; charset=iso-8859-1', 'retry-after': '7' } })
      : answer()
    if (code === null) t.match(await device.client.syncOnce(), { drained: true }, '413 makes smaller batches')
    else await t.rejects(device.client.syncOnce(), { code, status })
  }
})

t.test('A19: two clients on one file share a window of many pages', async t => {
  const server = new FakeServer()
  for (let n = 0; n < 20; n++) server.write('authors', id(n), author(n, null))
  const one = createDevice(t, { server, downloadLimit: 1, deviceId: 'x' })
  const two = createDevice(t, { server, downloadLimit: 1, deviceId: 'x', file: one.file })
  await Promise.all([one.client.syncOnce(), two.client.syncOnce()])
  t.equal(one.all('select * from authors').length, 20)
})

t.test('malformed replies are protocol errors and change nothing', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  await device.client.syncOnce()
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'x', null)
  const { epoch } = device.client.status()
  const identity = { epoch, source_id: device.client.status().deviceId, next_source_change_id: 1 }
  const answer = (body: object) => () => new Response(JSON.stringify({ ...identity, ...body }), { headers: { 'content-type': 'application/json' } })
  for (const statuses of [[null], [7], [{ source_change_id: 1, status: 'applied' }], [{ source_change_id: 1, status: 'applied', new_server_version: 0 }], [{ source_change_id: 1, status: 'conflict', server_row: 7 }]]) {
    server.onRequest = answer({ accepted: true, highest_server_seq: 1, statuses })
    await t.rejects(device.client.uploadOnce(), { code: 'protocol_error' }, JSON.stringify(statuses))
    t.match(device.client.status(), { outbox: 1, held: 0 })
  }
  const page = { changes: [], has_more: false, next_after: 0, window_until: 0, floor: 0 }
  for (const wrong of [{ changes: [null] }, { floor: 'x' }, { window_until: 5 }, { has_more: true }]) {
    server.onRequest = answer({ ...page, ...wrong })
    await t.rejects(device.client.downloadOnce(), { code: 'protocol_error' }, JSON.stringify(wrong))
    t.equal(device.client.status().cursor, 0)
  }
})

t.test('a server that answers the same conflict for ever does not keep the client', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, tables: [{ table: 'authors', conflict: 'clientWins' }] })
  await device.client.syncOnce()
  device.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'mine', null)
  let requests = 0
  server.onRequest = (request, answer) => {
    requests++
    const { changes = [] } = JSON.parse(request.body ?? '{}') as { changes?: Array<{ source_change_id: number }> }
    if (request.path !== '/upload' || changes.length === 0) return answer()
    const row = { schema_name: 'business', table_name: 'authors', id: id(1), server_version: 3, deleted: false, payload: author(1, null, 'theirs') }
    const { epoch, deviceId } = device.client.status()
    return new Response(JSON.stringify({
      accepted: true, highest_server_seq: 1, epoch, source_id: deviceId, next_source_change_id: 1, statuses: changes.map(change => ({ source_change_id: change.source_change_id, status: 'conflict', server_row: row }))
    }), { headers: { 'content-type': 'application/json' } })
  }
  t.match(await device.client.syncOnce(), { drained: false })
  t.ok(requests < 500, `${requests} requests`)
  t.strictSame(device.all('select name from authors'), [{ name: 'mine' }], 'the edit is still here')
})

t.test('a device id that cannot be a header is refused at once', async t => {
  for (const deviceId of ['téléphone 📱', ' phone ', 'a\nb', '']) t.throws(() => createDevice(t, { server: new FakeServer(), deviceId }), { code: 'invalid_option' }, JSON.stringify(deviceId))
})

t.test('an option that does not exist, and a database in the place of a driver, are refused by name', async t => {
  const db = new Database(':memory:')
  t.teardown(() => { db.close() })
  db.exec('create table authors (id text primary key)')
  const options = { url: 'http://server/sync', tables: ['authors'], userId: 'ann' }
  t.throws(() => createSyncClient(betterSqlite3(db), { ...options, tabels: [] } as SyncClientOptions), { code: 'invalid_option', message: /tabels/ })
  t.throws(() => createSyncClient(db as unknown as Driver, options), { code: 'invalid_option', message: /betterSqlite3/ })
})

t.test('the app\'s own busy_timeout is raised where it is short, and never lowered', async t => {
  for (const [own, expected] of [[100, 5000], [60_000, 60_000]] as const) {
    const db = new Database(':memory:')
    t.teardown(() => { db.close() })
    db.exec('create table authors (id text primary key)')
    db.pragma(`busy_timeout = ${own}`)
    createSyncClient(betterSqlite3(db), { url: 'http://server/sync', tables: ['authors'], userId: 'ann' })
    t.equal(db.pragma('busy_timeout', { simple: true }), expected)
  }
})
