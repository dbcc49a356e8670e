// When SQLite copies its WAL into the file while much is exchanged.
import fs from 'node:fs'
import t, { type Test } from 'tap'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'

interface World { device: Device, server: FakeServer, seen: unknown[] }

const setting = ({ db }: Device): unknown => db.pragma('wal_autocheckpoint', { simple: true })

/** A device with pages and batches of 400 rows; `seen`: how it was set at each request. */
function build (t: Test, usual = 1_000): World {
  const server = new FakeServer()
  const seen: unknown[] = []
  server.onRequest = ({ path, body }, answer) => {
    if (path === '/download' || body?.includes('"changes":[{') === true) seen.push(setting(device))
    return answer()
  }
  const device = createDevice(t, { server, uploadBatchSize: 400, downloadLimit: 400 })
  device.db.pragma(`wal_autocheckpoint = ${usual}`)
  return { device, server, seen }
}

function fill (server: FakeServer, rows: number): void {
  for (let n = 1; n <= rows; n++) server.write('authors', id(n), { id: id(n), name: 'x'.repeat(200), email: null })
}

function edit ({ db }: Device, rows: number, from = 10_000): void {
  for (let n = from; n < from + rows; n++) db.prepare('insert into authors (id, name) values (?, ?)').run(id(n), 'x'.repeat(200))
}

t.test('a large window is written with rare checkpoints, and ends with one', async t => {
  const { device, server, seen } = build(t)
  fill(server, 1_700)
  t.match(await device.client.downloadOnce(), { pages: 5, applied: 1_700 })
  // Each page is asked for before the one before it is put down.
  t.same(seen, [1_000, 1_000, 1_000, 4_000, 4_000])
  t.equal(setting(device), 1_000)
  // The next write begins the WAL anew, for nothing is left in it to copy.
  const { size } = fs.statSync(`${device.file}-wal`)
  edit(device, 1)
  t.equal(fs.statSync(`${device.file}-wal`).size, size)
  const [{ log, checkpointed }] = device.db.pragma('wal_checkpoint(passive)') as [{ log: number, checkpointed: number }]
  t.ok(log < 20 && checkpointed === log, `${log} pages in the WAL`)
})

t.test('so is a large upload; small exchanges leave everything as it is, however many there are', async t => {
  const { device, server, seen } = build(t)
  for (let round = 1; round <= 3; round++) {
    fill(server, 400)
    edit(device, 100, 10_000 + round * 100)
    await device.client.syncOnce()
  }
  t.same(new Set(seen), new Set([1_000]))
  seen.length = 0
  edit(device, 1_700, 20_000)
  t.match(await device.client.syncOnce(), { upload: { applied: 1_700 } })
  t.same(seen, [1_000, 1_000, 1_000, 4_000, 4_000, 4_000], 'five batches and a page')
  t.equal(setting(device), 1_000)
})

t.test('a call that fails leaves the connection as it was', async t => {
  const { device, server } = build(t)
  fill(server, 1_700)
  const { onRequest } = server
  server.onRequest = (request, answer) => {
    if (request.query.get('after') === '1600') throw new TypeError('lost')
    return onRequest(request, answer)
  }
  await t.rejects(device.client.downloadOnce(), { code: 'network' })
  t.equal(setting(device), 1_000)
})

t.test('an app that checkpoints by itself, or more rarely, goes on doing so', async t => {
  for (const usual of [0, 20_000]) {
    const { device, server, seen } = build(t, usual)
    fill(server, 1_700)
    await device.client.downloadOnce()
    t.same(new Set(seen), new Set([usual]))
    t.equal(setting(device), usual)
  }
})

t.test('what the app sets meanwhile stays', async t => {
  const { device, server } = build(t)
  fill(server, 1_700)
  device.client.on('progress', ({ done, total }) => { if (done === total) device.db.pragma('wal_autocheckpoint = 0') })
  t.match(await device.client.downloadOnce(), { applied: 1_700 })
  t.equal(setting(device), 0)
})

t.test('where the app is inside a transaction when the exchange ends, the connection is as it was all the same', async t => {
  const { device, server } = build(t)
  fill(server, 1_700)
  const { pages } = await device.client.downloadOnce()
  t.equal(pages, 5)
  edit(device, 1_700)
  let uploads = 0
  device.client.on('progress', ({ phase, done, total }) => {
    if (phase !== 'upload' || done < total) return
    uploads++
    device.db.exec('begin')
  })
  await t.rejects(device.client.syncOnce(), { code: 'busy' }, 'nothing is downloaded inside a transaction of the app')
  t.equal(uploads, 1)
  t.equal(device.db.inTransaction, true)
  t.equal(setting(device), 1_000)
  device.db.exec('commit')
})
