// H16, K1, K3, D18, P12: keys of several columns, and references to them.
import Database from 'better-sqlite3'
import fc from 'fast-check'
import t from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { joinKey, keyCells, keyOfCells, splitKey } from '../../client/sqlite/key-text.js'
import { hasKeySql, keySql } from '../../client/sqlite/row-sql.js'
import { readTableInfo } from '../../client/sqlite/table-info.js'
import { keyProblem } from '../../client/sqlite/wire-key.js'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

const UUID = 'abcdef00-0000-4000-8000-00000000000a'
const INT64 = ['0', '-1', '9007199254740993', '9223372036854775807', '-9223372036854775808']
const text = fc.string({ unit: 'binary', maxLength: 12 }).filter(value => !value.includes('\0') && value.isWellFormed())

for (const [name, end] of [['a rowid table', ''], ['a table WITHOUT ROWID', 'without rowid']]) {
  t.test(`SQL and JavaScript spell a composite key alike, and find its row by the index of the key, in ${name as string} (H16)`, async t => {
    const db = new Database(':memory:')
    t.teardown(() => db.close())
    db.exec(`create table x (note text, n integer, id blob, a text collate nocase, primary key (a collate binary, n, id)) ${end as string}`)
    const table = readTableInfo(betterSqlite3(db), 'x')
    t.same(table.key, [{ name: 'a', type: 'text' }, { name: 'n', type: 'integer' }, { name: 'id', type: 'blob' }], 'in the order of the key')
    const insert = db.prepare("insert into x values ('', cast(? as integer), unhex(replace(?, '-', '')), ?)")
    const spell = db.prepare(`select ${keySql(table, 't')} as key from x as t where n = cast(? as integer) and a = ? collate binary`)
    const find = db.prepare(`select a from x as t where ${hasKeySql(table, 't', '?')}`)
    const check = (a: string, n: string): void => {
      const key = joinKey([a, n, UUID])
      insert.run(n, UUID, a)
      t.same(spell.all(n, a), [{ key }])
      t.same(find.all(key), [{ a }])
      t.equal(keyProblem(table, key), a.includes('\ufffd') ? 'has a part, a, that is not valid UTF-8' : null)
      t.equal(keyOfCells(table, [...keyCells(table, key).values()]), key)
      db.exec('delete from x')
    }
    for (const n of INT64) for (const a of ['', '"', '\\', '/', '\u0001\b\t\n\f\r\u001f\u007f', '\u2028', '\u{1F600}', "'", '["a"]', '{', 'Ä', '\ufffd']) check(a, n)
    fc.assert(fc.property(text, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (a, n) => { check(a, String(n)) }), { numRuns: 500, seed: 1 })
    const plan = db.prepare(`explain query plan select 1 from x as t where ${hasKeySql(table, 't', '?')}`).all('[]') as Array<{ detail: string }>
    t.match(plan.map(({ detail }) => detail).join(), /SEARCH t USING .*\(a=\? AND n=\? AND id=\?\)/)
    for (const wrong of ['', 'x', '[]', '["a","1"]', `["a",1,"${UUID}"]`, `["a", "1","${UUID}"]`, `["a","01","${UUID}"]`, `["a","1","${UUID.toUpperCase()}"]`, `["a","9223372036854775808","${UUID}"]`]) {
      t.not(keyProblem(table, wrong), null, wrong)
      t.same(find.all(wrong), [])
    }
    t.match(keyProblem(table, joinKey(['x'.repeat(1024), '1', UUID])), /longer than 1024 bytes/)
    t.equal(splitKey(table, '{"length":3}'), null)
  })
}

const SQL = `
  create table lists (owner text not null, id text not null, title text, primary key (owner, id)) strict;
  create table items (n integer, list text, owner text, place integer, title text, primary key (list, n),
    foreign key (list, owner) references lists (id, owner) on delete cascade on update cascade)`
const list = (n: number): string => joinKey(['ann', id(n)])

t.test('rows with composite keys are captured, sent, applied and merged; a changed part is a deletion and an insert (D18, H16)', async t => {
  const server = new FakeServer()
  const tables = ['lists', 'items']
  const phone = createDevice(t, { server, sql: SQL, tables, deviceId: 'phone' })
  const pad = createDevice(t, { server, sql: SQL, tables, deviceId: 'pad' })
  phone.db.pragma('foreign_keys = on')
  phone.db.exec(`insert into lists values ('ann', '${id(1)}', 'one'), ('ann', '${id(2)}', 'two'); insert into items values (7, '${id(1)}', 'ann', 0, 'x')`)
  await phone.client.syncOnce()
  t.same([...server.rows.keys()], [`lists:${list(1)}`, `lists:${list(2)}`, `items:["${id(1)}","7"]`])
  t.same(server.payload('items', `["${id(1)}","7"]`), { n: 7, list: id(1), owner: 'ann', place: 0, title: 'x' })
  await pad.client.syncOnce()
  t.same(pad.all('select * from items'), phone.all('select * from items'))

  phone.db.exec(`update lists set id = '${id(3)}' where id = '${id(1)}'`)
  t.same(phone.pending().sort(), [`items:["${id(1)}","7"]`, `items:["${id(3)}","7"]`, `lists:${list(1)}`, `lists:${list(3)}`], 'with the cascade')
  pad.db.exec(`update lists set title = 'edited on the pad' where id = '${id(2)}'`)
  await pad.client.syncOnce()
  await phone.client.syncOnce()
  await pad.client.syncOnce()
  await phone.client.syncOnce()
  t.same(pad.all('select * from lists order by id'), phone.all('select * from lists order by id'))
  t.same(pad.all('select * from items order by list'), phone.all('select * from items order by list'))
  for (const { client } of [phone, pad]) t.match(client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })

  phone.db.exec(`insert or replace into lists values ('ann', '${id(2)}', 'again'); insert into lists values ('ann', '${id(2)}', 'y') on conflict do update set title = excluded.title`)
  t.same(phone.pending(), [`lists:${list(2)}`])
  t.same(phone.all('select image from _sync_pending').map(row => JSON.parse(row['image'] as string)), [{ owner: "'ann'", id: `'${id(2)}'`, title: "'edited on the pad'" }])
})

t.test('a part of another storage class is held by name, and hides no other row (H16)', async t => {
  const device = createDevice(t, { sql: 'create table x (a text, n integer, u blob, v text, primary key (a, n, u))', tables: ['x'] })
  const insert = device.db.prepare('insert into x values (?, ?, ?, null)')
  const uuid = Buffer.alloc(16, 1)
  insert.run(null, 1, uuid)
  insert.run(Buffer.from('a'), 1, uuid)
  insert.run('a', 'one', uuid)
  insert.run('a', 'nul\0one', uuid)
  insert.run('a', 'nul\0two', uuid)
  insert.run('a', 1, Buffer.from('short'))
  insert.run('good', 1, uuid)
  await device.client.syncOnce()
  const held = device.client.held()
  t.equal(held.length, 6)
  t.ok(held.every(({ reason, message }) => reason === 'unrepresentable' && message.endsWith('cannot travel: a must hold text, n must hold an integer, u must hold a uuid of 16 bytes.')))
  t.equal(new Set(held.map(({ key }) => key)).size, 6, 'each by its own name')
  for (const row of held) t.ok(device.client.discardHeld(row.id))
  t.same(device.all('select a from x'), [{ a: 'good' }])
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
})

t.test('a parent deleted here comes back for the child of another device, whether it is referred to by its key in another order or by a unique value (K3)', async t => {
  const server = new FakeServer()
  const sql = `${SQL}; create table codes (id text primary key, code text not null unique, day text);
    create table uses (id text primary key, code text references CODES (CODE))`
  const device = createDevice(t, { server, sql, tables: ['lists', 'items', 'codes', 'uses'] })
  device.db.exec(`insert into lists values ('ann', '${id(1)}', 'one'); insert into codes values ('c', 'it''s', 'monday')`)
  await device.client.syncOnce()
  device.db.exec('delete from lists; delete from codes')
  server.write('items', `["${id(1)}","1"]`, { n: 1, list: id(1), owner: 'ann' })
  server.write('uses', 'u', { id: 'u', code: "it's" })
  await device.client.downloadOnce()
  t.same(device.all('select title from lists'), [{ title: 'one' }])
  t.same(device.all('select id, code, day from codes'), [{ id: 'c', code: "it's", day: 'monday' }])
  t.match(device.client.conflicts(), [{ kind: 'parent-restored', table: 'lists', key: list(1) }, { kind: 'parent-restored', table: 'codes', key: 'c' }])
  t.same(device.pending(), [])
  t.same(device.client.shadow(), [])
})

t.test('a row refused for a parent that it refers to by a unique value goes up once a row of that table has come (K1)', async t => {
  const server = new FakeServer()
  const sql = 'create table codes (id text primary key, code text unique); create table uses (id text primary key, code text references codes (code))'
  const device = createDevice(t, { server, sql, tables: ['codes', 'uses'] })
  device.db.pragma('foreign_keys = off')
  server.refuse = change => change.table === 'uses' && server.payload('codes', 'c') === undefined ? { reason: 'fk_missing', details: { missing: ['business.codes:abc'] } } : null
  device.db.exec("insert into uses values ('u', 'abc')")
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: 'u', reason: 'fk_missing' }])
  server.write('codes', 'c', { id: 'c', code: 'abc' })
  await device.client.syncOnce()
  t.same(device.client.held(), [])
  t.equal(server.version('uses', 'u'), 1)
})

t.test('ancestors in a circle of composite keys go up first, by key in another order and by a unique value (K2)', async t => {
  const server = new FakeServer()
  const sql = `create table nodes (a integer, b text, code text unique, up_b text, up_a integer, by_code text references nodes (code), primary key (a, b),
    foreign key (up_b, up_a) references nodes (b, a))`
  const device = createDevice(t, { server, sql, tables: ['nodes'], uploadBatchSize: 2 })
  device.db.exec("insert into nodes values (1, 'child', 'c1', 'parent', 2, null), (3, 'other', 'c3', null, null, 'c4'), (4, 'code', 'c4', null, null, null), (2, 'parent', 'c2', null, null, null)")
  await device.client.syncOnce()
  t.same(server.log.map(({ pk }) => pk), ['["2","parent"]', '["1","child"]', '["4","code"]', '["3","other"]'])
})
