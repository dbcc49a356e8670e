// H5, H7, H8, H24, L7, P17: every value arrives as it left, or is held by name.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { elementsOf, membersOf } from '../../client/http/json-text.js'
import { canonicalCell, decodeRow, encodeRow, realCell } from '../../client/sqlite/cell.js'
import { valueOf } from '../../client/sqlite/values.js'
import { createDevice } from './device.js'
import { FakeServer } from './fake-server.js'

const sql = 'create table v (id integer primary key, i integer, r real, s text, b blob, n, j json, d datetime)'

/** Two devices of one user with the table `v`. */
function pair (t: Test): { server: FakeServer, from: ReturnType<typeof createDevice>, to: ReturnType<typeof createDevice>, same: () => Promise<void> } {
  const server = new FakeServer()
  const from = createDevice(t, { server, sql, tables: ['v'], deviceId: 'from' })
  const to = createDevice(t, { server, sql, tables: ['v'], deviceId: 'to' })
  const same = async (): Promise<void> => {
    await from.client.syncOnce()
    await to.client.syncOnce()
    const all = 'select id, quote(i) i, quote(r) r, quote(s) s, hex(s) h, quote(b) b, quote(n) n, quote(j) j, quote(d) d from v order by id'
    t.same(to.all(all), from.all(all))
    t.same(from.client.held(), [])
    t.match(to.client.status(), { shadow: 0, pending: 0 })
    // An edit of one column on the other device leaves all others as they are.
    to.db.exec("update v set d = 'touched'")
    await to.client.syncOnce()
    await from.client.syncOnce()
    t.same(from.all(all), to.all(all))
  }
  return { server, from, to, same }
}

t.test('integers to 64 bits, reals, texts and blobs (H8)', async t => {
  const { server, from, same } = pair(t)
  const integers = ['0', '-1', '9007199254740991', '9007199254740993', '-9007199254740993', '9223372036854775807', '-9223372036854775808']
  integers.forEach((text, i) => from.db.prepare('insert into v (id, i, n) values (?, cast(? as integer), cast(? as integer))').run(i + 1, text, text))
  const reals = [0.1, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e21, -1.5, 5, 2 ** 53, 1 / 3, -0, -139589478577913400]
  reals.forEach((value, i) => from.db.prepare('insert into v (id, r, n) values (?, ?, ?)').run(100 + i, value, value))
  const texts = ['', 'null', '\'"\\', '\u{1f600}\n\t\u2028', '\ufffd', '123', '1e5', '123456789012345678901234567890.123456789', 'e\u0301']
  texts.forEach((text, i) => from.db.prepare('insert into v (id, s, n) values (?, ?, ?)').run(200 + i, text, text))
  const blobs = [Buffer.alloc(0), Buffer.from([0]), Buffer.from('any text'), Buffer.alloc(100_000, 7)]
  blobs.forEach((blob, i) => from.db.prepare('insert into v (id, b) values (?, ?)').run(300 + i, blob))
  from.db.prepare('insert into v (id) values (400)').run()
  await same()
  t.equal(membersOf(server.rows.get('v:6')?.payload as string).get('i'), '9223372036854775807')
  t.equal(membersOf(server.rows.get('v:300')?.payload as string).get('b'), '""')
  t.equal(membersOf(server.rows.get('v:400')?.payload as string).get('b'), 'null')
})

t.test('a value of another storage class than its column travels as it is stored (H24)', async t => {
  const { server, from, same } = pair(t)
  from.db.exec("insert into v (id, i, r, s) values (1, 'abc', 'def', 1.5), (2, 1.5, 7, 12), (3, '0012', '', x''), (4, '\u00a05', '5\u2003', 0), (5, '0x10', '1_0', '')")
  from.db.exec('update v set s = null where id = 3')
  await same()
  t.equal(membersOf(server.rows.get('v:1')?.payload as string).get('i'), '"abc"')
  t.equal(membersOf(server.rows.get('v:1')?.payload as string).get('s'), '"1.5"')
})

t.test('what cannot travel is held and names its column (H5, H7, H8)', async t => {
  const { server, from } = pair(t)
  from.db.exec(`insert into v (id, r) values (1, 9e999);
    insert into v (id, r) values (2, -9e999);
    insert into v (id, s) values (3, 'a' || char(0) || 'b');
    insert into v (id, s) values (4, cast(x'61ff' as text));
    insert into v (id, s) values (5, cast(x'eda080' as text));
    insert into v (id, s) values (6, x'00');
    insert into v (id, b) values (7, 'text');
    insert into v (id, j) values (8, '{not json');
    insert into v (id, j) values (10, ' null '), (11, '{"a":["\\u0000"]}'), (12, '{"\\uDC00":1}'), (13, '"\\ud83d\\u0041"');
    insert into v (id, j) values (14, '["\\ud83d\\ude00"]');
    insert into v (id, s) values (9, 'fine')`)
  await from.client.syncOnce()
  t.same([...server.rows.keys()].sort(), ['v:14', 'v:9'])
  t.same(from.client.held().map(({ key, reason, message }) => [key, reason, message.split(' ')[1]]), [
    ['1', 'unrepresentable', 'r'], ['2', 'unrepresentable', 'r'], ['3', 'unrepresentable', 's'], ['4', 'unrepresentable', 's'], ['5', 'unrepresentable', 's'],
    ['6', 'unrepresentable', 's'], ['7', 'unrepresentable', 'b'], ['8', 'unrepresentable', 'j'], ['10', 'unrepresentable', 'j'],
    ['11', 'unrepresentable', 'j'], ['12', 'unrepresentable', 'j'], ['13', 'unrepresentable', 'j']
  ])
  from.db.exec("update v set s = 'now fine' where id = 3")
  await from.client.syncOnce()
  t.equal(server.payload('v', '3')?.['s'], 'now fine')
})

t.test('a byte order mark at the beginning of a text is a character like any other', async t => {
  const { server, from, to } = pair(t)
  from.db.exec("insert into v (id, s) values (1, char(0xFEFF) || 'mark'), (2, char(0xFEFF))")
  await from.client.syncOnce()
  t.same([server.payload('v', '1')?.['s'], server.payload('v', '2')?.['s']], ['\uFEFFmark', '\uFEFF'])
  await to.client.syncOnce()
  t.same(to.all('select hex(s) s from v order by id'), [{ s: 'EFBBBF6D61726B' }, { s: 'EFBBBF' }])
  t.equal(valueOf("T'EFBBBF006D'"), '\uFEFF\0m', 'also where it is shown with a NUL')
})

t.test('a byte order mark at the beginning of a key makes it another key', async t => {
  const server = new FakeServer()
  const [from, to] = ['from', 'to'].map(deviceId => createDevice(t, { server, sql: 'create table k (id text primary key, s text)', tables: ['k'], deviceId }))
  for (const change of ["insert into k values (char(0xFEFF) || 'mark', 'a'), ('mark', 'b')", "update k set s = s || '!'", "delete from k where s = 'b!'"]) {
    from?.db.exec(change)
    await from?.client.syncOnce()
    await to?.client.syncOnce()
    t.same(from?.client.held(), [])
    t.same(to?.all('select hex(id) id, s from k order by id'), from?.all('select hex(id) id, s from k order by id'))
  }
  t.same(to?.all('select s from k'), [{ s: 'a!' }])
  t.equal(server.payload('k', '\uFEFFmark')?.['s'], 'a!')
  t.equal(server.payload('k', 'mark')?.['s'], undefined)
})

t.test('a change after a NUL is a change', async t => {
  const { server, from } = pair(t)
  from.db.exec("insert into v (id, s) values (1, 'a')")
  await from.client.syncOnce()
  from.db.exec("update v set s = 'a' || char(0) || 'b'")
  await from.client.syncOnce()
  t.match(from.client.held(), [{ key: '1', reason: 'unrepresentable', server: { s: 'a' } }])
  t.equal(server.log.length, 1)
})

t.test('what the server sends: decimals into TEXT, booleans, JSON, uuids into BLOB', async t => {
  const { server, from } = pair(t)
  server.write('v', '1', '{"id":1,"i":true,"s":123456789012345678901234567890.1234500,"n":9223372036854775807,"j":{"a": [1.10, 2]},"b":"AP8=","r":3}')
  server.write('v', '2', '{"id":2,"s":{"k":12345678901234567890},"b":"00112233-4455-6677-8899-aabbccddeeff","j":"text","i":"42","d":"2026-01-01"}')
  await from.client.syncOnce()
  t.same(from.all('select i, s, cast(n as text) n, j, hex(b) b, typeof(r) r from v where id = 1'), [
    { i: 1, s: '123456789012345678901234567890.1234500', n: '9223372036854775807', j: '{"a": [1.10, 2]}', b: '00FF', r: 'real' }])
  t.same(from.all('select s, j, hex(b) b, i, d from v where id = 2'), [{ s: '{"k":12345678901234567890}', j: '"text"', b: '00112233445566778899AABBCCDDEEFF', i: 42, d: '2026-01-01' }])
  server.write('v', '3', '{"id":3,"r":-1.3958947857791341e+17}')
  await from.client.syncOnce()
  t.same(from.all('select r from v where id = 3'), [{ r: -139589478577913400 }], 'a double as PostgreSQL spells it')
  from.db.exec('update v set r = 1.5')
  await from.client.syncOnce()
  t.equal(membersOf(server.rows.get('v:1')?.payload as string).get('j'), '{"a": [1.10, 2]}')
  t.equal(membersOf(server.rows.get('v:2')?.payload as string).get('s'), '{"k":12345678901234567890}', 'an object in a TEXT column goes back as the object')
  t.equal(membersOf(server.rows.get('v:2')?.payload as string).get('j'), '"text"')
})

t.test('a TEXT column that held an object carries any other text as text', async t => {
  for (const text of ['null', '"quoted"', '7', 'true', '{not json', '']) {
    const { server, from, to } = pair(t)
    server.write('v', '1', '{"id":1,"s":{"a":1}}')
    await from.client.syncOnce()
    from.db.prepare('update v set s = ?').run(text)
    await from.client.syncOnce()
    await to.client.syncOnce()
    t.same(to.all('select s from v'), [{ s: text }])
  }
})

t.test('a server value that SQLite would alter stays in shadow, and the cursor moves', async t => {
  const payloads = ['{"i":9223372036854775808}', '{"r":0.1234567890123456789012}', '{"d":"0012"}', '{"d":1e400}', '{"r":9007199254740993}', '{"r":139589478577913410}', '{"r":139589478577913410.0}', '{"r":1.39589478577913415e+17}', '{"b":"no base64!"}', '{"s":"nul\\u0000"}', '{"b":{}}']
  for (const payload of payloads) {
    const { server, to } = pair(t)
    server.write('v', '1', payload)
    server.write('v', '2', '{"s":"fine"}')
    await to.client.syncOnce()
    t.match(to.client.status(), { shadow: 1, cursor: 2 }, payload)
    t.same(to.all('select id from v'), [{ id: 2 }])
    t.same(to.all('select reason from _sync_shadow'), [{ reason: 'value' }])
  }
})

t.test('keys: integers to 64 bits, uuids in 16 bytes, any text', async t => {
  const server = new FakeServer()
  const keys = 'create table i (id integer primary key, v text); create table b (id blob primary key, up blob references b); create table s (id text primary key)'
  const devices = ['one', 'two'].map(deviceId => createDevice(t, { server, sql: keys, tables: ['i', 'b', 's'], deviceId }))
  const [from, to] = devices as [typeof devices[0] & object, typeof devices[0] & object]
  from.db.exec(`insert into i values (9223372036854775807, 'a'), (-9223372036854775808, 'b'), (9007199254740993, 'c'), (0, 'd');
    insert into b values (x'00112233445566778899aabbccddeeff', null), (x'ffffffffffffffffffffffffffffffff', x'00112233445566778899aabbccddeeff');
    insert into s values (''), ('a:b''"c'), ('\u{1f600}'), ('Z'), ('z')`)
  await from.client.syncOnce()
  await to.client.syncOnce()
  for (const table of ['i', 'b', 's']) {
    const all = `select quote(id) id from ${table} order by id`
    t.same(to.all(all), from.all(all))
  }
  t.equal(server.payload('b', '00112233-4455-6677-8899-aabbccddeeff')?.['id'], '00112233-4455-6677-8899-aabbccddeeff')
  to.db.exec("update i set v = 'edited'; delete from s where id = 'Z'; update b set up = null")
  await to.client.syncOnce()
  await from.client.syncOnce()
  t.same(from.all('select distinct v from i'), [{ v: 'edited' }])
  t.equal(from.all('select * from s').length, 4)
  t.same(from.all('select * from b where up is not null'), [])
})

t.test('cells and JSON texts, for all values', async t => {
  fc.assert(fc.property(fc.double({ noNaN: true }), value => {
    const cell = realCell(value)
    return canonicalCell(cell) === cell && (Number(cell) === value || value === 0)
  }))
  fc.assert(fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }))), pairs => {
    const row = new Map(pairs.map(([name, text]) => [name, `'${text}`]))
    return [...decodeRow(encodeRow(row))].length === row.size
  }))
  fc.assert(fc.property(fc.array(fc.json()), values => {
    return JSON.stringify(elementsOf(`[ ${values.join(' ,\n')} ]`).map(raw => JSON.parse(raw) as unknown)) === JSON.stringify(values.map(raw => JSON.parse(raw) as unknown))
  }))
  fc.assert(fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), object => {
    const text = JSON.stringify(object, null, 2)
    const members = membersOf(text)
    return [...members].every(([key, raw]) => JSON.stringify(JSON.parse(raw)) === JSON.stringify((JSON.parse(text) as Record<string, unknown>)[key])) &&
      members.size === Object.keys(JSON.parse(text) as object).length
  }))
  t.same([...membersOf('{"a":12345678901234567890.10,"__proto__":{"x":"}\\\\\\""}}')], [['a', '12345678901234567890.10'], ['__proto__', '{"x":"}\\\\\\""}']])
})
