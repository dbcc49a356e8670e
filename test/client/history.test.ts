// D8, D9, D10, D13, L2, L4, L9: who the file is, and what the server remembers of it.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

const author = (n: number, name = `Author ${n}`): string => `insert into authors values ('${id(n)}', '${name}', null);`

t.test('the first request is an empty upload; later ones send the epoch', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  const seen: string[] = []
  server.onRequest = ({ path, body, query }, answer) => {
    seen.push(path === '/upload' ? body as string : `epoch=${query.get('epoch')}`)
    return answer()
  }
  await device.client.syncOnce()
  t.equal(seen[0], '{"last_server_seq_seen":0,"changes":[]}')
  t.match(seen[1], /"epoch":"epoch-1","changes":\[\{"source_change_id":1,/)
  t.equal(seen[2], 'epoch=epoch-1')
  t.equal(seen.length, 3)
})

t.test('another epoch: a typed error, and nothing on the device changes (L9)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await device.client.syncOnce()
  device.db.exec(author(2))
  server.epoch = 'epoch-2'
  await t.rejects(device.client.uploadOnce(), { code: 'history_changed', status: 409 }, 'noticed in the middle of a session')
  t.equal(device.client.status().outbox, 1, 'the batch was not judged and stays')
  const again = device.reopen()
  for (const call of ['uploadOnce', 'downloadOnce', 'hydrate', 'syncOnce'] as const) {
    await t.rejects(async () => again.client[call](), { code: 'history_changed' }, call)
  }
  t.match(again.client.status(), { pending: 0, outbox: 1, cursor: 1, epoch: 'epoch-1', lastError: { code: 'history_changed' } })
  t.equal(again.all('select count(*) as n from authors')[0]?.['n'], 2)
  t.equal(server.log.length, 1)
})

t.test('a token that speaks for another device stops everything', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  server.onRequest = (_, answer) => answer().text().then(text => new Response(text.replace('"source_id":"phone"', '"source_id":"tablet"'), { headers: { 'content-type': 'application/json' } }))
  await t.rejects(device.client.syncOnce(), { code: 'wrong_device' })
  t.match(device.client.status(), { pending: 1, outbox: 0, epoch: null })
})

t.test('a reinstalled device goes on numbering, and gets its own rows back', async t => {
  const server = new FakeServer()
  const first = createDevice(t, { server, deviceId: 'phone' })
  first.db.exec(author(1) + author(2))
  await first.client.syncOnce()
  const fresh = createDevice(t, { server, deviceId: 'phone' })
  fresh.db.exec(author(3))
  await fresh.client.syncOnce()
  t.equal(fresh.client.status().deviceId, 'phone')
  t.equal(fresh.all('select count(*) as n from authors')[0]?.['n'], 3)
  t.same(server.log.map(({ source, id }) => `${source}#${id}`), ['phone#1', 'phone#2', 'phone#3'])
  await fresh.client.syncOnce()
  t.equal(server.downloads.at(-1)?.get('include_self'), 'false', 'only the first window')
})

t.test('a file restored from a backup takes a new source id before it uploads anything, and loses nothing (D8)', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, deviceId: 'phone', uploadBatchSize: 2 })
  device.db.exec(author(1) + author(2))
  await device.client.syncOnce()
  device.db.exec(author(3) + `update authors set name = 'before the backup' where id = '${id(1)}'`)
  device.db.pragma('wal_checkpoint(truncate)')
  const backup = path.join(path.dirname(device.file), 'backup.db')
  fs.copyFileSync(device.file, backup)
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'after the backup' where id = '${id(2)}'`)
  await device.client.syncOnce()
  device.db.close()
  for (const suffix of ['', '-wal', '-shm']) fs.rmSync(device.file + suffix, { force: true })
  fs.copyFileSync(backup, device.file)

  device = createDevice(t, { server, file: device.file, deviceId: 'phone' })
  device.db.exec(author(4))
  await device.client.syncOnce()
  t.not(device.client.status().deviceId, 'phone')
  t.same(device.all('select name from authors order by id'), [{ name: 'before the backup' }, { name: 'after the backup' }, { name: 'Author 3' }, { name: 'Author 4' }])
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0, conflicts: 0 })
  t.equal(server.version('authors', id(3)), 1, 'what the server had already was not doubled')
  t.ok(server.uploads.every(({ source, changes }) => source !== 'phone' || changes.every(({ pk }) => pk !== id(4))))
})

t.test('two copies of one file that both write: one moves to a new id, and nothing is lost (D9)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  await device.client.syncOnce()
  device.db.pragma('wal_checkpoint(truncate)')
  const copy = path.join(path.dirname(device.file), 'copy.db')
  fs.copyFileSync(device.file, copy)
  const clone = createDevice(t, { server, file: copy, deviceId: 'phone' })
  // Both have shaken hands before either writes: the ids collide at the server.
  await clone.client.syncOnce()
  device.db.exec(author(2, 'from the original'))
  clone.db.exec(author(3, 'from the clone'))
  await device.client.syncOnce()
  await clone.client.syncOnce()
  await device.client.syncOnce()
  t.match(device.all('select name from authors order by id').map(row => row['name']), ['Author 1', 'from the original', 'from the clone'])
  t.same(clone.all('select name from authors order by id'), device.all('select name from authors order by id'))
  t.equal(device.client.status().deviceId, 'phone')
  t.not(clone.client.status().deviceId, 'phone')
})

t.test('a clone that only downloads notices it from the page (D9)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  await device.client.syncOnce()
  server.claimIds('phone', 50)
  server.write('authors', id(2), { id: id(2), name: 'of the other copy', email: null }, 'phone')
  await device.client.downloadOnce()
  t.not(device.client.status().deviceId, 'phone')
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 2, 'a row of its own old id, which the filter would have hidden')
})

t.test('after a rotation the frozen batch goes up under the new id, once', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes('"payload"') === true) throw new TypeError('lost')
    return response
  }
  await t.rejects(device.client.uploadOnce())
  server.onRequest = (_, answer) => answer()
  server.claimIds('phone', 9)
  device = device.reopen()
  await device.client.syncOnce()
  t.equal(server.log.length, 1, 'the server had it; the conflict of equal rows is none')
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, conflicts: 0 })
  t.match(device.reopen().client.status(), { userId: 'ann' }, 'the app may go on naming the id that it gave')
})

t.test('a file belongs to one user and one device (D13)', async t => {
  const device = createDevice(t, { deviceId: 'phone' })
  t.throws(() => device.reopen({ userId: 'bob' }), { code: 'wrong_user' })
  t.throws(() => device.reopen({ deviceId: 'tablet' }), { code: 'wrong_device' })
  const { deviceId: none, ...rest } = { deviceId: 'x', file: device.file }
  t.ok(none)
  t.equal(createDevice(t, rest).client.status().deviceId, 'phone')
})

t.test('a device without an id makes one and keeps it', async t => {
  const device = createDevice(t)
  const { deviceId } = device.client.status()
  t.match(deviceId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.equal(device.reopen().client.status().deviceId, deviceId)
})

t.test('an expired cursor is a typed error, and drops only what was staged', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await device.client.syncOnce()
  for (let n = 2; n < 6; n++) server.write('authors', id(n), { id: id(n), name: 'x', email: null })
  server.onRequest = ({ path }, answer) => path === '/download' && server.downloads.length > 1
    ? new Response('{"error":"cursor_expired","message":"Too old."}', { status: 410, headers: { 'content-type': 'application/json' } })
    : answer()
  await t.rejects(device.client.downloadOnce(1), { code: 'cursor_expired', status: 410 })
  t.match(device.all('select (select count(*) from _sync_stage) as staged, stage_until, cursor from _sync_client'), [{ staged: 0, stage_until: null, cursor: 1 }])
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 1)
})
