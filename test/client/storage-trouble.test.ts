// The device's own storage fails: locked, full, read-only, damaged. Real errors of SQLite where it can be made to give them.
import fs from 'node:fs'
import Database from 'better-sqlite3'
import t from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { createSyncClient, DriverError, type Driver, type DriverErrorCode } from '../../client/index.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'

const authors = (device: Device): unknown[] => device.all('select id, name from authors order by id')

t.test('another connection holds the file: a typed error, nothing half done, and the next call goes on (D6)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  await device.client.syncOnce()
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  server.write('authors', id(2), { id: id(2), name: 'Two', email: null })
  device.db.pragma('busy_timeout = 0')
  const other = new Database(device.file)
  t.teardown(() => other.close())
  // Held from before the call, and from the moment at which the reply arrives.
  for (const when of ['before', 'upload', 'download'] as const) {
    if (when === 'before') other.exec('begin immediate')
    else {
      server.onRequest = ({ path, body }, answer) => {
        const response = answer()
        if (path === `/${when}` && (when === 'download' || body?.includes('source_change_id') === true)) other.exec('begin immediate')
        return response
      }
    }
    await t.rejects(device.client.syncOnce(), { name: 'DriverError', code: 'busy' }, when)
    t.equal(device.client.status().cursor, 0, 'nothing of the window is there')
    t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 1)
    server.onRequest = (_, answer) => answer()
    other.exec('rollback')
  }
  await device.client.syncOnce()
  t.strictSame(authors(device), [{ id: id(1), name: 'One' }, { id: id(2), name: 'Two' }])
  t.equal(server.log.length, 2)
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
})

t.test('the disk is full while a large window comes: the window waits, and local work goes on being kept (D7, D21)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, downloadLimit: 50 })
  await device.client.syncOnce()
  device.db.exec(`insert into authors values ('${id(1)}', 'Mine', null)`)
  for (let n = 100; n < 500; n++) server.write('authors', id(n), { id: id(n), name: 'x'.repeat(500), email: null })
  const pages = device.db.pragma('page_count', { simple: true }) as number
  let failures = 0
  for (let room = 0; ; room += 5) {
    device.db.pragma(`max_page_count = ${pages + room}`)
    try {
      await device.client.syncOnce()
      break
    } catch (error) {
      if (!(error instanceof DriverError) || error.code !== 'full') throw error
      failures++
      t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 1, `with room for ${room} pages nothing of the window shows`)
      t.equal(device.db.pragma('foreign_keys', { simple: true }), 1)
      t.equal(device.db.inTransaction, false)
      t.equal(device.all('select applying from _sync_client')[0]?.['applying'], 0)
    }
  }
  t.ok(failures > 5, `${failures} times full`)
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 401)
  t.equal(server.payload('authors', id(1))?.['name'], 'Mine')
  t.equal(server.log.filter(({ pk }) => pk === id(1)).length, 1)
})

t.test('a file that may not be written: the app reads on, the sync says so, and goes on when it may (D7)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  device.db.pragma('query_only = on')
  await t.rejects(device.client.syncOnce(), { name: 'DriverError', code: 'readonly' })
  t.match(device.client.status(), { pending: 1, lastError: { code: 'readonly' } })
  const reader = new Database(device.file, { readonly: true })
  t.teardown(() => reader.close())
  const reading = createSyncClient(betterSqlite3(reader), { url: 'http://server.test/sync', schema: 'business', tables: ['authors', 'posts'], userId: 'ann', fetch: server.fetch })
  t.equal(reading.status().pending, 1, 'a file that is prepared can be looked at')
  await t.rejects(reading.syncOnce(), { name: 'DriverError', code: 'readonly' })
  await reading.close()
  const bare = new Database(device.file + '-bare')
  bare.exec('create table authors (id text primary key)')
  bare.pragma('query_only = on')
  t.teardown(() => bare.close())
  t.throws(() => createSyncClient(betterSqlite3(bare), { url: 'http://server.test/sync', tables: ['authors'], userId: 'ann' }), { name: 'DriverError', code: 'readonly' }, 'one that is not says so at opening')
  const again = device.reopen()
  await again.client.syncOnce()
  t.equal(server.rows.size, 1)
})

t.test('a damaged file is named as such, at opening or in a call (D7)', async t => {
  const device = createDevice(t)
  for (let n = 1; n < 200; n++) device.db.prepare('insert into authors values (?, ?, null)').run(id(n), 'x'.repeat(200))
  device.db.pragma('wal_checkpoint(truncate)')
  const pages = device.all("select pageno, pgsize from dbstat where name = 'authors' and pagetype = 'leaf'") as Array<{ pageno: number, pgsize: number }>
  device.db.close()
  const bytes = fs.readFileSync(device.file)
  for (const { pageno, pgsize } of pages) bytes.fill(0xee, (pageno - 1) * pgsize, pageno * pgsize)
  fs.writeFileSync(device.file, bytes)
  await t.rejects(async () => await device.reopen().client.syncOnce(), { name: 'DriverError', code: 'corrupt' })
})

/** A driver whose n-th call fails once with `code`: not carried out, or, for a COMMIT that the disk refuses, rolled back. */
function failing (driver: Driver, clock: { left: number }, code: DriverErrorCode): Driver {
  const tick = (): void => {
    if (--clock.left === 0) throw new DriverError(code, `made to fail: ${code}`)
  }
  return {
    exec (sql) { tick(); driver.exec(sql) },
    run (sql, params) { tick(); return driver.run(sql, params) },
    all (sql, params) { tick(); return driver.all(sql, params) },
    close () { driver.close() },
    get inTransaction () { return driver.inTransaction }
  }
}

t.test('any statement of a day may fail once, in any way: the call says so, and the next one ends as if nothing had happened (D6, D7, P6)', async t => {
  /** A day with merges, a conflict, a refusal, a deletion, children before parents, in small batches and pages. */
  async function prepare (): Promise<{ server: FakeServer, device: Device, clock: { left: number } }> {
    const server = new FakeServer()
    const clock = { left: Infinity }
    const device = createDevice(t, { server, deviceId: 'phone', uploadBatchSize: 3, wrap: driver => failing(driver, clock, code) })
    device.db.exec(`insert into authors values ('${id(1)}', 'One', 'one@x'), ('${id(2)}', 'Two', 'two@x'), ('${id(3)}', 'Three', null)`)
    await device.client.syncOnce()
    server.pageSize = 2
    server.write('authors', id(1), { id: id(1), name: 'One', email: 'new@x' })
    server.write('authors', id(2), { id: id(2), name: 'Zwei', email: 'two@x' })
    server.write('posts', id(11), { id: id(11), title: 'Child first', body: null, author_id: id(4) })
    server.write('authors', id(4), { id: id(4), name: 'Four', email: null })
    server.refuse = change => change.pk === id(22) ? { reason: 'rejected', message: 'No.' } : null
    device.db.exec(`
      update authors set name = 'Eins' where id = '${id(1)}';
      update authors set name = 'Deux' where id = '${id(2)}';
      delete from authors where id = '${id(3)}';
      insert into posts values ('${id(21)}', 'A', 'a', '${id(1)}'), ('${id(22)}', 'Refused', null, null)`)
    return { server, device, clock }
  }
  const picture = (server: FakeServer, device: Device): unknown => ({
    authors: device.all('select * from authors order by id'),
    posts: device.all('select * from posts order by id'),
    held: device.client.held().map(({ key, reason }) => ({ key, reason })),
    server: [...server.rows].map(([key, { payload }]) => [key, payload]).sort(),
    log: server.log.length,
    versions: device.all('select tbl, key, server_version, deleted from _sync_row order by tbl, key'),
    foreignKeys: device.db.pragma('foreign_keys', { simple: true })
  })
  let code: DriverErrorCode = 'busy'
  const clean = await prepare()
  await clean.device.client.syncOnce()
  const expected = picture(clean.server, clean.device)
  let failures = 0
  for (const codes of [['busy'], ['full', 'io', 'other']] as const) {
    for (let n = 1; ; n++) {
      code = codes[n % codes.length] as DriverErrorCode
      const { server, device, clock } = await prepare()
      clock.left = n
      let failed = false
      await device.client.syncOnce().catch((error: unknown) => {
        if (!(error instanceof DriverError) || error.code !== code) throw error
        failed = true
      })
      if (clock.left > 0) break
      if (!failed) t.comment(`${code} at call ${n} was taken for an answer`)
      failures++
      t.equal(device.db.inTransaction, false)
      await device.client.syncOnce()
      if (!t.strictSame(picture(server, device), expected, `${code} at call ${n}`)) return
      device.db.close()
    }
  }
  t.ok(failures > 400, `${failures} failures`)
})
