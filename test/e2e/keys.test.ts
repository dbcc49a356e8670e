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
