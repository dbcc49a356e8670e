// Conflicts and refusals between two devices over the real server and PostgreSQL.
import type Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { Resolver } from '../../client/index.js'
import type { OversyncOptions } from '../../src/index.js'
import { createPair, type Pair, type PairedDevice } from './pair.js'
import { createWorld, expectConverged, syncUntilQuiet } from './world.js'

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const get = (device: { db: Database.Database }, sql: string): unknown => device.db.prepare(sql).pluck().get()
const post = (n: number, title: string, author: string | null = null): string => `insert into posts (id, title, author_id) values ('${uuid(n)}', '${title}', ${author === null ? 'null' : `'${author}'`});`
const user = (n: number): string => `insert into users values ('${uuid(n)}', 'name', 'mail', null, null);`

async function twoDevices (t: Test, options: Parameters<Awaited<ReturnType<typeof createWorld>>['device']>[1] = {}, server: Partial<OversyncOptions> = {}) {
  const world = await createWorld(t, server)
  return { world, one: world.device('one', options), two: world.device('two', options) }
}

/** The rules of all tables of the example. */
const ruled = (conflict: 'clientWins' | Resolver): { tables: Array<{ table: string, conflict: 'clientWins' | Resolver }> } => ({ tables: ['users', 'posts', 'files', 'file_reviews', 'typed_rows'].map(table => ({ table, conflict })) })

let draws = 0
const insistent: Array<[string, 'clientWins' | Resolver]> = [
  ['clientWins', 'clientWins'],
  ['a resolver that always keeps', () => 'keep'],
  ['a resolver that makes up another row each time', ({ local, server }) => ({ title: `${String(local['title'])}|${String(server['title'])}`.slice(-20) + String(draws++) })],
  ['a resolver that cannot make up its mind', () => draws++ % 2 === 0 ? 'keep' : 'take']
]
for (const [name, rule] of insistent) {
  t.test(`two devices that both insist come to rest when the edits stop: ${name} (D22, D23)`, async t => {
    const { world, one, two } = await twoDevices(t, ruled(rule))
    one.db.exec(post(1, 'base'))
    await syncUntilQuiet([one, two])
    const version = async (): Promise<number> => Number((await world.sql`select max(version) as v from sync.rows where table_name = 'posts'`)[0]?.['v'])
    let before = await version()
    for (let round = 0; round < 8; round++) {
      for (const device of [one, two]) device.db.exec(`update posts set title = '${device.name} ${round}'`)
      const reports = await Promise.all([one, two].map(async ({ sync }) => await sync.syncOnce()))
      t.ok(reports.every(({ drained }) => drained), 'no sync is caught in a circle')
      const after = await version()
      t.ok(after > before && after <= before + 4, `each round one of them wins: version ${before} became ${after}`)
      before = after
    }
    await syncUntilQuiet([one, two])
    t.ok(await version() <= before + 2)
    t.equal(get(one, 'select title from posts'), get(two, 'select title from posts'))
    await expectConverged(t, world, [one, two])
    t.ok(one.sync.conflicts().length + two.sync.conflicts().length > 0, 'they did collide')
  })
}

t.test('a resolver that throws holds its row; the other device, and every other row, go on; once it is mended all are equal (D22)', async t => {
  const world = await createWorld(t)
  const one = world.device('one')
  const two = world.device('two', ruled(() => { throw new Error('a bug of the app') }))
  one.db.exec(post(1, 'base') + post(2, 'base'))
  await syncUntilQuiet([one, two])
  one.db.exec("update posts set title = 'one'")
  two.db.exec(`update posts set title = 'two' where id = '${uuid(1)}'; ${post(3, 'of two')}`)
  await syncUntilQuiet([one, two])
  t.match(two.sync.held(), [{ table: 'posts', key: uuid(1), reason: 'resolver_failed', message: /a bug of the app/, server: { title: 'one' } }])
  t.strictSame(two.db.prepare('select title from posts order by id').pluck().all(), ['two', 'one', 'of two'])
  t.equal(get(one, `select title from posts where id = '${uuid(3)}'`), 'of two')
  two.close()
  const mended = world.device('two', ruled(() => 'keep'))
  await syncUntilQuiet([mended, one])
  t.equal(get(one, `select title from posts where id = '${uuid(1)}'`), 'two')
  await expectConverged(t, world, [one, mended])
})

t.test('a decision that is undone reaches the other device as an edit', async t => {
  const { world, one, two } = await twoDevices(t)
  one.db.exec(post(1, 'base'))
  await syncUntilQuiet([one, two])
  one.db.exec("update posts set title = 'one'")
  two.db.exec("update posts set title = 'two'")
  await syncUntilQuiet([one, two])
  t.equal(get(one, 'select title from posts'), 'one')
  t.strictSame(two.sync.undoConflict(two.sync.conflicts()[0]?.id ?? 0), { undone: true })
  await syncUntilQuiet([two, one])
  t.equal(get(one, 'select title from posts'), 'two')
  await expectConverged(t, world, [one, two])
})

t.test('deletions of what is gone already settle without a word: on both sides, never sent, or answered twice (J2)', async t => {
  const { world, one, two } = await twoDevices(t)
  one.db.exec(post(1, 'both') + post(2, 'stays'))
  await syncUntilQuiet([one, two])
  for (const device of [one, two]) device.db.exec(`delete from posts where id = '${uuid(1)}'`)
  one.db.exec(`${post(3, 'short')} delete from posts where id = '${uuid(3)}'`)
  await syncUntilQuiet([one, two])
  t.equal((await world.sql`select count(*)::int as n from sync.changes where op = 'DELETE'`)[0]?.['n'], 1, 'one deletion in the stream, and nothing of the row that nobody else saw')
  for (const { sync } of [one, two]) t.match(sync.status(), { conflicts: 0, held: 0, pending: 0 })
  await expectConverged(t, world, [one, two])
})

t.test('a row made again over a deletion stays, whether the device knew of the deletion or not (J3)', async t => {
  const { world, one, two } = await twoDevices(t)
  one.db.exec(post(1, 'first') + post(2, 'first'))
  await syncUntilQuiet([one])
  one.db.exec('delete from posts')
  await syncUntilQuiet([one])
  one.db.exec(post(1, 'again, knowing'))
  two.db.exec(post(2, 'again, not knowing')) // base 0, and the server has a tombstone
  await syncUntilQuiet([one, two])
  for (const device of [one, two]) t.strictSame(device.db.prepare('select title from posts order by id').pluck().all(), ['again, knowing', 'again, not knowing'])
  t.strictSame([...await world.sql`select version::int as v from sync.rows where table_name = 'posts' order by pk`].map(row => row['v']), [3, 3])
  await expectConverged(t, world, [one, two])
})

t.test('an offline edit of a row that was deleted long ago goes by the rule of deletions, and is on record (J1, J4)', async t => {
  for (const [deleted, expected] of [['serverWins', undefined], ['deleteWins', undefined], ['clientWins', 'edited'], ['editWins', 'edited']] as const) {
    const { world, one, two } = await twoDevices(t, { tables: ['users', { table: 'posts', deleted }, 'files', 'file_reviews', 'typed_rows'] })
    one.db.exec(post(1, 'base'))
    await syncUntilQuiet([one, two])
    two.db.exec("update posts set title = 'edited'")
    one.db.exec('delete from posts')
    for (let i = 0; i < 3; i++) {
      one.db.exec(post(10 + i, 'life goes on'))
      await one.sync.syncOnce()
    }
    await syncUntilQuiet([two, one])
    for (const device of [one, two]) t.equal(get(device, `select title from posts where id = '${uuid(1)}'`), expected, deleted)
    t.match(two.sync.conflicts(), [{ kind: 'update-delete', rule: deleted, mine: { title: 'edited' }, theirs: null }])
    await expectConverged(t, world, [one, two])
  }
})

t.test('a child goes up with its parent, after it, or waits for it, as long as that takes (K1)', async t => {
  const { world, one, two } = await twoDevices(t, { uploadBatchSize: 1 })
  one.db.exec(`pragma foreign_keys = off; ${post(1, 'orphan', uuid(9))} ${post(2, 'child', uuid(8))} ${user(8)}`)
  for (let i = 0; i < 3; i++) await one.sync.syncOnce()
  t.match(one.sync.held(), [{ key: uuid(1), reason: 'fk_missing', details: { missing: [`business.users:${uuid(9)}`] } }], 'shown, not dropped')
  t.equal(get(one, `select title from posts where id = '${uuid(1)}'`), 'orphan')
  two.db.exec(user(9)) // the parent comes from another device
  await syncUntilQuiet([two, one])
  t.equal(get(two, `select title from posts where id = '${uuid(1)}'`), 'orphan')
  await expectConverged(t, world, [one, two])
})

t.test('a parent that is deleted while another device gives it a child: nothing vanishes unseen, in either order (K3)', async t => {
  const childFirst = await twoDevices(t)
  childFirst.one.db.exec(user(1))
  await syncUntilQuiet([childFirst.one, childFirst.two])
  childFirst.one.db.exec('delete from users')
  childFirst.two.db.exec(post(2, 'child', uuid(1)))
  await syncUntilQuiet([childFirst.two, childFirst.one])
  t.match(childFirst.one.sync.conflicts(), [{ kind: 'parent-restored', table: 'users' }])
  t.equal(get(childFirst.one, 'select title from posts'), 'child')
  await expectConverged(t, childFirst.world, [childFirst.one, childFirst.two])

  const parentFirst = await twoDevices(t)
  parentFirst.one.db.exec(user(1))
  await syncUntilQuiet([parentFirst.one, parentFirst.two])
  parentFirst.one.db.exec('delete from users')
  parentFirst.two.db.exec(post(2, 'child', uuid(1)))
  await syncUntilQuiet([parentFirst.one, parentFirst.two])
  t.match(parentFirst.two.sync.held(), [{ table: 'posts', key: uuid(2), reason: 'fk_missing' }])
  t.equal(get(parentFirst.two, 'select title from posts'), 'child', 'the user\'s row stays in sight')
  parentFirst.two.db.exec(`update posts set author_id = null where id = '${uuid(2)}'`)
  await syncUntilQuiet([parentFirst.two, parentFirst.one])
  await expectConverged(t, parentFirst.world, [parentFirst.one, parentFirst.two])
})

const SHOP: Parameters<typeof createPair>[1] = {
  server: "create table public.items (id uuid primary key, code text unique, n integer check (n > 0), note text not null default '')",
  localA: 'create table items (id text primary key, code text, n integer, note text)',
  tables: [{ table: 'items' }]
}
const item = (device: PairedDevice, n: number, values: { code?: string | null, n?: unknown, note?: string | null } = {}): void => {
  device.db.prepare('insert into items values (?, ?, ?, ?)').run(uuid(n), values.code ?? null, values.n ?? 1, values.note === undefined ? '' : values.note)
}
const rest = async ({ a, b }: Pair): Promise<void> => {
  for (let i = 0; i < 2; i++) for (const { sync } of [a, b]) await sync.syncOnce()
}
const both = (t: Test, { a, b }: Pair, sql: string, expected: unknown[]): void => {
  for (const { db } of [a, b]) t.strictSame(db.prepare(sql).pluck().all(), expected)
}

t.test('two devices make different rows with one unique value: one is taken, the other named and kept, and both end equal once it is changed (K8)', async t => {
  const pair = await createPair(t, SHOP)
  item(pair.a, 1, { code: 'same' })
  item(pair.b, 2, { code: 'same', note: 'of b' })
  await rest(pair)
  t.match(pair.b.sync.held(), [{ key: uuid(2), reason: 'constraint_violation', details: { constraint: 'items_code_key' } }])
  t.strictSame(pair.b.db.prepare('select note from items order by id').pluck().all(), ['', 'of b'], 'where the device itself has no such rule it shows both')
  pair.b.db.exec(`update items set code = 'other' where id = '${uuid(2)}'`)
  await rest(pair)
  both(t, pair, 'select code from items order by id', ['same', 'other'])
  for (const { sync } of [pair.a, pair.b]) t.match(sync.status(), { held: 0, pending: 0, shadow: 0 })
})

t.test('the unique value becomes free on the other device: the held row goes up by itself (K8)', async t => {
  const pair = await createPair(t, SHOP)
  item(pair.a, 1, { code: 'same' })
  item(pair.b, 2, { code: 'same' })
  await rest(pair)
  t.equal(pair.b.sync.status().held, 1)
  pair.a.db.exec(`delete from items where id = '${uuid(1)}'`)
  await rest(pair)
  both(t, pair, 'select id from items', [uuid(2)])
  t.match(pair.b.sync.status(), { held: 0, pending: 0 })
})

t.test('values that the business table refuses hold their row, by column or constraint, and no other (F4, F5)', async t => {
  const pair = await createPair(t, SHOP)
  item(pair.a, 1)
  item(pair.a, 2, { n: 'not a number' })
  item(pair.a, 3, { n: -5 })
  item(pair.a, 4, { note: null })
  item(pair.a, 5, { n: 3_000_000_000 })
  await rest(pair)
  t.match(pair.a.sync.held(), [
    { key: uuid(2), reason: 'bad_payload', message: /\bn\b/ },
    { key: uuid(3), reason: 'constraint_violation', details: { constraint: 'items_n_check' } },
    { key: uuid(4), reason: 'constraint_violation', details: { column: 'note' } },
    { key: uuid(5), reason: 'bad_payload', message: /\bn\b/ }
  ])
  t.strictSame(pair.b.db.prepare('select id from items').pluck().all(), [uuid(1)])
  pair.a.db.exec("update items set n = 7, note = 'mended'")
  await rest(pair)
  both(t, pair, 'select n from items order by id', [7, 7, 7, 7, 7])
  t.match(pair.a.sync.status(), { held: 0, pending: 0 })
})

t.test('a column type that changed on the server under rows that are on their way (F4)', async t => {
  const pair = await createPair(t, SHOP)
  item(pair.a, 1, { code: 'text' })
  item(pair.a, 2, { code: '42' })
  await pair.sql.unsafe('alter table public.items alter column code type integer using code::integer')
  await rest(pair)
  t.match(pair.a.sync.held(), [{ key: uuid(1), reason: 'bad_payload', message: /\bcode\b/ }])
  t.strictSame(pair.b.db.prepare('select id from items').pluck().all(), [uuid(2)])
  t.equal(pair.a.sync.discardHeld(pair.a.sync.held()[0]?.id ?? 0), true)
  both(t, pair, 'select id from items', [uuid(2)])
})

t.test('a table that the server does not have: its rows are held, the others go up, and they follow once it has (F1)', async t => {
  const pair = await createPair(t, {
    ...SHOP,
    localA: `${SHOP.localA}; create table extras (id text primary key, item_id text references items)`,
    client: { tables: ['items', 'extras'] }
  })
  item(pair.a, 1)
  pair.a.db.exec(`insert into extras values ('${uuid(7)}', '${uuid(1)}')`)
  await rest(pair)
  t.match(pair.a.sync.held(), [{ table: 'extras', key: uuid(7), reason: 'unregistered_table' }])
  t.strictSame(pair.b.db.prepare('select id from items').pluck().all(), [uuid(1)])
  await rest(pair)
  t.equal(pair.a.sync.held().length, 1, 'not dropped')
  t.equal(pair.a.db.prepare('select count(*) from extras').pluck().get(), 1)
})

t.test('a device without a column of the server, and one with a column that the server does not have (F2, F3)', async t => {
  const pair = await createPair(t, {
    ...SHOP,
    localA: 'create table items (id text primary key, code text, n integer)',
    localB: 'create table items (id text primary key, code text, n integer, note text, colour text)'
  })
  pair.a.db.exec(`insert into items values ('${uuid(1)}', 'a', 1)`)
  pair.b.db.exec(`insert into items values ('${uuid(2)}', 'b', 1, 'words', 'red')`)
  await rest(pair)
  t.strictSame([...await pair.sql`select note from public.items order by id`].map(row => row['note']), ['', 'words'], 'the default, where the device has no such column')
  pair.a.db.exec('update items set n = n + 1')
  await rest(pair)
  t.strictSame(pair.b.db.prepare('select n, note, colour from items order by id').raw().all(), [[2, '', null], [2, 'words', 'red']], 'an edit by the one leaves the other\'s columns alone')
  t.strictSame([...await pair.sql`select n, note from public.items order by id`].map(row => [row['n'], row['note']]), [[2, ''], [2, 'words']])
  t.strictSame(pair.a.sync.held(), [])
})

t.test('a device that lacks a column which the server needs gets its new rows held, and its edits through (F2)', async t => {
  const pair = await createPair(t, {
    server: 'create table public.items (id uuid primary key, n integer, needed text not null)',
    localA: 'create table items (id text primary key, n integer)',
    localB: 'create table items (id text primary key, n integer, needed text)',
    tables: SHOP.tables
  })
  pair.b.db.exec(`insert into items values ('${uuid(1)}', 1, 'x')`)
  await rest(pair)
  pair.a.db.exec(`update items set n = 2; insert into items values ('${uuid(2)}', 1)`)
  await rest(pair)
  t.match(pair.a.sync.held(), [{ key: uuid(2), reason: 'constraint_violation', details: { column: 'needed' } }])
  t.strictSame(pair.b.db.prepare('select n, needed from items').raw().all(), [[2, 'x']])
})

t.test('bodies, batches and rows beyond the server\'s limits: halved, or held alone (G1, G3, G4)', async t => {
  const limits: Array<[Partial<OversyncOptions>, string | null]> = [[{ maxBodyBytes: 20_000 }, 'body_too_large'], [{ maxUploadBatchSize: 3 }, null], [{ maxPayloadBytes: 8_000 }, 'bad_payload']]
  for (const [limit, reason] of limits) {
    const { world, one, two } = await twoDevices(t, {}, limit)
    for (let n = 1; n <= 40; n++) one.db.exec(post(n, n === 20 ? 'x'.repeat(30_000) : 'y'.repeat(500)))
    t.match(await one.sync.syncOnce(), { drained: true, upload: { applied: reason === null ? 40 : 39 } })
    await syncUntilQuiet([one, two])
    t.match(one.sync.held(), reason === null ? [] : [{ key: uuid(20), reason }])
    t.equal(get(two, 'select count(*) from posts'), reason === null ? 40 : 39)
    one.db.exec(`update posts set title = 'short' where id = '${uuid(20)}'`)
    await syncUntilQuiet([one, two])
    await expectConverged(t, world, [one, two])
  }
})

t.test('a deletion that cascades here and on the server is one deletion of each row (K5)', async t => {
  const { world, one, two } = await twoDevices(t)
  one.db.exec(`insert into files (id, name) values ('${uuid(1)}', 'a file'); insert into file_reviews values ('${uuid(2)}', 'good', '${uuid(1)}'), ('${uuid(3)}', 'bad', '${uuid(1)}')`)
  await syncUntilQuiet([one, two])
  for (const device of [one, two]) {
    device.db.pragma('foreign_keys = on')
    device.db.exec('delete from files') // the reviews go by the local cascade, and are noted
    t.equal(get(device, 'select count(*) from file_reviews'), 0)
  }
  for (const device of [one, two]) t.match(await device.sync.syncOnce(), { drained: true, upload: { conflicts: 0, held: 0 } })
  await syncUntilQuiet([one, two])
  await expectConverged(t, world, [one, two])
  t.strictSame([...await world.sql`select table_name, count(*)::int as deletions from sync.changes where op = 'DELETE' group by table_name order by table_name`],
    [{ table_name: 'file_reviews', deletions: 2 }, { table_name: 'files', deletions: 1 }])
})
