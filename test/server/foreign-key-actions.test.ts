import Fastify from 'fastify'
import t from 'tap'
import oversync from '../../src/index.js'
import { assertSound, buildApp, shortKey, uuid, verdicts, type Caller } from '../helpers/app.js'

const SCHEMA = `
  create table public.people (id uuid primary key, name text);
  create table public.tasks (id uuid primary key, title text, touched integer not null default 0,
    person_id uuid references people on delete set null,
    team_id uuid default '${uuid(0)}' references people on delete set default,
    boss_id uuid not null references people on delete restrict deferrable initially deferred,
    parent_id uuid references tasks on delete cascade);
  create table public.strict_tasks (id uuid primary key, person_id uuid not null references people on delete set null);
  create function touch() returns trigger language plpgsql as $$ begin new.touched = old.touched + 1; return new; end $$;
  create trigger touch before update on tasks for each row execute function touch();`
const TABLES = ['people', 'tasks', 'strict_tasks']

let lastId = 0
const put = (table: string, n: number, payload: Record<string, unknown> = {}, base = 0) => ({ source_change_id: ++lastId, table, op: base === 0 ? 'INSERT' : 'UPDATE', pk: uuid(n), server_version: base, payload })
const del = (table: string, n: number, base: number) => ({ source_change_id: ++lastId, table, op: 'DELETE', pk: uuid(n), server_version: base })
const outcome = async (caller: Caller, ...changes: Array<ReturnType<typeof put> | ReturnType<typeof del>>) => verdicts(await caller.upload(changes)).map(line => line.replace(/^\d+ /, ''))
/** What a new device would show, by table and number. */
async function rows (caller: Caller): Promise<Record<string, unknown>> {
  const shown = new Map<string, unknown>()
  for (const { table, pk, op, payload } of (await caller.download({ limit: 1000, include_self: true })).changes) {
    if (op === 'DELETE') shown.delete(`${table} ${shortKey(pk)}`)
    else shown.set(`${table} ${shortKey(pk)}`, payload)
  }
  return Object.fromEntries(shown)
}
const SAME = { name: null, title: null, touched: null, person_id: null, team_id: null, boss_id: null, parent_id: null }

t.test('what a deletion sets to null or to its default is a new version of the row, made by the server (K10, P15)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, tables: TABLES })
  const phone = user('alice')
  await outcome(phone, put('people', 0, { name: 'default' }), put('people', 1, { name: 'leaves' }), put('people', 2, { name: 'boss' }),
    put('tasks', 1, { title: 'a', person_id: uuid(1), team_id: uuid(1), boss_id: uuid(2), extra: 1.50 }), put('tasks', 2, { title: 'b', person_id: uuid(2), team_id: null, boss_id: uuid(2) }))
  t.strictSame(await outcome(phone, del('people', 1, 1)), ['applied v2'])
  const changes = (await user('alice', 'pad').download()).changes.slice(5)
  t.strictSame(changes.map(({ op, table, pk, server_version: version, source_id: source }) => `${op} ${table} ${shortKey(pk)} v${version} ${source}`), ['DELETE people 1 v2 phone', 'UPDATE tasks 1 v2 oversync:server'])
  t.strictSame(changes[1]?.payload, { title: 'a', person_id: null, team_id: uuid(0), boss_id: uuid(2), extra: 1.5, touched: 2 }, 'with what the trigger of the app did')
  const [stored] = await sql`select title, person_id, team_id, boss_id, touched from tasks where id = ${uuid(1)}`
  t.strictSame({ ...stored, extra: 1.5 }, changes[1]?.payload, 'as it is in the table')
  t.strictSame(await outcome(phone, put('tasks', 1, { title: 'c' }, 1)), ['conflict v2'], 'its versions go on')
  t.match(await outcome(phone, put('tasks', 1, { title: 'c' }, 2)), [/^applied v3/])
  await assertSound(t, sql, 'alice')
})

t.test('a deletion and changes of what hangs on it in one batch, in any order (A10, K3, K10)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, tables: TABLES })
  const phone = user('alice')
  await outcome(phone, put('people', 0), put('people', 1), put('people', 2), ...[1, 2, 3, 4].map(n => put('tasks', n, { title: 't', person_id: uuid(1), team_id: null, boss_id: uuid(2), ...(n === 4 ? { parent_id: uuid(3) } : {}) })))
  // 1 is updated before its person goes and keeps the reference until then, 2 leaves by itself, 3 is deleted (4 goes with it).
  t.match(await outcome(phone, put('tasks', 1, { title: 'u' }, 1), put('tasks', 2, { person_id: uuid(2) }, 1), del('people', 1, 1), del('tasks', 3, 1)), [/^applied v2/, /^applied v2/, 'applied v2', 'applied v2'])
  t.match(await rows(phone), { 'tasks 1': { title: 'u', person_id: null }, 'tasks 2': { person_id: uuid(2) } })
  t.strictSame(Object.keys(await rows(phone)).sort(), ['people 0', 'people 2', 'tasks 1', 'tasks 2'])
  const stored = await sql`select * from tasks order by id`
  t.strictSame(stored.map(row => ({ ...SAME, ...row })), [1, 2].map(n => ({ ...SAME, id: uuid(n), ...stored[n - 1] })))
  for (const row of stored) t.match((await rows(phone))[`tasks ${shortKey(row['id'] as string)}`], { title: row['title'], person_id: row['person_id'], touched: row['touched'] }, 'the stream says what the table says')
  await assertSound(t, sql, 'alice')
})

t.test('restrict refuses the deletion alone, and gives way once its children go in the same batch (K10)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, tables: TABLES })
  const phone = user('alice')
  await outcome(phone, put('people', 0), put('people', 2), put('tasks', 1, { boss_id: uuid(2), team_id: null }))
  const { statuses } = await phone.upload([del('people', 2, 1), put('people', 3)])
  t.match(statuses, [{ status: 'invalid', invalid: { reason: 'constraint_violation', details: { constraint: 'tasks_boss_id_fkey', sqlstate: /^23503|23001$/ } } }, { status: 'applied' }])
  t.strictSame(await outcome(phone, del('people', 2, 1), del('tasks', 1, 1)), ['applied v2', 'applied v2'])
  t.equal((await sql`select from people`).length, 2)
  await assertSound(t, sql, 'alice')
})

t.test('a deletion that would set null what must not be null is refused by that column (K10)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, tables: TABLES })
  const phone = user('alice')
  await outcome(phone, put('people', 1), put('strict_tasks', 1, { person_id: uuid(1) }))
  const { statuses } = await phone.upload([del('people', 1, 1)])
  t.match(statuses, [{ status: 'invalid', invalid: { reason: 'constraint_violation', details: { column: 'person_id', sqlstate: '23502' } } }])
  t.equal((await sql`select from people`).length, 1)
})

t.test('a deletion that would alter somebody else\'s row is refused, its neighbours are not (I5, P16)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, tables: [{ table: 'people', shared: true }, 'tasks', 'strict_tasks'] })
  await outcome(user('alice'), put('people', 0), put('people', 1))
  await outcome(user('bob'), put('tasks', 1, { person_id: uuid(1), team_id: null, boss_id: uuid(0) }))
  const { statuses } = await user('alice').upload([del('people', 1, 1), put('people', 2)])
  t.match(statuses, [{ status: 'invalid', invalid: { reason: 'constraint_violation', details: { constraint: 'tasks_person_id_fkey', column: null, sqlstate: '23503' } } }, { status: 'applied' }])
  t.notMatch(JSON.stringify(statuses), uuid(1).slice(0, 8) + 'bob')
  t.strictSame((await sql`select person_id from tasks`).map(({ person_id: person }) => person as string), [uuid(1)])
})

t.test('actions reach tables whose owner is no text, and never take the owner itself away (K4, P16)', async t => {
  const owner = uuid(99)
  const { user, sql, url } = await buildApp(t, {
    schemaSql: `create table public.albums (id uuid primary key, owner uuid not null);
      create table public.photos (id uuid primary key, owner uuid not null, n integer not null, album_id uuid references albums on delete cascade, cover_of uuid references albums on delete set null)`,
    tables: [{ table: 'albums', owner: 'owner' }, { table: 'photos', owner: 'owner' }]
  })
  const phone = user(owner)
  await outcome(phone, put('albums', 1), put('albums', 2), put('photos', 1, { n: 1, album_id: uuid(1) }), put('photos', 2, { n: 2, album_id: uuid(2), cover_of: uuid(1) }))
  t.strictSame(await outcome(phone, del('albums', 1, 1)), ['applied v2'])
  t.strictSame((await sql`select n, cover_of from photos`).map(row => Object.values(row)), [[2, null]])
  t.strictSame(Object.keys(await rows(phone)).sort(), ['albums 2', 'photos 2'])
  t.match((await rows(phone))['photos 2'], { n: 2, cover_of: null, owner })
  await assertSound(t, sql, owner)

  await sql.unsafe('create table public.loose (id uuid primary key, owner uuid references albums on delete set null)')
  const options = { database: url, getIdentity: () => null, tables: [{ table: 'albums', owner: 'owner' }, { table: 'loose', owner: 'owner' }] }
  await t.rejects(async () => await Fastify().register(oversync, options), { name: 'ConfigurationError', message: /public\.loose: its foreign key loose_owner_fkey would take its owner owner away/ })
})
