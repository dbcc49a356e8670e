// What another connection to the same file sees and does while a window is applied.
import Database from 'better-sqlite3'
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

const author = (n: number, name = `Author ${n}`, email: string | null = null): Record<string, unknown> => ({ id: id(n), name, email })

t.test('another connection that writes: the window waits, or fails whole with a typed error (D6)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1))
  device.db.pragma('busy_timeout = 1')
  const other = new Database(device.file)
  t.teardown(() => other.close())
  server.onRequest = ({ path }, answer) => {
    if (path === '/download') other.exec('begin immediate')
    return answer()
  }
  await t.rejects(device.client.downloadOnce(), { name: 'DriverError', code: 'busy' })
  t.equal(device.db.pragma('foreign_keys', { simple: true }), 1)
  other.exec('rollback')
  server.onRequest = (_, answer) => answer()
  t.match(await device.client.downloadOnce(), { applied: 1 })
})

t.test('a window of many pages becomes visible at once, with versions and cursor', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  for (let n = 1; n <= 10; n++) server.write('authors', id(n), author(n))
  const other = new Database(device.file, { readonly: true })
  t.teardown(() => other.close())
  const seen = new Set<unknown>()
  server.onRequest = (_, answer) => {
    seen.add(JSON.stringify(other.prepare('select (select count(*) from authors) as rows, (select cursor from _sync_client) as cursor').get()))
    if (server.downloads.length === 1) server.write('authors', id(99), author(99)) // after the window was opened
    return answer()
  }
  const report = await device.client.downloadOnce(3)
  t.same([...seen], ['{"rows":0,"cursor":0}'])
  t.match(report, { pages: 4, received: 10, applied: 10, cursor: 10 })
  t.same(server.downloads.map(query => query.get('until')), [null, '10', '10', '10'])
  t.match(await device.client.downloadOnce(), { received: 1, cursor: 11 })
})
