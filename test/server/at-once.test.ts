// Most batches are written and committed at once; what the database refuses then is looked into step by step.
import { Kysely } from 'kysely'
import postgres, { type Sql } from 'postgres'
import t, { type Test } from 'tap'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { OversyncOptions } from '../../src/index.js'
import { assertSound, buildApp, caller, del, log, put, startApp, uuid, verdicts, type Caller } from '../helpers/app.js'
import { countTrips } from '../helpers/count-trips.js'
import { freshDb } from '../helpers/db.js'
import { OneByOne } from '../helpers/one-by-one.js'

/** Tables that refuse rows in every way and at every time. */
const SCHEMA = `
  create table public.items (id uuid primary key, name text unique, size integer check (size < 100), spare text);
  create table public.ranks (id uuid primary key, place integer, constraint one_place unique (place) deferrable initially deferred);
  create table public.men (id uuid primary key, horse_id uuid);
  create table public.horses (id uuid primary key, man_id uuid not null references men deferrable);
  alter table public.men add foreign key (horse_id) references horses deferrable;
  create table public.watched (id uuid primary key, note text);
  create function late_no() returns trigger language plpgsql as $$ begin if new.note = 'no' then raise exception 'no' using errcode = 'P0001'; end if; return null; end $$;
  create constraint trigger late after insert or update on watched deferrable initially deferred for each row execute function late_no();`
const TABLES = ['items', 'ranks', 'men', 'horses', 'watched'].map(name => `public.${name}`)

/**
 * Three apps over databases alike: one may commit at once, a hook keeps another from it, and the third has a dialect that sends
 * one statement at a time.
 */
async function threeWays (t: Test): Promise<Array<{ name: string, phone: Caller, sql: Sql }>> {
  const options = { tables: TABLES, alone: true }
  const [atOnce, stepByStep] = [await buildApp(t, { ...options, schemaSql: SCHEMA }), await buildApp(t, { ...options, schemaSql: SCHEMA, authorize: () => true })]
  const { url, sql } = await freshDb(t)
  await sql.unsafe(SCHEMA)
  const client = postgres(url, { max: 2, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const oneByOne = await startApp(t, { ...options, database: new Kysely<any>({ dialect: new OneByOne(client) }) })
  return [
    { name: 'at once', sql: atOnce.sql, phone: atOnce.user('alice') },
    { name: 'step by step', sql: stepByStep.sql, phone: stepByStep.user('alice') },
    { name: 'one by one', sql, phone: caller(oneByOne, 'alice') }
  ]
}

let last = 0
const item = (n: number, payload: Record<string, unknown>, base = 0) => put(++last, 'public.items', uuid(n), payload, base)

t.test('whatever the database refuses, the verdicts are those of a batch that is written step by step (K2, K8, K11)', async t => {
  const batches: Array<[string, UploadChange[], string[]]> = [
    ['good rows', [item(1, { name: 'a', size: 1 }), item(2, { name: 'b', size: 2 }), item(3, { name: 'c', size: 3 })], ['applied v1', 'applied v1', 'applied v1']],
    ['a check', [item(4, { name: 'd', size: 4 }), item(5, { name: 'e', size: 500 }), item(5, { name: 'e', size: 5 }, 1)], ['applied v1', 'invalid constraint_violation', 'conflict v0 deleted']],
    ['a unique value', [item(6, { name: 'a' }), item(7, { name: 'f' })], ['invalid constraint_violation', 'applied v1']],
    ['a unique value that is handed on', [item(1, { name: 'z', size: 1 }, 1), item(8, { name: 'a' })], ['applied v2', 'applied v1']],
    ['unique values that change places', [item(2, { name: 'c', size: 2 }, 1), item(3, { name: 'b', size: 3 }, 1)], ['invalid constraint_violation', 'invalid constraint_violation']],
    ['a value that does not fit', [item(9, { size: 'many' }), item(10, { size: 10 })], ['invalid bad_payload', 'applied v1']],
    ['a conflict beside good rows', [item(1, { name: 'y' }, 1), item(11, { name: 'g' })], ['conflict v2', 'applied v1']],
    ['one row refused alone', [item(12, { size: 100 })], ['invalid constraint_violation']],
    ['a constraint that speaks at COMMIT', [put(++last, 'public.ranks', uuid(1), { place: 1 }), put(++last, 'public.ranks', uuid(2), { place: 1 })], ['applied v1', 'invalid constraint_violation']],
    ['a trigger that speaks at COMMIT', [put(++last, 'public.watched', uuid(1), { note: 'yes' }), put(++last, 'public.watched', uuid(2), { note: 'no' })], ['applied v1', 'invalid constraint_violation']],
    ['rows that refer to each other', [put(++last, 'public.horses', uuid(1), { man_id: uuid(1) }), put(++last, 'public.men', uuid(1), { horse_id: uuid(1) })], ['applied v1', 'applied v1']],
    ['a parent whose child stays', [del(++last, 'public.men', uuid(1), 1)], ['invalid constraint_violation']],
    ['both gone', [del(++last, 'public.men', uuid(1), 1), del(++last, 'public.horses', uuid(1), 1)], ['applied v2', 'applied v2']]
  ]
  const worlds = await threeWays(t)
  for (const [what, changes, expected] of batches) {
    for (const { name, phone } of worlds) {
      t.strictSame(verdicts(await phone.upload(changes)).map(line => line.replace(/^\d+ /, '')), expected, `${what}, ${name}`)
    }
  }
  const [left, ...others] = await Promise.all(worlds.map(async ({ sql }) => ({
    log: await log(sql, 'alice'),
    tables: await Promise.all(TABLES.map(async table => [...await sql.unsafe(`select * from ${table} order by id`)]))
  })))
  for (const other of others) {
    t.strictSame(other.log, left?.log, 'log')
    t.strictSame(JSON.stringify(other.tables), JSON.stringify(left?.tables), 'tables')
  }
  t.equal(left?.log.length, 15)
  for (const { sql } of worlds) await assertSound(t, sql, 'alice')
})

t.test('a key that the app has taken, or a row that a new trigger swallows, never enters the stream (I5)', async t => {
  for (const { name, sql, phone } of await threeWays(t)) {
    await phone.upload([item(1, { name: 'a' })])
    await sql`insert into items (id, name) values (${uuid(2)}, 'of the app')`
    t.strictSame(verdicts(await phone.upload([put(101, 'public.items', uuid(2), { name: 'mine' }), put(102, 'public.items', uuid(3), { name: 'b' })])), ['101 invalid not_owner', '102 applied v1'], `taken, ${name}`)
    // Behind the server's back, between two looks at the catalog.
    await sql.unsafe('create function swallow() returns trigger language plpgsql as $$ begin return null; end $$; create trigger swallow before insert or update on items for each row execute function swallow()')
    t.strictSame(verdicts(await phone.upload([put(103, 'public.items', uuid(4), { name: 'c' })])), ['103 invalid constraint_violation'], `swallowed, ${name}`)
    t.strictSame(verdicts(await phone.upload([put(104, 'public.items', uuid(1), { name: 'd' }, 1)])), ['104 invalid constraint_violation'], `an update, ${name}`)
    await sql`drop trigger swallow on items`
    await sql`delete from items where id = ${uuid(1)}`
    t.strictSame(verdicts(await phone.upload([put(105, 'public.items', uuid(1), { name: 'd' }, 1)])), ['105 applied v2'], `a row that the app removed is put back, ${name}`)
    t.strictSame((await log(sql, 'alice')).map(entry => entry.split(' ').slice(1).join(' ')), ['items 1 I v1', 'items 3 I v1', 'items 1 U v2'], name)
    await assertSound(t, sql, 'alice')
  }
})

t.test('one refused row costs the others nothing, also where statements wait for each other (K11)', async t => {
  const columns = [...'abcdefghijkl']
  for (const instance of [{}, { max_pipeline: 1 }]) {
    const { url, sql } = await freshDb(t)
    await sql.unsafe(`create table public.wide (id uuid primary key, size int check (size < 100), ${columns.map(name => `${name} text`).join(', ')})`)
    const client = postgres(url, { onnotice: () => {}, ...instance })
    t.teardown(async () => { await client.end({ timeout: 1 }) })
    const phone = caller(await startApp(t, { tables: ['public.wide'], alone: true, database: client }), 'alice')
    // Each row has columns of its own, hence a statement of its own.
    for (const long of ['x', 'x'.repeat(900_000)]) {
      const n = long.length === 1 ? 100 : 200
      const changes = [put(n, 'public.wide', uuid(n), { size: 500 }), ...columns.map((name, i) => put(n + 1 + i, 'public.wide', uuid(n + 1 + i), { [name]: long }))]
      t.strictSame(verdicts(await phone.upload(changes)), [`${n} invalid constraint_violation`, ...columns.map((_, i) => `${n + 1 + i} applied v1`)], `${JSON.stringify(instance)}, ${long.length}`)
    }
    await assertSound(t, sql, 'alice')
  }
})

t.test('nothing is committed at once that needs a look at what became of it', async t => {
  const trips = async (options: Partial<OversyncOptions>, schemaSql: string, change: UploadChange): Promise<number> => {
    const { url, sql } = await freshDb(t)
    await sql.unsafe(`${SCHEMA} ${schemaSql}`)
    const { client, count } = countTrips(t, url)
    const app = await startApp(t, { tables: TABLES, alone: true, database: client, ...options })
    const phone = caller(app, 'alice')
    t.match(verdicts(await phone.upload([put(1, 'public.items', uuid(1), { name: 'a' })])), [/^1 applied v1/])
    let answer: string[] = []
    const counted = await count(async () => { answer = verdicts(await phone.upload([change])) })
    t.match(answer, [/^2 applied/])
    return counted.trips
  }
  const next = put(2, 'public.items', uuid(2), { name: 'b' })
  t.equal(await trips({}, '', next), 1, 'at once')
  t.equal(await trips({ authorize: () => true }, '', next), 3, 'a hook')
  t.ok(await trips({ beforeApply: () => [] }, '', next) >= 3, 'the other')
  t.equal(await trips({}, "alter table items alter spare set default 's'", next), 4, 'a default for a column that the change leaves out: the row is read back')
  t.equal(await trips({}, 'alter table items add twice integer generated always as (size * 2) stored', next), 4, 'a column that PostgreSQL computes')
  t.ok(await trips({}, '', put(2, 'public.items', uuid(2), { name: 'b', later: 1 })) >= 3, 'a member that has no column yet')
  t.ok(await trips({ tables: [{ table: 'public.items', onMaterializeError: 'record' }] }, '', next) >= 3, 'a table that records failures')
})
