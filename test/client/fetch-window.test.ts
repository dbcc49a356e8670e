// The pages of a window: the next is asked for before the one that came is put on disk.
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { Fetch } from '../../client/index.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { Unanswered } from './unanswered.js'

type OnPage = (n: number, device: Device, init: RequestInit) => void | Promise<void>

/** Six rows to fetch. `onPage` is called before each page is answered, with its number. */
function build (t: Test, onPage: OnPage = () => {}): { server: FakeServer, device: Device } {
  const server = new FakeServer()
  for (let n = 1; n <= 6; n++) server.write('authors', id(n), { id: id(n), name: `Author ${n}`, email: null })
  let pages = 0
  const fetch: Fetch = async (url, init) => {
    if (url.includes('/download')) await onPage(++pages, device, init)
    return await server.fetch(url, init)
  }
  const device = createDevice(t, { server, fetch, deviceId: 'phone' })
  return { server, device }
}

const staged = (device: Device): number => device.all('select count(*) as n from _sync_page')[0]?.['n'] as number
const asked = (server: FakeServer, name: string): Array<string | null> => server.downloads.map(query => query.get(name))

t.test('the page that follows is asked for before one is put on disk, a single one, and none after the last', async t => {
  const pages: number[] = []
  const { server, device } = build(t, (_, device) => { pages.push(staged(device)) })
  t.match(await device.client.downloadOnce(2), { pages: 3, received: 6, applied: 6, cursor: 6 })
  t.same(pages, [0, 0, 1])
  t.same(asked(server, 'after'), ['0', '2', '4'])
  t.same(asked(server, 'until'), [null, '6', '6'])
  t.same(asked(server, 'floor'), [null, '0', '0'])
})

t.test('a page that cannot be fetched ahead ends the call, and the page before it stays', async t => {
  const { server, device } = build(t, n => { if (n === 2) throw new TypeError('lost') })
  await t.rejects(device.client.downloadOnce(2), { code: 'network' })
  t.equal(staged(device), 1)
  t.match(await device.client.downloadOnce(2), { pages: 2, received: 6 })
  t.same(asked(server, 'after'), ['0', '2', '4'])
})

t.test('where another process has moved the window on, the page that was asked for ahead is dropped', async t => {
  const ahead = new Unanswered()
  const { server, device } = build(t, (n, device, init) => {
    if (n !== 2) return
    // The other process has begun the window with the first page of three.
    device.db.exec('update _sync_client set stage_after = 0, stage_until = 6, stage_floor = 0')
    return ahead.request(init)
  })
  t.match(await device.client.downloadOnce(2), { pages: 3, applied: 6 })
  t.equal(ahead.isAborted, true)
  t.same(asked(server, 'after'), ['0', '0', '2', '4'])
})

t.test('a page that shows the file to be a copy is not followed by another under the same name', async t => {
  let isCopied = false
  const { server, device } = build(t, () => { if (isCopied) server.claimIds('phone', 100) })
  await device.client.syncOnce()
  for (let n = 7; n <= 10; n++) server.write('authors', id(n), { id: id(n), name: `Author ${n}`, email: null })
  isCopied = true
  server.downloads.length = 0
  t.match(await device.client.downloadOnce(3), { rebuilt: { reason: 'copy' }, received: 10 })
  t.same(asked(server, 'after'), ['6', '0', '3', '6', '9'])
  t.not(device.client.status().deviceId, 'phone')
})

t.test('closing the client ends the request for the page ahead', async t => {
  const ahead = new Unanswered()
  const { device } = build(t, (n, device, init) => {
    if (n !== 2) return
    device.client.close().catch(t.error)
    return ahead.request(init)
  })
  await t.rejects(device.client.downloadOnce(2), { code: 'aborted' })
  t.equal(ahead.isAborted, true)
  t.equal(staged(device), 1)
})

t.test('where a page cannot be put on disk, the request for the next one ends with the call', async t => {
  const ahead = new Unanswered()
  const { device } = build(t, (n, device, init) => {
    if (n !== 2) return
    device.db.exec("create temp trigger full before insert on main._sync_page begin select raise(abort, 'Full.'); end")
    return ahead.request(init)
  })
  await t.rejects(device.client.downloadOnce(2), { code: 'constraint' })
  t.equal(ahead.isAborted, true)
  t.equal(staged(device), 0)
})

t.test('a window that cannot be applied stays on disk as far as it came, and its last page is fetched again', async t => {
  const { server, device } = build(t)
  device.db.exec("create temp trigger full before insert on main._sync_row begin select raise(abort, 'Full.'); end")
  await t.rejects(device.client.downloadOnce(2), { code: 'constraint' })
  t.equal(staged(device), 2)
  t.same(device.all('select * from authors'), [])
  device.db.exec('drop trigger full')
  t.match(await device.client.downloadOnce(2), { pages: 1, received: 6, applied: 6, cursor: 6 })
  t.same(asked(server, 'after'), ['0', '2', '4', '4'])
  t.equal(staged(device), 0)
})

/** How many commits changed the file meanwhile, as another connection to it sees it. */
async function writesOf ({ file, driver }: Device, work: () => Promise<unknown>): Promise<number> {
  const other = new Database(file)
  const version = (): unknown => other.pragma('data_version', { simple: true })
  const { exec } = driver
  let [writes, last] = [0, version()]
  driver.exec = sql => {
    exec(sql)
    const now = version()
    if (now !== last) writes++
    last = now
  }
  await work()
  driver.exec = exec
  other.close()
  return writes
}

t.test('a window of one page is written at once, and a poll that finds nothing writes nothing', async t => {
  const { server, device } = build(t)
  await device.client.syncOnce()
  server.write('authors', id(1), { id: id(1), name: 'Renamed', email: null })
  t.equal(await writesOf(device, async () => { t.match(await device.client.syncOnce(), { download: { pages: 1, applied: 1 } }) }), 1)
  t.equal(await writesOf(device, async () => { t.match(await device.client.syncOnce(), { download: { pages: 1, received: 0, cursor: 7 } }) }), 0)
})

t.test('a poll that finds nothing tries again what could not be shown, and writes nothing for what was refused or has no table', async t => {
  const { server, device } = build(t)
  await device.client.syncOnce()
  server.refuse = () => ({ reason: 'rejected' })
  device.db.prepare('insert into authors (id, name) values (?, ?)').run(id(9), 'refused')
  server.write('elsewhere', id(1), { id: id(1) })
  t.match(await device.client.syncOnce(), { upload: { held: 1 }, download: { shadowed: 1 } })
  t.equal(await writesOf(device, async () => { await device.client.syncOnce() }), 0)
  device.db.exec('create unique index one_name on authors (name)')
  server.write('authors', id(7), { id: id(7), name: 'Author 1', email: null })
  t.match(await device.client.downloadOnce(), { shadowed: 1 })
  device.db.exec(`delete from authors where id = '${id(1)}'`)
  t.match(await device.client.downloadOnce(), { received: 0, applied: 1 })
  t.same(device.all('select name from authors where id = ?', id(7)), [{ name: 'Author 1' }])
})

t.test('a poll that finds nothing is no answer where the file was given to somebody else meanwhile, nor after a change of the schema', async t => {
  let give = (): void => {}
  const { device } = build(t, () => { give() })
  await device.client.syncOnce()
  device.db.exec(`drop trigger _sync_authors_after_insert; insert into authors (id, name) values ('${id(8)}', 'unseen')`)
  await device.client.downloadOnce()
  t.same(device.pending(), [`authors:${id(8)}`], 'the triggers are put back, and what they missed is found')
  give = () => { device.db.exec("update _sync_client set user_id = 'bob', cursor = 0, include_self = 1") }
  await t.rejects(device.client.downloadOnce(), { code: 'wrong_user' })
})

t.test('a window may end with a page that has nothing but what the device has itself: it is as if that page were not there', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec('create unique index one_name on authors (name)')
  for (const n of [1, 2]) server.write('authors', id(n), { id: id(n), name: 'A', email: null })
  device.db.prepare('insert into posts (id, title) values (?, ?)').run(id(3), 'own')
  await device.client.uploadOnce()
  t.match(await device.client.downloadOnce(2), { pages: 2, received: 2, applied: 1, shadowed: 1, cursor: 3 })
  t.same(device.all('select id from authors'), [{ id: id(1) }], 'the second cannot be shown, and the first does not make way for it')
  t.same(device.all('select key from _sync_parked'), [])
})

t.test('a page without the device\'s own changes is not taken where they are wanted since', async t => {
  const { server, device } = build(t, (n, device) => {
    // Another process wants everything from the start.
    if (n === 1) device.db.exec('update _sync_client set include_self = 1')
  })
  t.match(await device.client.downloadOnce(), { applied: 6 })
  t.same(asked(server, 'include_self'), ['false', 'true'])
})

t.test('a window that is on disk to its end, as the version before left it, is applied with the empty page behind it', async t => {
  const { server, device } = build(t)
  device.db.exec("create temp trigger full before insert on main._sync_row begin select raise(abort, 'Full.'); end")
  await t.rejects(device.client.downloadOnce(2), { code: 'constraint' })
  device.db.exec('drop trigger full')
  const last = await server.fetch('http://server.test/sync/download?after=4&until=6&limit=2', { headers: { 'oversync-source-id': 'phone' } })
  device.db.prepare('insert into _sync_page (last_id, reply) values (6, ?)').run(await last.text())
  device.db.exec('update _sync_client set stage_after = 6')
  t.match(await device.client.downloadOnce(2), { pages: 1, received: 6, applied: 6, cursor: 6 })
  t.match(device.all('select count(*) as n from authors'), [{ n: 6 }])
})

t.test('a page of one stream is not applied where the file was given to another one of the same user meanwhile', async t => {
  const { device } = build(t, (_, device) => { device.db.exec("update _sync_client set scope = 'team'") })
  await t.rejects(device.client.downloadOnce(), { code: 'wrong_user' })
  t.same(device.all('select * from authors'), [])
})

t.test('a large window leaves little free room in the file', async t => {
  const server = new FakeServer()
  for (let n = 1; n <= 400; n++) server.write('authors', id(n), { id: id(n), name: 'x'.repeat(2_000), email: null })
  const device = createDevice(t, { server })
  t.match(await device.client.downloadOnce(20), { pages: 20, applied: 400 })
  const [pages, free] = ['page_count', 'freelist_count'].map(name => device.db.pragma(name, { simple: true }) as number) as [number, number]
  t.ok(free < pages / 5, `${free} of ${pages} pages are free`)
})

/** A device that has sent a row and not heard of it, for its request or the reply is lost until it is mended. */
async function withUnheardBatch (t: Test, lost: 'request' | 'reply'): Promise<{ server: FakeServer, device: Device, mend: () => void }> {
  const server = new FakeServer()
  let isBroken = true
  const device = createDevice(t, {
    server,
    deviceId: 'phone',
    fetch: async (url, init) => {
      const isLost = isBroken && init.method === 'POST' && String(init.body).includes('"changes":[{')
      if (isLost && lost === 'reply') await server.fetch(url, init)
      if (isLost) throw new TypeError('lost')
      return await server.fetch(url, init)
    }
  })
  device.db.prepare('insert into authors (id, name) values (?, ?)').run(id(1), 'mine')
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  return { server, device, mend: () => { isBroken = false } }
}

t.test('while the server has changes under the device\'s id of which it has not heard, a window shows its own: none may be a copy\'s that it never gets (D9)', async t => {
  const { server, device, mend } = await withUnheardBatch(t, 'request')
  // A copy of the file uses the number of the batch that never arrived.
  server.write('authors', id(2), { id: id(2), name: 'of the copy', email: null }, 'phone')
  server.write('authors', id(3), { id: id(3), name: 'a peer\'s', email: null })
  t.match(await device.client.downloadOnce(1), { received: 2, applied: 2, cursor: 2 })
  t.same(asked(server, 'include_self'), ['false', 'true', 'true'])
  t.same(device.all('select name from authors order by id').map(row => row['name']), ['mine', 'of the copy', 'a peer\'s'])
  mend()
  await device.client.syncOnce()
  await device.client.syncOnce()
  t.not(device.client.status().deviceId, 'phone', 'the number is the copy\'s: the batch goes up under another id')
  t.match(server.payload('authors', id(1)), { name: 'mine' })
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
})

t.test('a batch whose reply was lost comes down with a window, and is not taken for somebody else\'s (B2)', async t => {
  const { server, device, mend } = await withUnheardBatch(t, 'reply')
  mend()
  device.db.prepare('update authors set name = ? where id = ?').run('edited since', id(1))
  t.match(await device.client.downloadOnce(), { received: 1, conflicts: 0, cursor: 1 })
  t.same(asked(server, 'include_self'), ['false', 'true'])
  t.match(await device.client.syncOnce(), { upload: { applied: 2 } })
  t.match(server.payload('authors', id(1)), { name: 'edited since' })
  t.equal(server.version('authors', id(1)), 2)
  t.equal(device.client.status().deviceId, 'phone')
  // Heard of: the next window is a plain one.
  server.downloads.length = 0
  await device.client.downloadOnce()
  t.same(asked(server, 'include_self'), ['false'])
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
})
