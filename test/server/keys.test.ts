import Fastify from 'fastify'
import t from 'tap'
import oversync from '../../src/index.js'
import { assertSound, buildApp, uuid, verdicts, type Caller } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const SCHEMA = `
  create domain public.code as varchar(6);
  create table public.by_text (id text primary key, note text);
  create table public.by_code (id public.code primary key, note text);
  create table public.by_int (id integer primary key, note text);
  create table public.by_bigint (id bigint generated always as identity primary key, note text);
  create table public.lists (owner_id text, id uuid, title text, primary key (owner_id, id));
  create table public.items (owner_id text, list_id uuid, place smallint, label varchar(5), note text, boss_place smallint, boss_label varchar(5), primary key (list_id, place, label),
    foreign key (owner_id, list_id) references public.lists on delete cascade,
    constraint items_boss foreign key (list_id, boss_place, boss_label) references public.items deferrable initially deferred)`
const TABLES = ['by_text', 'by_code', 'by_int', 'by_bigint', { table: 'lists', owner: 'owner_id' }, { table: 'items', owner: 'owner_id' }]
const world = async (t: Parameters<typeof buildApp>[0]) => await buildApp(t, { schemaSql: SCHEMA, tables: TABLES })

let lastId = 0
const change = (table: string, pk: string, payload: Record<string, unknown> | null = {}, base = 0) => ({
  source_change_id: ++lastId, table, op: payload === null ? 'DELETE' : 'INSERT', pk, server_version: base, ...(payload === null ? {} : { payload })
})
const outcome = async (caller: Caller, ...changes: Array<ReturnType<typeof change>>) => verdicts(await caller.upload(changes)).map(line => line.replace(/^\d+ /, ''))

t.test('keys of text and integers: every value that the column holds is a key, in one spelling, and anything else is refused', async t => {
  const { user, sql } = await world(t)
  const cases: Array<[string, string, 'applied v1' | 'invalid bad_payload']> = [
    ['by_text', 'plain', 'applied v1'], ['by_text', '', 'applied v1'], ['by_text', ' ', 'applied v1'], ['by_text', 'plain ', 'applied v1'], ['by_text', 'PLAIN', 'applied v1'],
    ['by_text', '\u00e9', 'applied v1'], ['by_text', 'e\u0301', 'applied v1'], ['by_text', '\u{1F600}\u202e', 'applied v1'], ['by_text', '["a","b"]', 'applied v1'], ['by_text', "'; drop table by_text; --", 'applied v1'],
    ['by_text', 'x'.repeat(1024), 'applied v1'], ['by_text', 'x'.repeat(1025), 'invalid bad_payload'], ['by_text', '\u20ac'.repeat(342), 'invalid bad_payload'], ['by_text', 'nul\0', 'invalid bad_payload'],
    ['by_text', 'ABCDEF01-2345-6789-ABCD-EF0123456789', 'applied v1'],
    ['by_code', '123456', 'applied v1'], ['by_code', '\u{1F600}'.repeat(6), 'applied v1'], ['by_code', '1234567', 'invalid bad_payload'], ['by_code', '12345  ', 'invalid bad_payload'],
    ['by_int', '0', 'applied v1'], ['by_int', '-1', 'applied v1'], ['by_int', '2147483647', 'applied v1'], ['by_int', '-2147483648', 'applied v1'], ['by_int', '2147483648', 'invalid bad_payload'],
    ['by_int', '007', 'invalid bad_payload'], ['by_int', '+7', 'invalid bad_payload'], ['by_int', ' 7', 'invalid bad_payload'], ['by_int', '7.0', 'invalid bad_payload'], ['by_int', '1e3', 'invalid bad_payload'], ['by_int', '-0', 'invalid bad_payload'], ['by_int', '', 'invalid bad_payload'], ['by_int', '0x10', 'invalid bad_payload'],
    ['by_bigint', '9223372036854775807', 'applied v1'], ['by_bigint', '-9223372036854775808', 'applied v1'], ['by_bigint', '9223372036854775808', 'invalid bad_payload'], ['by_bigint', '9007199254740993', 'applied v1']
  ]
  for (const [table, pk, expected] of cases) {
    const phone = user('alice')
    t.strictSame(await outcome(phone, change(table, pk, { note: pk })), [expected], `${table} ${JSON.stringify(pk.slice(0, 30))}`)
    if (expected === 'applied v1') t.strictSame(await outcome(phone, change(table, pk, { note: 'again' }, 1)), ['applied v2'], 'and again')
  }
  for (const table of ['by_text', 'by_code', 'by_int', 'by_bigint']) {
    const kept = cases.filter(([name, , expected]) => name === table && expected === 'applied v1').map(([, pk]) => pk)
    t.strictSame((await sql.unsafe(`select id::text from ${table} where note = 'again'`)).map(({ id }) => id as string).sort(), kept.sort(), `${table} has each of them`)
  }
  const { changes } = await user('alice', 'pad').download({ limit: 1000 })
  t.strictSame(new Set(changes.map(({ table, pk }) => `${table} ${pk}`)), new Set(cases.filter(([, , expected]) => expected === 'applied v1').map(([table, pk]) => `${table} ${pk}`)), 'a peer gets each of them')
  await assertSound(t, sql, 'alice')
})

t.test('a key in the payload must be the pk, with its exact digits (H15, P17)', async t => {
  const { user, sql } = await world(t)
  const send = async (pk: string, id: string) => {
    const { statusCode, body } = await user('alice').uploadText(`{"changes":[{"source_change_id":${++lastId},"table":"by_bigint","op":"INSERT","pk":"${pk}","server_version":0,"payload":{"id":${id},"note":"n"}}]}`)
    return statusCode === 200 ? verdicts(JSON.parse(body)).join() : statusCode
  }
  t.match(await send('9007199254740993', '9007199254740993'), /applied v1$/)
  t.match(await send('9007199254740995', '"9007199254740995"'), /applied v1$/, 'as text')
  for (const id of ['9007199254740996', '9007199254740997.0', '"09007199254740997"', 'null', '[]', 'true']) t.match(await send('9007199254740997', id), /invalid bad_payload$/, id)
  const { text } = await user('alice', 'pad').download()
  t.match(text, /"payload":\{"id":9007199254740993,/)
  t.match(text, /"payload":\{"id":9007199254740995,/, 'stored as the number that it is')
  t.strictSame((await sql`select id::text from by_bigint order by id`).map(({ id }) => id), ['9007199254740993', '9007199254740995'])
})

t.test('keys of several columns are JSON arrays of texts, in one spelling, and no two are one (H16)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  const key = (...parts: string[]) => JSON.stringify(parts)
  const list = key('alice', uuid(1))
  t.strictSame(await outcome(phone, change('lists', ` [ "alice" , "${uuid(1).toUpperCase()}" ] `.trim(), { title: 'a' })), ['applied v1'])
  t.strictSame(await outcome(phone, change('lists', list, { title: 'b', id: uuid(1), owner_id: 'alice' }, 1)), ['applied v2'], 'the same row')
  t.strictSame(await outcome(phone, change('lists', list, { id: uuid(2) }, 2)), ['invalid bad_payload'], 'another key in the payload')
  const odd = ['a","b', 'a', '","', '\\', '/', '\u2028', '\x7f', '\t', '"', "'", '\u{1F600}', '']
  for (const [i, label] of odd.entries()) {
    const pk = key(uuid(1), String(i % 3), label)
    t.strictSame(await outcome(phone, change('items', pk, { note: label })), ['applied v1'], `label ${i}`)
    t.strictSame(await outcome(phone, change('items', pk, { note: label, label, place: i % 3 }, 1)), ['applied v2'], `label ${i}`)
  }
  t.strictSame((await sql`select label from items where note = label and owner_id = 'alice'`).map(({ label }) => label as string).sort(), [...odd].sort())
  for (const pk of ['x', '[]', '["a"]', key(uuid(1), '1'), key(uuid(1), '1', 'a', 'b'), `["${uuid(1)}",1,"a"]`, key('x', '1', 'a'), key(uuid(1), '40000', 'a'), key(uuid(1), '1', 'abcdef'), '{"a":1}', `["${uuid(1)}","1","a"`]) {
    t.strictSame(await outcome(phone, change('items', pk, {})), ['invalid bad_payload'], pk)
  }
  const { changes } = await user('alice', 'pad').download({ limit: 1000 })
  t.equal(changes[0]?.pk, list, 'answered in the one spelling')
  t.ok(changes.every(({ pk }) => JSON.stringify(JSON.parse(pk)) === pk))
  t.strictSame(await outcome(phone, change('items', key(uuid(1), '1', 'a'), null, 2)), ['applied v3'])
  t.equal((await sql`select from items`).length, odd.length - 1)
  await assertSound(t, sql, 'alice')
})

t.test('an owner in the key: users are independent, and none can name another (A24, I5, P16)', async t => {
  const { user, sql } = await world(t)
  const key = (who: string) => JSON.stringify([who, uuid(1)])
  t.strictSame(await outcome(user('alice'), change('lists', key('alice'), { title: 'hers' })), ['applied v1'])
  t.strictSame(await outcome(user('bob'), change('lists', key('bob'), { title: 'his' })), ['applied v1'], 'the same id')
  t.strictSame(await outcome(user('bob'), change('lists', key('alice'), { title: 'taken' }), change('lists', key('alice'), null, 1)), ['invalid not_owner', 'invalid not_owner'])
  t.strictSame((await sql`select owner_id, title from lists order by 1`).map(row => Object.values(row)), [['alice', 'hers'], ['bob', 'his']])
  t.strictSame((await user('bob', 'pad').download()).changes.map(({ payload }) => payload), [{ title: 'his', owner_id: 'bob' }])
  // A child whose owner is not in its key refers by both.
  t.strictSame(await outcome(user('bob'), change('items', JSON.stringify([uuid(1), '1', 'a']), {})), ['applied v1'])
  t.strictSame((await sql`select owner_id from items`).map(({ owner_id: owner }) => owner as string), ['bob'])
})

t.test('references by several columns: parents and children in any order, the missing named, half a reference refused (K1, K2)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  const item = (place: number, label = 'a') => JSON.stringify([uuid(1), String(place), label])
  const list = JSON.stringify(['alice', uuid(1)])
  const missing = await phone.upload([change('items', item(1), {})])
  t.strictSame(missing.statuses[0]?.status === 'invalid' && missing.statuses[0].invalid, { reason: 'fk_missing', details: { missing: [`public.lists:${list}`] } })
  t.strictSame(await outcome(phone,
    change('items', item(1), { boss_place: 2, boss_label: 'a' }),
    change('items', item(2), { boss_place: 1, boss_label: 'a' }),
    change('items', item(3), { boss_place: 3, boss_label: 'a' }),
    change('items', item(4), { boss_place: 9, boss_label: null }),
    change('lists', list, { title: 'list' })), ['applied v1', 'applied v1', 'applied v1', 'applied v1', 'applied v1'], 'children first, a cycle, a self-reference, a null in it')
  const gone = await phone.upload([change('items', item(5), { boss_place: 9, boss_label: 'a' })])
  t.strictSame(gone.statuses[0]?.status === 'invalid' && gone.statuses[0].invalid, { reason: 'fk_missing', details: { missing: [`public.items:${item(9)}`] } })
  t.strictSame(await outcome(phone, change('items', item(1), { boss_place: 3 }, 1)), ['invalid bad_payload'], 'half a reference')
  t.strictSame(await outcome(phone, change('items', item(1), { boss_place: '3 ', boss_label: 'a' }, 1), change('items', item(2), { boss_place: 3, boss_label: 3 }, 1)), ['invalid bad_payload', 'invalid bad_payload'], 'spellings that only PostgreSQL knows')
  t.strictSame(await outcome(phone, change('lists', list, null, 1)), ['applied v2'])
  t.equal((await sql`select from items`).length, 0)
  t.strictSame((await user('alice', 'pad').download()).changes.slice(5).map(({ op, table, source_id: source }) => `${op} ${table} ${source}`),
    ['DELETE lists phone', ...Array(4).fill('DELETE items oversync:server') as string[]], 'what cascaded is deleted in the stream too')
  await assertSound(t, sql, 'alice')
})

t.test('keys that are not one-to-one are refused at start, by name (H14, K12)', async t => {
  const refusals: Array<[string, RegExp]> = [
    ['create collation ci (provider = icu, locale = \'und-u-ks-level2\', deterministic = false); create table x (id text collate ci primary key)', /public\.x: its key id does not tell texts apart byte by byte \(a nondeterministic collation\)/],
    ['create table x (id char(4) primary key)', /its key id has the type character\(4\)/],
    ['create table x (id numeric primary key)', /its key id has the type numeric/],
    ['create table x (id timestamptz primary key)', /its key id has the type timestamp/],
    ['create table x (a uuid, b real, primary key (a, b))', /its key b has the type real/],
    ['create table x (id uuid primary key deferrable)', /its primary key is deferrable/],
    ['create table x (id uuid)', /it has no primary key/],
    ['create table p (id uuid primary key); create table x (id uuid primary key, p_id uuid references p)', /its foreign key x_p_id_fkey refers to public\.p, which does not sync/],
    ['create table x (id uuid primary key, code text unique, other text references x (code) on update cascade)', /its foreign key x_other_fkey refers to public\.x by \(code\), not by its primary key, and changes rows when one there is updated/],
    ['create table x (a text, b text, c text, d text generated always as (c) stored, primary key (a, b), foreign key (d, c) references x)', /its foreign key x_d_c_fkey has columns that devices write beside d/]
  ]
  for (const [schemaSql, message] of refusals) {
    const { url, sql } = await freshDb(t)
    await sql.unsafe(schemaSql)
    const options = { database: url, getIdentity: () => null, tables: ['x'] }
    await t.rejects(async () => await Fastify().register(oversync, options), { name: 'ConfigurationError', message }, schemaSql)
  }
})

t.test('tables of the stream alone have keys of the kind that the app names', async t => {
  const { user, sql } = await buildApp(t, {
    tables: [{ table: 'notes', materialize: false }, { table: 'tags', materialize: false, key: 'text' }, { table: 'cells', materialize: false, key: { sheet: 'uuid', n: 'integer' } }]
  })
  const phone = user('alice')
  t.strictSame(await outcome(phone, change('notes', uuid(1).toUpperCase(), { a: 1 }), change('notes', 'x', {})), ['applied v1', 'invalid bad_payload'])
  t.strictSame(await outcome(phone, change('tags', 'x', { id: 'whatever' })), ['applied v1'])
  t.strictSame(await outcome(phone, change('cells', JSON.stringify([uuid(1), '5']), { sheet: uuid(1), n: 5 }), change('cells', JSON.stringify([uuid(1), '6']), { n: 7 })), ['applied v1', 'invalid bad_payload'])
  t.strictSame((await user('alice', 'pad').download()).changes.map(({ pk }) => pk), [uuid(1), 'x', `["${uuid(1)}","5"]`])
  await assertSound(t, sql, 'alice')
})

t.test('a reference is stored as the key it refers to, and bytes of a uuid as its text, whatever a device made of them (P15, P17)', async t => {
  const { user, sql } = await buildApp(t, {
    schemaSql: 'create table public.places (id uuid primary key, place_id uuid references public.places, free uuid, note text); create table public.owned (id uuid primary key, owner_id uuid)',
    tables: [{ table: 'places' }, { table: 'owned', owner: 'owner_id' }]
  })
  const pk = 'abcdef01-2345-6789-abcd-ef0123456789'
  const bytes = Buffer.from(pk.replaceAll('-', ''), 'hex').toString('base64')
  const phone = user(pk)
  await phone.upload([change('places', pk, {})])
  const spellings: Array<[string, string, boolean]> = [ // sent, kept in a column that refers to nothing, told by the reply
    [pk, pk, false], [bytes, pk, false], [pk.toUpperCase(), pk.toUpperCase(), true], [pk.replaceAll('-', ''), pk.replaceAll('-', ''), true], [`urn:uuid:${pk}`, `urn:uuid:${pk}`, true], [`{${pk}}`, `{${pk}}`, true]]
  for (const [i, [sent, kept, isTold]] of spellings.entries()) {
    const changes = [change('places', uuid(i), { place_id: sent, free: sent, note: sent }), change('owned', uuid(i), { owner_id: sent })]
    const { statuses } = await phone.upload(changes)
    const payload = { place_id: pk, free: kept, note: sent }
    t.match(statuses, isTold
      ? [{ status: 'applied', server_row: { server_version: 1, payload } }, { status: 'applied', server_row: { payload: { owner_id: pk } } }]
      : [{ status: 'applied', server_row: undefined }, { status: 'applied', server_row: undefined }], sent)
    t.strictSame(await phone.upload(changes).then(reply => reply.statuses), statuses, 'and a replay says the same')
    const stored = (await user(pk, 'pad').download({ limit: 1000 })).changes.filter(found => found.pk === uuid(i))
    t.strictSame(stored.map(found => found.payload), [payload, { owner_id: pk }], 'a peer gets it so')
  }
  const older = user(pk, 'old phone', { older: true })
  for (const [i, sent] of [bytes, pk.toUpperCase()].entries()) {
    const payload = { place_id: sent, free: sent, note: sent }
    t.match((await older.upload([change('places', uuid(20 + i), payload)])).statuses, [{ status: 'applied', server_row: undefined }])
    t.match((await phone.download({ limit: 1000 })).changes.filter(found => found.pk === uuid(20 + i)), [{ payload }], 'clients of the original generation go on reading what they wrote')
  }
  t.strictSame((await sql`select distinct place_id, free from public.places where note is not null`).map(row => ({ ...row })), [{ place_id: pk, free: pk }])
  await assertSound(t, sql, pk)
})
