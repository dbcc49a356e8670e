// J1, J3, J4, D23, P13: settling conflicts, with the table of docs/client.md.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { merge } from '../../client/conflict/merge.js'
import { equalRows, type Row } from '../../client/sqlite/cell.js'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

const row = (values: Record<string, string>): Row => new Map(Object.entries(values))
const base = row({ id: "'k'", a: '1', b: '1' })
const plain = (result: Row | null): unknown => result === null ? null : Object.fromEntries(result)

t.test('the merge by column', async t => {
  const mine = row({ id: "'k'", a: '2', b: '1' })
  const theirs = row({ id: "'k'", a: '1', b: '3' })
  t.same(merge(base, mine, theirs, 'serverWins'), { result: row({ id: "'k'", a: '2', b: '3' }), conflict: null })
  t.same(merge(base, mine, row({ id: "'k'", a: '2', b: '1' }), 'serverWins').conflict, null, 'the same change twice is one')
  const both = row({ id: "'k'", a: '9', b: '1' })
  t.same(plain(merge(base, mine, both, 'serverWins').result), { id: "'k'", a: '9', b: '1' })
  t.same(plain(merge(base, mine, both, 'clientWins').result), { id: "'k'", a: '2', b: '1' })
  t.same(merge(base, mine, both, 'serverWins').conflict, { kind: 'update-update', columns: ['a'] })
})

t.test('deletions', async t => {
  const edited = row({ id: "'k'", a: '2', b: '1' })
  t.same(merge(base, null, base, 'serverWins'), { result: null, conflict: null }, 'deleted here, unchanged there')
  t.same(merge(base, base, null, 'clientWins'), { result: null, conflict: null }, 'deleted there, unchanged here')
  t.same(merge(base, null, null, 'serverWins'), { result: null, conflict: null })
  t.same(merge(base, null, edited, 'serverWins'), { result: edited, conflict: { kind: 'delete-update', columns: ['a'] } })
  t.same(merge(base, null, edited, 'clientWins').result, null)
  t.same(merge(base, edited, null, 'serverWins'), { result: null, conflict: { kind: 'update-delete', columns: ['a'] } })
  t.same(merge(base, edited, null, 'clientWins').result, edited)
  t.same(merge(null, edited, null, 'serverWins').result, edited, 'made here, over a deletion that was not known')
})

t.test('without a base every column that differs is a conflict; a column that one side lacks is none', async t => {
  t.same(merge(null, row({ id: "'k'", a: '1', b: '2' }), row({ id: "'k'", a: '1', b: '3' }), 'serverWins').conflict, { kind: 'insert-insert', columns: ['b'] })
  t.same(plain(merge(base, row({ id: "'k'", a: '2', b: '1', c: '5' }), row({ id: "'k'", a: '1' }), 'serverWins').result), { id: "'k'", a: '2', b: '1', c: '5' })
})

t.test('for all rows: unchanged sides lose nothing, and both devices come to the same row', async t => {
  const cells = fc.constantFrom('NULL', '1', '2', "'x'")
  const rows = fc.option(fc.record({ a: cells, b: cells, c: cells }).map(row), { nil: null })
  fc.assert(fc.property(rows, rows, rows, fc.constantFrom('serverWins' as const, 'clientWins' as const), (b, mine, theirs, rule) => {
    const { result, conflict } = merge(b, mine, theirs, rule)
    if (conflict !== null && rule === 'serverWins' && conflict.kind !== 'update-update' && !equalRows(result, theirs)) return false
    if (mine !== null && theirs !== null && result !== null) {
      for (const [column, cell] of result) if (cell !== mine.get(column) && cell !== theirs.get(column)) return false
    }
    if (b !== null && equalRows(mine, b) && !equalRows(result, theirs)) return false // nothing was changed here
    if (b !== null && theirs !== null && equalRows(theirs, b) && !equalRows(result, mine)) return false // nothing was changed there
    // What was merged is the row that both hold, once it is the server's.
    return equalRows(merge(theirs, result, result, rule).result, result)
  }))
  t.pass()
})

/** A row that is in step, then edited on both sides; the device syncs. */
async function collide (t: Test, conflict: 'serverWins' | 'clientWins', mine: string, theirs: Record<string, unknown> | null): Promise<{ device: ReturnType<typeof createDevice>, server: FakeServer }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, tables: [{ table: 'authors', conflict }, 'posts'] })
  device.db.exec(`insert into authors values ('${id(1)}', 'base', 'base@x')`)
  await device.client.syncOnce()
  device.db.exec(mine)
  server.write('authors', id(1), theirs)
  return { device, server }
}

for (const order of ['upload first', 'download first']) {
  const settle = async (device: ReturnType<typeof createDevice>): Promise<void> => {
    if (order === 'download first') await device.client.downloadOnce()
    await device.client.syncOnce()
  }

  t.test(`${order}: different columns both survive, without a record`, async t => {
    const { device, server } = await collide(t, 'serverWins', "update authors set name = 'mine'", { id: id(1), name: 'base', email: 'theirs@x' })
    await settle(device)
    t.same(device.all('select name, email from authors'), [{ name: 'mine', email: 'theirs@x' }])
    t.match(server.payload('authors', id(1)), { name: 'mine', email: 'theirs@x' })
    t.same(device.client.conflicts(), [])
  })

  for (const rule of ['serverWins', 'clientWins'] as const) {
    const winner = rule === 'serverWins' ? 'theirs' : 'mine'

    t.test(`${order}, ${rule}: the same column`, async t => {
      const { device, server } = await collide(t, rule, "update authors set name = 'mine'", { id: id(1), name: 'theirs', email: 'base@x' })
      await settle(device)
      t.same(device.all('select name from authors'), [{ name: winner }])
      t.match(server.payload('authors', id(1)), { name: winner })
      t.match(device.client.conflicts(), [{
        kind: 'update-update', table: 'authors', key: id(1), columns: ['name'], rule, before: { name: 'base' }, mine: { name: 'mine' }, theirs: { name: 'theirs' }, result: { name: winner }, at: /^\d{4}-/
      }])
    })

    t.test(`${order}, ${rule}: edited here, deleted there (J1, J4)`, async t => {
      const { device, server } = await collide(t, rule, "update authors set name = 'mine'", null)
      await settle(device)
      t.same(device.all('select name from authors'), rule === 'serverWins' ? [] : [{ name: 'mine' }])
      t.match(server.payload('authors', id(1)), rule === 'serverWins' ? null : { name: 'mine', email: 'base@x' })
      t.match(device.client.conflicts(), [{ kind: 'update-delete', columns: ['name'], mine: { name: 'mine' }, theirs: null }])
      t.match(device.client.status(), { pending: 0, held: 0 })
    })

    t.test(`${order}, ${rule}: deleted here, edited there (J1)`, async t => {
      const { device, server } = await collide(t, rule, 'delete from authors', { id: id(1), name: 'theirs', email: 'base@x' })
      await settle(device)
      t.same(device.all('select name from authors'), rule === 'serverWins' ? [{ name: 'theirs' }] : [])
      t.match(server.payload('authors', id(1)), rule === 'serverWins' ? { name: 'theirs' } : null)
      t.match(device.client.conflicts(), [{ kind: 'delete-update', columns: ['name'], mine: null, theirs: { name: 'theirs' } }])
    })

    t.test(`${order}, ${rule}: both made a row with one key`, async t => {
      const server = new FakeServer()
      const device = createDevice(t, { server, tables: [{ table: 'authors', conflict: rule }, 'posts'] })
      server.write('authors', id(1), { id: id(1), name: 'theirs', email: 'same' })
      device.db.exec(`insert into authors values ('${id(1)}', 'mine', 'same')`)
      await settle(device)
      t.same(device.all('select name from authors'), [{ name: winner }])
      t.match(server.payload('authors', id(1)), { name: winner })
    })
  }

  t.test(`${order}: deleted on both sides is no conflict`, async t => {
    const { device } = await collide(t, 'serverWins', 'delete from authors', null)
    await settle(device)
    t.same(device.client.conflicts(), [])
    t.match(device.client.status(), { pending: 0 })
  })

  t.test(`${order}: a row made again over a deletion keeps the new row (J3)`, async t => {
    const { device, server } = await collide(t, 'serverWins', 'delete from authors', null)
    await device.client.syncOnce()
    device.db.exec(`insert into authors values ('${id(1)}', 'again', null)`)
    await settle(device)
    t.match(server.payload('authors', id(1)), { name: 'again' })
    t.equal(server.version('authors', id(1)), 3)
  })
}

t.test('a reply that carries the row as the server completed it is merged with newer edits', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'mine', null), ('${id(2)}', 'other', null)`)
  const completed = (pk: string): Record<string, unknown> => ({ id: pk, name: 'trimmed', email: `${pk}@x` })
  server.verdict = ({ pk }) => {
    device.db.exec(`update authors set name = 'newer' where id = '${id(2)}'`)
    return {
      status: 'applied',
      new_server_version: 1,
      server_row: { schema_name: 'business', table_name: 'authors', id: pk, server_version: 1, deleted: false, payload: completed(pk) }
    }
  }
  await device.client.uploadOnce()
  t.same(device.all('select * from authors order by id'), [completed(id(1)), completed(id(2))])
  t.match(device.client.conflicts(), [{ key: id(2), columns: ['name'], before: { name: 'other' }, mine: { name: 'newer' } }])
})

t.test('a row made here and deleted while its insert met a row with the same key goes by rule, on record; where that is just what was sent, it is deleted (A21)', async t => {
  for (const theirs of ['theirs', 'mine']) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    server.write('authors', id(1), { id: id(1), name: theirs, email: null })
    device.db.exec(`insert into authors values ('${id(1)}', 'mine', null)`)
    server.onRequest = ({ body }, answer) => {
      if (body?.includes('"payload"') === true) device.db.exec('delete from authors')
      return answer()
    }
    await device.client.uploadOnce()
    server.onRequest = (_, answer) => answer()
    await device.client.syncOnce()
    t.same(device.client.conflicts().map(({ kind }) => kind), theirs === 'mine' ? [] : ['delete-update'])
    t.same(server.payload('authors', id(1))?.['name'], theirs === 'mine' ? undefined : 'theirs')
    t.equal(device.all('select count(*) as n from authors')[0]?.['n'], theirs === 'mine' ? 0 : 1)
  }
})

t.test('a row made here and deleted while its insert met a row of an older version of the app comes back as the server has it, and keeps nothing of what was deleted (A21, P11)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), { id: id(1), name: 'theirs' }) // a version without the column
  device.db.exec(`insert into authors values ('${id(1)}', 'mine', 'mine@x')`)
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('"payload"') === true) device.db.exec('delete from authors')
    return answer()
  }
  await device.client.uploadOnce()
  t.same(device.all('select name, email from authors'), [{ name: 'theirs', email: null }])
  t.match(device.client.conflicts(), [{ kind: 'delete-update', columns: ['name'], mine: null, theirs: { name: 'theirs', email: null } }])
  t.match(device.client.status(), { pending: 0, shadow: 0 })
})

for (const what of ['an insert', 'an update']) {
  t.test(`${what} that meets the same values by an older version of the app: a column that only this version has is sent on (P13, P15)`, async t => {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    if (what === 'an update') {
      server.write('authors', id(1), { id: id(1), name: 'base' })
      await device.client.syncOnce()
      device.db.exec("update authors set name = 'same', email = 'mine@x'")
    } else device.db.exec(`insert into authors values ('${id(1)}', 'same', 'mine@x')`)
    server.write('authors', id(1), { id: id(1), name: 'same' })
    await device.client.syncOnce()
    t.same(server.payload('authors', id(1)), { id: id(1), name: 'same', email: 'mine@x' })
    t.same(device.all('select name, email from authors'), [{ name: 'same', email: 'mine@x' }])
    t.same(device.client.conflicts(), [])
  })
}

t.test('a row that was deleted and made again by an older version of the app, beside an edit here: the column that it lacks does not stay on one device only (P15)', async t => {
  for (const mine of ["update authors set name = 'mine'", 'delete from authors']) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    server.write('authors', id(1), { id: id(1), name: 'base', email: 'base@x' })
    await device.client.syncOnce()
    device.db.exec(mine)
    server.write('authors', id(1), null)
    server.write('authors', id(1), { id: id(1), name: 'again' })
    await device.client.syncOnce()
    t.same(device.all('select name, email from authors'), [{ name: 'again', email: server.payload('authors', id(1))?.['email'] ?? null }])
    t.equal(device.client.conflicts().length, 1)
    t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
  }
})

t.test('a default may be a name, which SQLite takes for a text, or a function that this connection does not have: rows are merged all the same', async t => {
  for (const [sql, status] of [["'open'", null], ['open', null], ['"o""pen"', null], ['`open`', null], ['[open]', null], ['true', null], ['(my_default())', 'mine']]) {
    const server = new FakeServer()
    const device = createDevice(t, { server, tables: ['tickets'], sql: `create table tickets (id text primary key, title text, status text default ${sql})` })
    if (status === null) device.db.exec(`insert into tickets (id, title) values ('${id(1)}', 'a')`)
    else device.db.exec(`insert into tickets (id, title, status) values ('${id(1)}', 'a', '${status}')`)
    const before = device.all('select status from tickets')
    // By a version of the app without the column.
    server.write('tickets', id(1), { id: id(1), title: 'a' })
    await device.client.syncOnce()
    t.strictSame(device.all('select status from tickets'), before, sql ?? '')
    t.same(device.pending(), [])
    t.equal(server.version('tickets', id(1)), status === null ? 1 : 2, 'the default is nothing to send')
  }
})
