// D14, D20, D25, P11: windows of every size and order, beside an app that writes.
import Database from 'better-sqlite3'
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

t.test('an app that writes while a window is applied waits, and its write is noted once (D14)', async t => {
  const server = new FakeServer()
  const seen: unknown[] = []
  let other: Database.Database | null = null
  const device = createDevice(t, {
    server,
    wrap: driver => ({
      exec: sql => driver.exec(sql),
      run: (sql, params) => {
        const result = driver.run(sql, params)
        if (other !== null && sql.startsWith('insert into _sync_row')) {
          seen.push(other.prepare('select applying from _sync_client').pluck().get(), other.prepare('select count(*) from authors').pluck().get())
          t.throws(() => other?.exec(`insert into authors values ('${id(9)}', 'App', null)`), { code: 'SQLITE_BUSY' })
        }
        return result
      },
      all: (sql, params) => driver.all(sql, params),
      close: () => driver.close(),
      get inTransaction () { return driver.inTransaction }
    })
  })
  const connection = new Database(device.file, { timeout: 0 })
  t.teardown(() => connection.close())
  other = connection
  server.write('authors', id(1), { id: id(1), name: 'One', email: null })
  await device.client.downloadOnce()
  t.same(seen, [0, 0], 'another connection sees neither the flag nor half a window')
  connection.exec(`insert into authors values ('${id(9)}', 'App', null)`)
  t.same(device.pending(), [`authors:${id(9)}`])
  t.same(device.all('select name from authors order by id'), [{ name: 'One' }, { name: 'App' }])
})

t.test('unique values that move around three rows arrive in any order, on a clean device and beside local edits', async t => {
  for (const order of [[1, 2, 3], [3, 1, 2], [2, 1, 3], [3, 2, 1]]) {
    for (const edited of [null, 1, 2, 3]) {
      const server = new FakeServer()
      const device = createDevice(t, { server })
      for (const n of [1, 2, 3]) device.db.prepare('insert into authors values (?, ?, ?)').run(id(n), `n${n}`, `mail${n}`)
      await device.client.syncOnce()
      if (edited !== null) device.db.prepare("update authors set name = 'mine' where id = ?").run(id(edited))
      for (const n of order) server.write('authors', id(n), { id: id(n), name: `n${n}`, email: `mail${n % 3 + 1}` })
      await device.client.syncOnce()
      t.same(device.all('select name, email from authors order by id'), [1, 2, 3].map(n => ({ name: n === edited ? 'mine' : `n${n}`, email: `mail${n % 3 + 1}` })), `${order.join()} ${edited}`)
      t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
    }
  }
})

t.test('a window of 100,000 rows is applied as one, children before parents, in bounded memory (D20)', async t => {
  const server = new FakeServer()
  const body = 'x'.repeat(500)
  for (let n = 0; n < 50_000; n++) server.write('posts', id(100_000 + n), { id: id(100_000 + n), title: `t${n}`, body, author_id: id(n) })
  for (let n = 0; n < 50_000; n++) server.write('authors', id(n), { id: id(n), name: `n${n}`, email: null })
  const before = process.memoryUsage().rss
  const device = createDevice(t, { server, downloadLimit: 1000 })
  server.pageSize = 1000
  const report = await device.client.downloadOnce()
  t.match(report, { received: 100_000, applied: 100_000, shadowed: 0 })
  t.equal(device.all('select count(*) as n from posts join authors on authors.id = author_id')[0]?.['n'], 50_000)
  const grown = Math.round((process.memoryUsage().rss - before) / 1024 / 1024)
  t.comment(`RSS grew by ${grown} MiB`)
  t.ok(grown < 300, `${grown} MiB`)
})

t.test('no call in a trigger has more arguments than the smallest build of SQLite takes (D25)', async t => {
  const names = Array.from({ length: 1000 }, (_, i) => `c${i} text`)
  const device = createDevice(t, { sql: `create table wide (${Array.from({ length: 32 }, (_, i) => `k${i} text`).join(', ')}, ${names.slice(32).join(', ')}, primary key (${Array.from({ length: 32 }, (_, i) => `k${i}`).join(', ')}))`, tables: ['wide'] })
  for (const { sql } of device.all("select sql from sqlite_schema where type = 'trigger'")) {
    let most = 0
    const commas: number[] = []
    for (const char of (sql as string).replaceAll(/'(?:[^']|'')*'/g, "''")) {
      if (char === '(') commas.push(1)
      else if (char === ')') most = Math.max(most, commas.pop() as number)
      else if (char === ',' && commas.length > 0) commas[commas.length - 1] = (commas.at(-1) as number) + 1
    }
    t.ok(most > 1 && most <= 127, `${most} arguments`)
  }
  device.db.exec(`insert into wide (${Array.from({ length: 32 }, (_, i) => `k${i}`).join(', ')}) values (${Array.from({ length: 32 }, (_, i) => `'${i}'`).join(', ')})`)
  t.same(device.pending(), [`wide:${JSON.stringify(Array.from({ length: 32 }, (_, i) => String(i)))}`])
})
