// D17, D18, D19, D20, D24, D25, D14, K10, P12: what the triggers note, and that they never stand in the app's way.
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { createSyncClient } from '../../client/index.js'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

/** An author and a post that the server knows, and nothing pending. */
async function inStep (t: Test): Promise<{ server: FakeServer, device: ReturnType<typeof createDevice>, image: (table: string, key: string) => unknown }> {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', 'one@x'), ('${id(2)}', 'Two', 'two@x')`)
  device.db.exec(`insert into posts values ('${id(3)}', 'Post', null, '${id(1)}')`)
  await device.client.syncOnce()
  t.same(device.pending(), [])
  const image = (table: string, key: string): unknown => {
    const found = device.all('select image from _sync_pending where tbl = ? and key = ?', table, key)[0]
    return found === undefined ? 'not noted' : found['image'] === null ? null : JSON.parse(found['image'] as string)
  }
  return { server, device, image }
}

const one = { id: `'${id(1)}'`, name: "'One'", email: "'one@x'" }
const two = { id: `'${id(2)}'`, name: "'Two'", email: "'two@x'" }

t.test('insert, update and delete are noted with the row before the first change', async t => {
  const { device, image } = await inStep(t)
  device.db.exec(`insert into authors values ('${id(9)}', 'Nine', null)`)
  device.db.exec(`update authors set name = 'Uno' where id = '${id(1)}'; update authors set name = 'Eins' where id = '${id(1)}'`)
  device.db.exec(`delete from authors where id = '${id(2)}'`)
  t.equal(image('authors', id(9)), null)
  t.same(image('authors', id(1)), one)
  t.same(image('authors', id(2)), two)
})

t.test('an upsert is noted as the update that it is', async t => {
  const { device, image } = await inStep(t)
  device.db.exec(`insert into authors values ('${id(1)}', 'Uno', 'x') on conflict (id) do update set name = excluded.name`)
  t.same(image('authors', id(1)), one)
  t.same(device.pending(), [`authors:${id(1)}`])
})

for (const recursive of ['off', 'on']) {
  t.test(`INSERT OR REPLACE notes the rows that it removes, by key and by unique value, recursive_triggers ${recursive} (D17)`, async t => {
    const { device, image } = await inStep(t)
    device.db.pragma(`recursive_triggers = ${recursive}`)
    device.db.exec(`insert or replace into authors values ('${id(2)}', 'Both', 'one@x')`)
    t.same(device.all('select id from authors'), [{ id: id(2) }], 'one row replaced two')
    t.same(image('authors', id(1)), one, 'removed through its email')
    t.same(image('authors', id(2)), two, 'replaced')
    t.same(image('posts', id(3)), { id: `'${id(3)}'`, title: "'Post'", body: 'NULL', author_id: `'${id(1)}'` }, 'the cascade of a REPLACE')
    device.db.exec(`insert or replace into authors values ('${id(2)}', 'Again', null)`)
    t.same(image('authors', id(2)), two, 'the first image stays')
  })
}

t.test('UPDATE OR REPLACE and a UNIQUE ON CONFLICT REPLACE constraint are noted too (D17)', async t => {
  const { device, image } = await inStep(t)
  device.db.exec(`update or replace authors set email = 'two@x' where id = '${id(1)}'`)
  t.same(image('authors', id(2)), two)
  const server = new FakeServer()
  const other = createDevice(t, { server, sql: 'create table tags (id integer primary key, name text unique on conflict replace)', tables: ['tags'] })
  other.db.exec("insert into tags values (1, 'a'), (2, 'b')")
  await other.client.syncOnce()
  other.db.exec("update tags set name = 'a' where id = 2")
  t.same(other.pending().sort(), ['tags:1', 'tags:2'])
  await other.client.syncOnce()
  t.equal(server.payload('tags', '1'), null)
})

t.test('a changed key is a deletion of the old row and an insert of the new one (D18)', async t => {
  const { device, server, image } = await inStep(t)
  device.db.exec(`update authors set id = '${id(8)}' where id = '${id(2)}'`)
  t.same(image('authors', id(2)), two)
  t.equal(image('authors', id(8)), null)
  await device.client.syncOnce()
  t.equal(server.payload('authors', id(2)), null)
  t.equal(server.payload('authors', id(8))?.['name'], 'Two')
})

t.test('cascades of a delete and of a changed key are noted (K10)', async t => {
  const sql = `create table p (id integer primary key);
    create table c (id integer primary key, p integer references p on update cascade on delete set null)`
  const device = createDevice(t, { sql, tables: ['p', 'c'] })
  device.db.exec('insert into p values (1), (2); insert into c values (10, 1), (20, 2)')
  await device.client.syncOnce()
  device.db.exec('update p set id = 3 where id = 1; delete from p where id = 2')
  t.same(device.pending().sort(), ['c:10', 'c:20', 'p:1', 'p:2', 'p:3'])
})

t.test('a statement or a transaction that is rolled back leaves nothing behind', async t => {
  const { device } = await inStep(t)
  t.throws(() => device.db.exec(`insert into authors values ('${id(7)}', 'X', null), ('${id(1)}', 'Y', null)`), { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' })
  device.db.exec(`begin; delete from posts; savepoint s; delete from authors; rollback to s; update authors set name = 'x' where id = '${id(2)}'; rollback`)
  t.same(device.pending(), [])
})

t.test('another connection is captured as well, and the client can be closed meanwhile', async t => {
  const { device, server } = await inStep(t)
  await device.client.close()
  const other = new Database(device.file)
  other.exec(`update authors set name = 'From elsewhere' where id = '${id(1)}'`)
  other.close()
  t.same(device.pending(), [`authors:${id(1)}`])
  await device.reopen().client.syncOnce()
  t.equal(server.payload('authors', id(1))?.['name'], 'From elsewhere')
})

t.test('nothing is noted while server changes are applied', async t => {
  const { device, server } = await inStep(t)
  server.write('authors', id(1), { id: id(1), name: 'Peer', email: null })
  server.write('posts', id(3), null)
  await device.client.downloadOnce()
  t.same(device.all('select name from authors where id = ?', id(1)), [{ name: 'Peer' }])
  t.same(device.pending(), [])
})

t.test('WITHOUT ROWID, STRICT, generated columns, partial unique indexes, odd names and reserved words (D19)', async t => {
  const server = new FakeServer()
  const sql = `
    create table w (id text primary key, v any, n integer) strict, without rowid;
    create table "Order" (id text primary key, "select" text, "a ""b"" 'c'" text, "ü,\n{}" text, double as ("select" || '!'), stored text as (upper("select")) stored unique);
    create unique index partial on "Order" ("select") where "select" <> 'free';
  `
  const device = createDevice(t, { server, sql, tables: ['w', 'Order'] })
  device.db.exec("insert into w values ('k', x'00ff', 5); insert into w values ('l', 'text', 9007199254740993)")
  device.db.prepare('insert into "Order" (id, "select", "a ""b"" \'c\'", "ü,\n{}") values (?, ?, ?, ?)').run('o', 'x', 'q"\\', '{"json":1}')
  await device.client.syncOnce()
  t.same(server.payload('order', 'o'), { id: 'o', select: 'x', 'a "b" \'c\'': 'q"\\', 'ü,\n{}': '{"json":1}' })
  t.match(device.client.held(), [{ table: 'w', key: 'k', reason: 'unrepresentable' }], 'a blob in an ANY column would come back as text')
  t.equal(server.rows.get('w:l')?.payload, '{"id":"l","v":"text","n":9007199254740993}')
  device.db.exec('insert or replace into "Order" (id, "select") values (\'p\', \'x\')')
  t.same(device.pending(), ['order:o', 'order:p'], 'a REPLACE through a generated and a partial index')
})

t.test('a BLOB in a TEXT column or a column without a type does not make the app\'s statement fail (D24)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table x (id text primary key, a text, b)', tables: ['x'] })
  const insert = device.db.prepare('insert into x values (?, ?, ?)')
  insert.run('1', Buffer.from([0, 255]), Buffer.from([]))
  insert.run('2', 'fine', 'fine')
  device.db.exec("update x set a = x'FE' where id = '1'; delete from x where id = '2'; insert into x values ('3', 'ok', 1)")
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: '1', reason: 'unrepresentable', message: /Column a/ }])
  t.ok(server.payload('x', '3'))
})

for (const columns of [64, 200, 501, 1000]) {
  t.test(`a table of ${columns} columns is captured, sent, applied and merged (D25)`, async t => {
    const names = Array.from({ length: columns - 1 }, (_, i) => `c${i}`)
    const sql = `create table wide (id text primary key, ${names.map(name => `${name} text`).join(', ')})`
    const server = new FakeServer()
    const device = createDevice(t, { server, sql, tables: ['wide'] })
    device.db.prepare(`insert into wide values (?, ${names.map(() => '?').join(', ')})`).run('k', ...names.map(name => `value of ${name}`))
    await device.client.syncOnce()
    const row = server.payload('wide', 'k') as Record<string, unknown>
    t.equal(Object.keys(row).length, columns)
    device.db.exec("update wide set c0 = 'mine'")
    server.write('wide', 'k', { ...row, c1: 'theirs' })
    await device.client.syncOnce()
    t.same(device.all(`select c0, c1, ${names.at(-1) as string} as last from wide`), [{ c0: 'mine', c1: 'theirs', last: `value of ${names.at(-1) as string}` }])
    t.equal(server.payload('wide', 'k')?.['c0'], 'mine')
  })
}

t.test('every search that a trigger makes for rows that could be replaced uses an index (D20)', t => {
  const kinds = [
    'create table x (id integer primary key, v text)', 'create table x (id text primary key, v text unique)', 'create table x (id integer primary key desc, v text unique)',
    'create table x (id text collate nocase, n integer, u blob, v text, w text, primary key (id collate binary, n, u), unique (v, w)); create unique index p on x (w collate nocase) where w is not null',
    'create table x (id text, n integer, v text unique not null default (1), primary key (id, n)) without rowid',
    "create table x (id text primary key, v text, w text); create unique index p on x /* where */ (v, w) where w <> 'where' and (v > 1 or w <> ')') -- end"
  ]
  for (const sql of kinds) {
    const db = new Database(':memory:')
    db.exec(sql)
    createSyncClient(betterSqlite3(db), { url: 'http://x', tables: ['x'], userId: 'u' })
    // EXPLAIN lists the programs of the triggers as well: none may walk over the table or an index of it from the start.
    const roots = db.prepare("select rootpage from sqlite_schema where tbl_name = 'x'").pluck().all()
    for (const statement of ["insert into x (id, v) values ('1', '2')", "update x set v = '3' where id = '1' collate binary"]) {
      const opened = new Map<number, number>()
      let seeks = 0
      for (const { opcode, p1, p2 } of db.prepare('explain ' + statement).all() as Array<{ opcode: string, p1: number, p2: number }>) {
        if (opcode === 'OpenRead') opened.set(p1, p2)
        if (/^(?:Seek|NotExists|Found|IdxGE)/.test(opcode)) seeks++
        if (opcode === 'Rewind' || opcode === 'Last') t.notOk(roots.includes(opened.get(p1)), `${sql}: ${statement}`)
      }
      t.ok(seeks > 0)
    }
    db.close()
  }
  t.end()
})

t.test('100,000 rows changed in one transaction go up in bounded batches (D20)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table n (id integer primary key, v text)', tables: ['n'], uploadBatchSize: 10_000 })
  device.db.exec("with recursive s(i) as (select 1 union all select i + 1 from s where i < 100000) insert into n select i, 'v' || i from s")
  const report = await device.client.syncOnce()
  t.equal(report.upload.sent, 100_000)
  t.equal(server.uploads.length, 10)
  t.ok(server.uploads.every(({ changes }) => changes.length <= 10_000))
  t.equal(server.rows.size, 100_000)
})

t.test('rows that were there before sync was switched on are queued once', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: "create table a (id text primary key, v text); insert into a values ('1', 'old'), ('2', 'old')", tables: ['a'] })
  t.same(device.pending(), ['a:1', 'a:2'])
  await device.client.syncOnce()
  t.equal(server.rows.size, 2)
  t.same(device.reopen().pending(), [])
})

t.test('a table that is added later has its rows queued, and one that is left out goes on being captured', async t => {
  const { device, server } = await inStep(t)
  device.db.exec("create table later (id text primary key); insert into later values ('x')")
  const more = device.reopen({ tables: ['authors', 'posts', 'later'] })
  t.same(more.pending(), ['later:x'])
  await more.client.syncOnce()
  const less = more.reopen({ tables: ['later'] })
  less.db.exec("update authors set name = 'Changed'")
  await less.client.syncOnce()
  t.equal(server.payload('authors', id(1))?.['name'], 'One')
  const again = less.reopen({ tables: ['authors', 'posts', 'later'] })
  await again.client.syncOnce()
  t.equal(server.payload('authors', id(1))?.['name'], 'Changed')
})

t.test('opening refuses by name what cannot be synced, and leaves the file as it was (D19)', async t => {
  const refused: Array<[string, string, RegExp]> = [
    ['', 'x', /Table x .* no such table/],
    ['create view x as select 1 as id', 'x', /view/],
    ['create virtual table x using fts5(a)', 'x', /virtual/],
    ['create table x (a text)', 'x', /no primary key/],
    ['create table x (a text, b real, primary key (a, b))', 'x', /key b is declared REAL/],
    ['create table x (id text collate nocase primary key)', 'x', /collation NOCASE/i],
    ['create table x (id text collate rtrim primary key) without rowid', 'x', /collation RTRIM/i],
    ['create table x (id real primary key)', 'x', /declared REAL/],
    ['create table x (id primary key)', 'x', /without a type/],
    ['create table x (id text primary key, amount decimal(20, 4))', 'x', /column amount .*DECIMAL.*TEXT/i],
    ['create table x (id text primary key, amount numeric)', 'x', /column amount/],
    ['create table x (id text primary key, email text); create unique index e on x (lower(email))', 'x', /unique index e/],
    ['create table p (id text primary key); create table x (id text primary key, p text references p)', 'x', /refers to p, which is not synced/],
    ['create table "a b" (id text primary key)', 'a b', /name must consist/],
    ['create table x (id text primary key)', '_sync_row', /reserved/]
  ]
  for (const [sql, table, message] of refused) {
    const db = new Database(':memory:')
    db.exec(sql)
    const before = db.prepare('select name from sqlite_schema').all()
    t.throws(() => createSyncClient(betterSqlite3(db), { url: 'http://x', tables: [table], userId: 'u' }), { code: 'table_refused', message }, message.source)
    t.same(db.prepare('select name from sqlite_schema').all(), before)
    db.close()
  }
})

t.test('a default that is a name also stands for a NULL in a unique column', async t => {
  const device = createDevice(t, { tables: ['tickets'], sql: 'create table tickets (id text primary key, project text, status text not null default "open", unique (project, status))' })
  device.db.exec(`insert into tickets values ('${id(1)}', 'a', 'open')`)
  await device.client.syncOnce()
  device.db.exec(`insert or replace into tickets values ('${id(2)}', 'a', null)`)
  t.strictSame(device.all('select id, status from tickets'), [{ id: id(2), status: 'open' }])
  t.strictSame(device.pending().sort(), [`tickets:${id(1)}`, `tickets:${id(2)}`])
})
