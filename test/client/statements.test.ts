// What a page and an upload cost a device, counted and not timed: statements of SQLite.
import t, { type Test } from 'tap'
import type { Driver } from '../../client/index.js'
import { createDevice, id, SCHEMA, type Device } from './device.js'
import { FakeServer } from './fake-server.js'

interface World {
  device: Device
  server: FakeServer
  /** Statements of `work`. */
  count: (work: () => Promise<unknown>) => Promise<number>
}

function build (t: Test): World {
  let statements = 0
  const counting = (driver: Driver): Driver => ({
    exec: sql => { statements++; driver.exec(sql) },
    run: (sql, params) => { statements++; return driver.run(sql, params) },
    all: (sql, params) => { statements++; return driver.all(sql, params) },
    close: () => driver.close(),
    get inTransaction () { return driver.inTransaction }
  })
  const server = new FakeServer()
  const device = createDevice(t, { server, wrap: counting, sql: `${SCHEMA} create table tags (id text primary key, name text, shade integer)`, tables: ['authors', 'posts', 'tags'] })
  return {
    device,
    server,
    async count (work) {
      statements = 0
      await work()
      return statements
    }
  }
}

/** Statements of eighty rows more than eight, all in one page or batch. */
async function forEighty (statements: (rows: number) => Promise<number>): Promise<number> {
  const few = await statements(8)
  return await statements(88) - few
}

t.test('a downloaded row costs a device a quarter of a statement: eight are written by one, and their versions noted by one', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  let next = 1
  const download = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) server.write('tags', id(next++), { name: 'Ann', shade: 1 })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await download(1) // of a table of which nothing is known, nothing is asked
  t.equal(await forEighty(download), 80 / 8 * 2)
})

t.test('deleted rows are taken eight at a time too', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  const rewrite = async (rows: number, payload: object | null): Promise<number> => {
    for (let n = 1; n <= rows; n++) server.write('tags', id(n), payload as null)
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await rewrite(88, { name: 'Ann', shade: 1 })
  t.equal(await forEighty(async rows => await rewrite(rows, null)), 80 / 8 * 2)
  t.same(device.all('select * from tags'), [])
})

t.test('a row that refers to another costs no more', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  server.write('authors', id(1), { name: 'Ann', email: null })
  await device.client.syncOnce()
  let next = 1
  const download = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) server.write('posts', id(next++), { title: 'One', body: null, author_id: id(1) })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await download(1) // of a table of which nothing is known, nothing is asked
  t.equal(await forEighty(download), 80 / 8 * 2)
})

t.test('a row of a table with unique values is written by a statement of its own', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  let next = 1
  const download = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) server.write('authors', id(next++), { name: 'Ann', email: null })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await download(1) // of a table of which nothing is known, nothing is asked
  t.equal(await forEighty(download), 80 + 80 / 8)
})

t.test('an edit of a row that is there costs no more than a new one', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  let edits = 0
  const edit = async (rows: number): Promise<number> => {
    for (let n = 1; n <= rows; n++) server.write('tags', id(n), { name: `Ann ${edits++}`, shade: edits })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await edit(88)
  t.equal(await forEighty(edit), 80 / 8 * 2)
})

t.test('an uploaded row costs a device a quarter of a statement: eight are frozen by one, and their versions noted by one', async t => {
  const { device, count } = build(t)
  await device.client.syncOnce()
  let next = 1
  const upload = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) device.db.prepare('insert into authors values (?, ?, null)').run(id(next++), 'Ann')
    return await count(async () => { t.equal((await device.client.uploadOnce()).applied, rows) })
  }
  t.equal(await forEighty(upload), 80 / 8 * 2)
})
