// H16, K1, P15, P17: composite keys between two devices and the real server, which has its own idea of how a key is spelled.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createPair, type Pair, type PairedDevice } from './pair.js'

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const rows = ({ db }: PairedDevice, table: string): unknown[] => db.prepare(`select * from ${table} order by 1, 2`).raw().all()

async function expectEqual (t: Test, { sql, a, b }: Pair, tables: string[]): Promise<void> {
  for (const table of tables) {
    t.same(rows(b, table), rows(a, table), `${table}: both devices`)
    const [count] = await sql.unsafe(`select count(*)::int as n from ${table}`)
    t.equal(count?.['n'], rows(a, table).length, `${table}: the server has as many`)
  }
  for (const { sync } of [a, b]) t.match(sync.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, JSON.stringify([sync.held(), sync.shadow()]))
}

t.test('keys of (uuid, integer), (text, text) and (owner, uuid) go both ways, with children that refer to them (H16)', async t => {
  const pair = await createPair(t, {
    server: `
      create table lists (owner_id text, id uuid, title text, primary key (owner_id, id));
      create table items (list_id uuid, place bigint, owner_id text, note text, boss_place bigint, primary key (list_id, place),
        foreign key (owner_id, list_id) references lists on delete cascade,
        constraint boss foreign key (list_id, boss_place) references items deferrable initially deferred);
      create table words (lang text, word text, meaning text, primary key (lang, word));`,
    localA: `
      create table lists (owner_id text, id text, title text, primary key (owner_id, id));
      create table items (list_id text, place integer, owner_id text, note text, boss_place integer, primary key (list_id, place),
        foreign key (owner_id, list_id) references lists on delete cascade, foreign key (list_id, boss_place) references items);
      create table words (lang text, word text, meaning text, primary key (lang, word)) without rowid;`,
    localB: `
      create table lists (owner_id text, id blob, title text, primary key (id, owner_id)) strict;
      create table items (list_id text, place integer, owner_id text, note text, boss_place integer, primary key (list_id, place)) without rowid;
      create table words (lang text, word text, meaning text, primary key (lang, word));`.replace('id blob', 'id text').replace('(id, owner_id)', '(owner_id, id)'),
    tables: [{ table: 'lists', owner: 'owner_id' }, { table: 'items', owner: 'owner_id' }, { table: 'words' }].map(table => ({ ...table }))
  })
  const { a, b, sql } = pair
  a.db.exec(`insert into lists values ('alice', '${uuid(1)}', 'one');
    insert into items values ('${uuid(1)}', 9007199254740993, 'alice', 'big', -5), ('${uuid(1)}', -5, 'alice', 'small', null)`)
  const odd = ['a","b', '","', '\\', '/', '\u2028', '\x7f', '\t\n\u0001\u001f', '"', "'", '\u{1F600}\ufdd0', '', 'plain ', '["x"]', 'Ä', 'A\u0308']
  const insert = a.db.prepare('insert into words values (?, ?, ?)')
  for (const lang of ['', 'x"y', '\\']) for (const word of odd) insert.run(lang, word, lang + word)
  await a.sync.syncOnce()
  await b.sync.syncOnce()
  await expectEqual(t, pair, ['lists', 'items', 'words'])
  t.same((await sql`select lang || word = meaning as same, count(*)::int as n from words group by 1`).map(row => ({ ...row })), [{ same: true, n: 3 * odd.length }])

  b.db.exec('update words set word = word || \'z\' where lang = \'\\\'; delete from words where lang = \'\'; update items set note = \'edited\' where place = -5')
  a.db.exec(`update lists set title = 'renamed'; insert into items values ('${uuid(1)}', 3, 'alice', null, null)`)
  for (const { sync } of [b, a, b]) await sync.syncOnce()
  await expectEqual(t, pair, ['lists', 'items', 'words'])
  a.db.exec('delete from lists')
  for (const { sync } of [a, b]) await sync.syncOnce()
  await expectEqual(t, pair, ['lists', 'items', 'words'])
  t.same(rows(b, 'items'), [], 'with the cascade')
})

t.test('generated keys of text and integers are one key on both devices and the server (H16, P17)', async t => {
  const pair = await createPair(t, {
    server: 'create table x (a text, n bigint, u uuid, note text, primary key (u, a, n))',
    localA: 'create table x (a text, n integer, u text, note text, primary key (u, a, n))',
    localB: 'create table x (a text, n integer, u blob, note text, primary key (u, a, n)) without rowid',
    tables: [{ table: 'x' }]
  })
  const { a, b } = pair
  const part = fc.string({ unit: 'binary', maxLength: 20 }).filter(text => !text.includes('\0') && !text.includes('\ufffd') && text.isWellFormed())
  const keys = fc.sample(fc.tuple(part, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.nat(3)), { numRuns: 300, seed: 2 })
  const insert = a.db.prepare("insert into x values (?, ?, ?, 'new') on conflict do nothing")
  a.db.transaction(() => { for (const [text, n, u] of keys) insert.run(text, n, uuid(u)) })()
  await a.sync.syncOnce()
  await b.sync.syncOnce()
  const all = (device: PairedDevice): unknown[] => device.db.prepare("select a, cast(n as text), lower(replace(iif(typeof(u) = 'blob', hex(u), u), '-', '')), note from x order by 1, 2, 3").raw().all()
  t.same(all(b), all(a))
  b.db.exec("update x set note = 'seen'")
  await b.sync.syncOnce()
  await a.sync.syncOnce()
  t.same(all(a), all(b))
  t.equal(a.db.prepare("select count(*) from x where note = 'seen'").pluck().get(), all(b).length)
  for (const { sync } of [a, b]) t.match(sync.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, JSON.stringify(sync.held().slice(0, 3)))
})

t.test('a device that keeps uuids as text and one that keeps them as blobs hold the same rows, references and all (P15, P17)', async t => {
  const tables = (key: string): string => `
    create table files (id ${key} primary key, name text, made_by ${key});
    create table reviews (id ${key} primary key, text text, file_id ${key} references files on delete cascade);
    create table marks (owner_id text, file_id ${key} references files on delete cascade, review_id ${key}, n integer, about ${key} references reviews on delete set null, primary key (file_id, n));`
  const pair = await createPair(t, {
    server: tables('uuid').replace('n integer', 'n bigint'),
    localA: tables('text'),
    localB: tables('blob'),
    tables: [{ table: 'files' }, { table: 'reviews' }, { table: 'marks', owner: 'owner_id' }]
  })
  const [laptop, phone] = [pair.a, pair.b]
  const key = ({ db }: PairedDevice, n: number): string | Buffer => db === phone.db ? Buffer.from(uuid(n).replaceAll('-', ''), 'hex') : uuid(n)
  const insert = (device: PairedDevice, table: string, ...values: unknown[]): unknown => device.db.prepare(`insert into ${table} values (${values.map(() => '?').join(', ')})`).run(...values)
  const addFile = (device: PairedDevice, n: number): unknown => insert(device, 'files', key(device, n), `file ${n}`, key(device, 900 + n))
  const addReview = (device: PairedDevice, n: number, file: number): unknown => insert(device, 'reviews', key(device, n), `review ${n}`, key(device, file))
  const addMark = (device: PairedDevice, n: number, file: number, about: number): unknown => insert(device, 'marks', 'alice', key(device, file), key(device, 800 + n), n, key(device, about))
  const spelled = (column: string): string => `lower(replace(iif(typeof(${column}) = 'blob', hex(${column}), ${column}), '-', '')) as ${column}`
  const contents = ({ db }: PairedDevice): unknown[] => [
    `select ${spelled('id')}, name, ${spelled('made_by')} from files order by 1`, `select ${spelled('id')}, text, ${spelled('file_id')} from reviews order by 1`,
    `select owner_id, ${spelled('file_id')}, n, ${spelled('review_id')}, ${spelled('about')} from marks order by 2, 3`].map(query => db.prepare(query).raw().all())
  const storage = ({ db }: PairedDevice): unknown[] => db.prepare(`select distinct type from (select typeof(id) as type from files union all select typeof(made_by) from files union all
    select typeof(file_id) from reviews union all select typeof(about) from marks where about is not null union all select typeof(review_id) from marks)`).pluck().all()
  async function expectSame (rows: number[]): Promise<void> {
    for (const { sync } of [phone, laptop, phone, laptop]) await sync.syncOnce()
    t.strictSame(contents(phone), contents(laptop))
    t.strictSame(contents(laptop).map(found => (found as unknown[]).length), rows)
    t.strictSame([storage(laptop), storage(phone)], [['text'], ['blob']])
    for (const { db, sync } of [laptop, phone]) {
      t.strictSame(db.pragma('foreign_key_check'), [])
      t.match(sync.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, JSON.stringify([sync.held(), sync.shadow()]))
    }
  }

  for (const [i, device] of [laptop, phone].entries()) {
    addFile(device, 1 + i)
    addReview(device, 11 + i, 1 + i)
    addMark(device, 21 + i, 1 + i, 11 + i)
  }
  await expectSame([2, 2, 2])
  for (const [i, device] of [laptop, phone].entries()) {
    addReview(device, 13 + i, 2 - i) // of the file that the other made
    device.db.prepare('update reviews set file_id = ?, text = text || ? where id = ?').run(key(device, 1 + i), ' moved', key(device, 12 - i))
    device.db.prepare('update files set name = ?, made_by = ? where id = ?').run('renamed', key(device, 950 + i), key(device, 2 - i))
  }
  await expectSame([2, 4, 2])
  for (const { db } of [laptop, phone]) db.exec("update files set name = 'both' || typeof(id)")
  await expectSame([2, 4, 2])
  phone.db.prepare('delete from reviews where id = ?').run(key(phone, 11))
  laptop.db.prepare('delete from files where id = ?').run(key(laptop, 2))
  await expectSame([1, 2, 1])
  t.strictSame(await pair.sql`select count(*)::int as n from marks where about is null`.then(found => found.map(row => row['n'])), [1], 'a reference that went with the row')
  for (const { sync } of [laptop, phone]) await sync.rebuild()
  await expectSame([1, 2, 1])
  const [stored] = await pair.sql`select count(*)::int as n from sync.changes where payload::text like '%==%'`
  t.equal(stored?.['n'], 0, 'the stream has one spelling')
})
