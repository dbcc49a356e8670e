// Who the file is, and what the server remembers of it. What a rebuild does is in rebuild.test.ts.
import fs from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { createDevice, id, type Device } from './device.js'
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
  t.match(seen[1], /"epoch":"epoch-1","next_source_change_id":1,"changes":\[\{"source_change_id":1,/)
  t.equal(seen[2], 'epoch=epoch-1')
  t.equal(seen.length, 3)
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

/** A device and another over a copy of its file, under one id. Both have shaken hands: ids of theirs collide at the server. */
async function twoCopies (t: Test): Promise<{ server: FakeServer, device: Device, clone: Device }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1))
  await device.client.syncOnce()
  device.db.pragma('wal_checkpoint(truncate)')
  const copy = path.join(path.dirname(device.file), 'copy.db')
  fs.copyFileSync(device.file, copy)
  const clone = createDevice(t, { server, file: copy, deviceId: 'phone' })
  await clone.client.syncOnce()
  return { server, device, clone }
}

t.test('two copies of one file that both write: one moves to a new id, and nothing is lost (D9, L4)', async t => {
  const { device, clone } = await twoCopies(t)
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

t.test('two devices with one id from the first day: one moves on, and each gets the rows of the other (D10)', async t => {
  const server = new FakeServer()
  const [one, two] = [createDevice(t, { server, deviceId: 'phone' }), createDevice(t, { server, deviceId: 'phone' })]
  one.db.exec(author(1))
  two.db.exec(author(2))
  await one.client.syncOnce()
  await two.client.syncOnce()
  one.db.exec(author(3))
  for (const { client } of [one, two, one, two]) await client.syncOnce()
  for (const { all } of [one, two]) t.equal(all('select count(*) as n from authors')[0]?.['n'], 3)
  t.not(one.client.status().deviceId, two.client.status().deviceId)
  const sent = server.log.map(({ source, id }) => `${source}#${id}`)
  t.equal(new Set(sent).size, sent.length)
})

t.test('a copy that was refused a number does not miss what the other copy sends under it (D9)', async t => {
  const { server, device, clone } = await twoCopies(t)
  server.refuse = change => change.pk === id(2) ? { reason: 'rejected' } : null
  device.db.exec(author(2, 'refused'))
  await device.client.uploadOnce()
  clone.db.exec(author(3, 'under the same number'))
  await clone.client.uploadOnce()
  device.db.exec(author(4, 'under the next'))
  await device.client.syncOnce()
  t.same(device.all('select name from authors order by id').map(row => row['name']), ['Author 1', 'refused', 'under the same number', 'under the next'])
})

t.test('nor does it miss that where all of its next batch is refused too, or conflicts (D9)', async t => {
  for (const verdict of ['refused', 'conflict']) {
    const { server, device, clone } = await twoCopies(t)
    server.refuse = change => change.pk === id(2) || (verdict === 'refused' && change.pk === id(4)) ? { reason: 'rejected' } : null
    device.db.exec(author(2, 'refused'))
    await device.client.uploadOnce()
    clone.db.exec(author(3, 'under the same number'))
    await clone.client.uploadOnce()
    if (verdict === 'conflict') server.write('authors', id(4), { id: id(4), name: 'of a peer', email: null })
    device.db.exec(author(4, 'under the next'))
    await device.client.uploadOnce()
    device.db.exec(author(5, 'applied'))
    await device.client.syncOnce()
    t.equal(device.all(`select name from authors where id = '${id(3)}'`)[0]?.['name'], 'under the same number', verdict)
    t.not(device.client.status().deviceId, 'phone', `${verdict}: it has taken a source id of its own`)
  }
})

t.test('a batch of which the first delivery applied a part goes through without a new source id (B2)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2))
  let isLost = true
  server.refuse = change => isLost && change.pk === id(1) ? { reason: 'rejected' } : null
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (!isLost || body?.includes('"payload"') !== true) return response
    isLost = false
    throw new TypeError('lost reply')
  }
  await t.rejects(device.client.syncOnce())
  await device.client.syncOnce()
  t.match(device.client.status(), { deviceId: 'phone', pending: 0, outbox: 0, held: 0 })
  t.same(server.log.map(({ source, id }) => `${source}#${id}`), ['phone#2', 'phone#3'])
})

t.test('a restored file whose frozen batch the server has, and has forgotten, applies nothing twice (L6, D8)', async t => {
  for (const hasGoneOn of [false, true]) {
    const server = new FakeServer()
    const device = createDevice(t, { server, deviceId: 'phone' })
    device.db.exec(author(1) + author(2))
    await device.client.syncOnce()
    device.db.exec(`update authors set name = 'frozen' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
    server.onRequest = ({ body }, answer) => {
      if (body?.includes('"payload"') === true) throw new TypeError('lost request')
      return answer()
    }
    await t.rejects(device.client.uploadOnce())
    server.onRequest = (_, answer) => answer()
    device.db.pragma('wal_checkpoint(truncate)')
    const backup = path.join(path.dirname(device.file), 'backup.db')
    fs.copyFileSync(device.file, backup)
    await device.client.syncOnce()
    if (hasGoneOn) {
      device.db.exec(`update authors set name = 'later' where id = '${id(1)}';` + author(2, 'again'))
      await device.client.syncOnce()
    }
    server.forgetReplays()
    const before = server.log.length
    const restored = createDevice(t, { server, file: backup, deviceId: 'phone' })
    await restored.client.syncOnce()
    t.equal(server.log.length, before)
    t.same(restored.all('select name from authors order by id').map(row => row['name']), hasGoneOn ? ['later', 'again'] : ['frozen'])
    t.match(restored.client.status(), { pending: 0, outbox: 0, held: 0, conflicts: 0 })
  }
})
