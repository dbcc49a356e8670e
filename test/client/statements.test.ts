// What a page and an upload cost a device, counted and not timed: statements of SQLite.
import t, { type Test } from 'tap'
import type { Driver } from '../../client/index.js'
import { createDevice, id, type Device } from './device.js'
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
  const device = createDevice(t, { server, wrap: counting })
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

/** Statements of a hundred rows more than ten, all in one page or batch. */
async function forHundred (statements: (rows: number) => Promise<number>): Promise<number> {
  const few = await statements(10)
  return await statements(110) - few
}

t.test('a downloaded row costs a device four statements: staged, looked at, written, its version noted', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  let next = 1
  const download = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) server.write('authors', id(next++), { name: 'Ann', email: null })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  t.equal(await forHundred(download), 100 * 4)
})

t.test('an edit of a row that is there costs no more than a new one', async t => {
  const { device, server, count } = build(t)
  await device.client.syncOnce()
  let edits = 0
  const edit = async (rows: number): Promise<number> => {
    for (let n = 1; n <= rows; n++) server.write('authors', id(n), { name: `Ann ${edits++}`, email: null })
    return await count(async () => { t.equal((await device.client.downloadOnce()).applied, rows) })
  }
  await edit(110)
  t.equal(await forHundred(edit), 100 * 4)
})

t.test('an uploaded row costs a device six statements: three to freeze it, three when it is judged', async t => {
  const { device, count } = build(t)
  await device.client.syncOnce()
  let next = 1
  const upload = async (rows: number): Promise<number> => {
    for (let n = 0; n < rows; n++) device.db.prepare('insert into authors values (?, ?, null)').run(id(next++), 'Ann')
    return await count(async () => { t.equal((await device.client.uploadOnce()).applied, rows) })
  }
  t.equal(await forHundred(upload), 100 * 6)
})
