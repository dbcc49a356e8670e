import t from 'tap'
import { assertSound, buildApp, caller, shortKey, startApp, uuid, verdicts, type Caller } from '../helpers/app.js'

const SCHEMA = `
  create table public.notes (id uuid primary key, text text, n integer default 7, slug text generated always as (lower(text)) stored, serial bigint generated always as identity,
    exact numeric, at timestamptz, flag boolean, blob bytea, doc jsonb, updated integer not null default 0);
  create function alter_note() returns trigger language plpgsql as $$ begin
    if new.text = 'swallow' then return null; end if;
    if new.text = 'raise' then raise exception 'secret detail of the app' using errcode = 'P0001'; end if;
    if new.text = 'broken' then perform nothing_of_this_name(); end if;
    if new.text like ' %' then new.text = trim(new.text); end if;
    if tg_op = 'UPDATE' then new.updated = old.updated + 1; end if;
    return new; end $$;
  create trigger alter_note before insert or update on notes for each row execute function alter_note();
  create function keep_note() returns trigger language plpgsql as $$ begin if old.text = 'keep' then return null; end if; return old; end $$;
  create trigger keep_note before delete on notes for each row execute function keep_note();
  create extension if not exists citext;
  create collation public.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create table public.lax (id uuid primary key, name text collate public.caseless, nick citext, nicks citext[], lasts interval, sizes numeric[], bits bit(2), born timestamptz);
  create function alter_lax() returns trigger language plpgsql as $$ begin
    if new.name = 'change all' then new.name = 'CHANGE ALL'; new.nick = upper(new.nick); new.nicks = array['A', 'B']; new.lasts = interval '30 days'; new.sizes = '{1.50}'; new.bits = '10'; new.born = new.born + interval '1 us'; end if;
    return new; end $$;
  create trigger alter_lax before insert or update on lax for each row execute function alter_lax();
  create table public.plain (id uuid primary key, text text, n integer default 7);`

let lastId = 0
const put = (n: number, payload: Record<string, unknown>, base = 0, table = 'notes') => ({ source_change_id: ++lastId, table, op: 'UPDATE', pk: uuid(n), server_version: base, payload })
const outcome = async (caller: Caller, ...changes: object[]) => verdicts(await caller.upload(changes as never[])).map(line => line.replace(/^\d+ /, ''))
const world = async (t: Parameters<typeof buildApp>[0]) => await buildApp(t, { schemaSql: SCHEMA, tables: ['notes', 'lax', 'plain'] })
const payloads = async (caller: Caller) => (await caller.download({ include_self: true })).changes.map(({ pk, payload }) => [shortKey(pk), payload])

t.test('a row that the database altered is told to its author and to the peers as it is in the table, as the same version (P15)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  const sent = JSON.stringify({ epoch: await phone.epoch(), changes: [put(1, { text: '  Padded ', n: 1, exact: 1.1 })] }).replace('1.1}', '1.10}')
  const { statuses } = JSON.parse((await phone.uploadText(sent)).body)
  const expected = { text: 'Padded', n: 1, exact: 1.1, slug: 'padded', serial: 1, updated: 0 }
  t.match(statuses, [{ status: 'applied', new_server_version: 1, server_row: { server_version: 1, deleted: false, payload: expected } }])
  t.strictSame(await payloads(user('alice', 'pad')), [['1', expected]])
  t.match((await user('alice', 'pad').download()).text, /"exact":1\.10,/, 'what was not altered keeps its digits')
  t.match(await outcome(phone, put(1, { text: 'Second' }, 1)), ['applied v2 row v2'])
  t.strictSame((await payloads(phone)).at(-1), ['1', { ...expected, text: 'Second', slug: 'second', updated: 1 }])
  const [row] = await sql`select text, n, exact::float8, slug, serial::int, updated from notes`
  t.strictSame({ ...row }, { ...expected, text: 'Second', slug: 'second', updated: 1 }, 'the table')
  await assertSound(t, sql, 'alice')
})

t.test('other spellings of the same value are not alterations', async t => {
  const { user, sql } = await world(t)
  const same = { text: 'x', n: 1, exact: 1, at: '2024-01-01T02:00:00+02:00', flag: 1, blob: 'AAEC', doc: { b: 1, a: [1, 2] }, slug: 'x', serial: 1, updated: 0 }
  t.strictSame(await outcome(user('alice'), put(1, same)), ['applied v1'], 'told what it sent: no server_row')
  t.strictSame(await payloads(user('alice', 'pad')), [['1', same]], 'and the peers too, as it was sent')
  await assertSound(t, sql, 'alice')
})

t.test('a default that PostgreSQL adds reaches the devices; a row without it costs no look (F2)', async t => {
  const { user } = await world(t)
  const phone = user('alice')
  t.strictSame(await outcome(phone, put(1, { text: 'a' }, 0, 'plain'), put(2, { text: 'b', n: null }, 0, 'plain')), ['applied v1 row v1', 'applied v1'])
  t.strictSame(await payloads(user('alice', 'pad')), [['1', { text: 'a', n: 7 }], ['2', { text: 'b', n: null }]])
  t.strictSame(await outcome(phone, put(1, { text: 'c' }, 1, 'plain')), ['applied v2 row v2'])
  t.strictSame((await payloads(phone)).at(-1), ['1', { text: 'c', n: 7 }])
})

t.test('a replay of a change that the database altered is recognised, and other content is not (P2, P3, P4)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  const change = put(1, { text: ' Padded', n: 1, exact: 1.10 })
  await phone.upload([change])
  t.strictSame(await outcome(phone, change), ['applied v1 row v1'])
  t.strictSame(await outcome(phone, { ...change, payload: { exact: 1.10, n: 1, text: ' Padded' } }), ['applied v1 row v1'], 'whatever the order of its keys')
  for (const payload of [{ text: 'Padded', n: 1, exact: 1.10 }, { text: ' Padded', n: 1 }, { text: ' Padded', n: 1, exact: 1.10, slug: 'padded', serial: 1, updated: 0 }]) {
    t.strictSame(await outcome(phone, { ...change, payload }), ['invalid source_change_id_reused'], JSON.stringify(payload))
  }
  const update = put(1, { n: 2 }, 1)
  t.strictSame(await outcome(phone, update, update), ['applied v2 row v2', 'applied v2 row v2'])
  t.strictSame(await outcome(phone, change), ['applied v1 row v2'], 'the first one again: overtaken')
  await assertSound(t, sql, 'alice')
})

t.test('several versions of a row in one batch: the last is what the table has', async t => {
  const { user, sql } = await world(t)
  t.match(await outcome(user('alice'), put(1, { text: ' a' }), put(1, { text: ' b' }, 1), put(1, { text: ' c' }, 2)), [/^applied v1/, /^applied v2/, 'applied v3 row v3'])
  t.strictSame((await payloads(user('alice', 'pad'))).at(-1), ['1', { text: 'c', slug: 'c', n: 7, serial: 1, updated: 2 }])
  await assertSound(t, sql, 'alice')
})

t.test('a trigger that swallows, keeps, raises or is broken refuses its row alone, without a word of the app (H21, P18)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  await phone.upload([put(1, { text: 'keep' }), put(2, { text: 'x' })])
  const { statuses, text } = await phone.upload([
    put(3, { text: 'swallow' }), put(4, { text: 'raise' }), put(5, { text: 'broken' }), put(6, { text: 'fine' }), put(2, { text: 'swallow' }, 1),
    { source_change_id: ++lastId, table: 'notes', op: 'DELETE', pk: uuid(1), server_version: 1 }])
  t.strictSame(verdicts({ statuses }).map(line => line.replace(/^\d+ /, '')), [
    'invalid constraint_violation', 'invalid constraint_violation', 'invalid constraint_violation', 'applied v1 row v1', 'invalid constraint_violation', 'invalid constraint_violation'])
  t.notMatch(text, /secret|nothing_of_this_name/)
  t.strictSame((await sql`select text from notes order by id`).map(({ text }) => text as string), ['keep', 'x', 'fine'])
  await assertSound(t, sql, 'alice')
})

t.test('an alteration that PostgreSQL calls equal is one all the same: case without case, a month and 30 days', async t => {
  const { user } = await world(t)
  const row = { nick: 'nick', nicks: ['a', 'B'], lasts: '1 mon', sizes: [1.5], bits: '01', born: '2024-01-01T00:00:00Z' }
  t.strictSame(await outcome(user('alice'), put(1, { name: 'as it is', ...row }, 0, 'lax')), ['applied v1'], 'nothing was altered')
  t.strictSame(await outcome(user('alice'), put(2, { name: 'Change ALL', ...row }, 0, 'lax')), ['applied v1 row v1'])
  t.strictSame((await payloads(user('alice', 'pad')))[1], ['2', { name: 'CHANGE ALL', nick: 'NICK', nicks: ['A', 'B'], lasts: '30 days', sizes: [1.5], bits: '10', born: '2024-01-01T00:00:00.000001+00:00' }])
})

t.test('whatever a device sends for a column that PostgreSQL computes, the column stays as computed and the batch goes on (P18, H8)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  const values = ['1e200000', '-1e-200000', `0.${'0'.repeat(20_000)}1`, `1${'0'.repeat(140_000)}`, '[1E99999]', '"b"', '"B"', '{"a":{"a":1}}', 'null', 'true']
  for (const [i, value] of values.entries()) {
    const { statusCode, body } = await phone.uploadText(`{"changes":[{"source_change_id":${++lastId},"table":"notes","op":"INSERT","pk":"${uuid(2 * i)}","server_version":0,"payload":{"text":"B","slug":${value}}},{"source_change_id":${++lastId},"table":"notes","op":"INSERT","pk":"${uuid(2 * i + 1)}","server_version":0,"payload":{"text":"B"}}]}`)
    t.match([statusCode, statusCode === 200 ? verdicts(JSON.parse(body)).map(line => line.replace(/^\d+ /, '')) : body], [200, ['applied v1 row v1', 'applied v1 row v1']], value.slice(0, 20))
  }
  t.strictSame(new Set((await payloads(user('alice', 'pad'))).map(([, payload]) => (payload as { slug: string }).slug)), new Set(['b']))
  await assertSound(t, sql, 'alice')
})

t.test('a row that the log has with a value its column cannot hold any more does not stop uploads (F4, P18)', async t => {
  const { user, sql, url } = await world(t)
  await user('alice').upload([put(1, { text: 'a', doc: 'words', exact: 1.5 }), put(2, { text: 'b', doc: 'more words' })])
  await sql`alter table notes alter column doc type integer using 5`
  const phone = caller(await startApp(t, { database: url, tables: ['notes', 'plain'] }), 'alice')
  t.strictSame(await outcome(phone, put(1, { text: 'c' }, 1), put(3, { text: 'd' })), ['applied v2 row v2', 'applied v1 row v1'])
  t.match((await payloads(phone)).at(-2), ['1', { text: 'c', doc: 5, exact: 1.5, slug: 'c' }], 'the value is the one that the table has')
  t.strictSame(await outcome(phone, put(2, { text: 'e', doc: 'words' }, 1)), ['invalid bad_payload'])
  await assertSound(t, sql, 'alice')
})

t.test('a default of a row that the same batch goes on to edit reaches the devices too (F2, P15)', async t => {
  const { user } = await world(t)
  await user('alice').upload([put(1, { text: 'a' }, 0, 'plain'), put(1, { text: 'b' }, 1, 'plain')] as never[])
  t.strictSame((await payloads(user('alice', 'pad'))).at(-1), ['1', { text: 'b', n: 7 }])
})
