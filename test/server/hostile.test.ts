import t from 'tap'
import { assertSound, buildApp, del, john, put, uuid, verdicts } from '../helpers/app.js'

const profiles = { schemaSql: 'create table public.profile (id uuid primary key references business.users, bio text)', tables: ['public.profile'] }

t.test('P16: a key that refers to somebody else\'s row is refused, whether the payload has it or not', async t => {
  const { user } = await buildApp(t, profiles)
  await user('bob').upload([put(1, 'users', uuid(1), john())])
  const { id: _id, ...withoutKey } = { id: uuid(1), bio: 'mine' }
  t.strictSame(verdicts(await user('alice').upload([{ ...put(1, 'public.profile', uuid(1), {}), payload: withoutKey }])), ['1 invalid fk_missing'])
  t.strictSame(verdicts(await user('bob').upload([{ ...put(2, 'public.profile', uuid(1), {}), payload: withoutKey }])), ['2 applied v1'])
})

t.test('P18, H2: names of JavaScript in somebody\'s document are data, and do not stop a batch', async t => {
  const { user } = await buildApp(t)
  const doc = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'
  const reply = await user('alice').uploadText(`{"changes":[{"source_change_id":1,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(1)}","server_version":0,"payload":{"doc":${doc},"__proto__":{"polluted":2}}}]}`)
  t.match(reply.body, '"status":"applied"')
  t.match((await user('alice', 'tablet').download()).text, `"payload":{"doc":${doc},"__proto__":{"polluted":2}}`)
  t.notOk('polluted' in {})
})

t.test('small requests that name large rows are answered batch_too_large, and go through in smaller batches', async t => {
  const { sql, user } = await buildApp(t)
  const [phone, tablet] = [user('alice', 'phone'), user('alice', 'tablet')]
  const note = 'x'.repeat(9 * 1024 * 1024)
  await phone.upload([put(1, 'posts', uuid(1), { title: 't', content: note })])
  const conflicts = Array.from({ length: 20 }, (_, i) => put(i + 1, 'posts', uuid(1), { title: 'stale' }))
  const refused = await tablet.upload(conflicts)
  t.strictSame([refused.accepted, new Set(verdicts(refused).map(line => line.replace(/^\d+ /, '')))], [false, new Set(['invalid batch_too_large'])])
  t.strictSame(verdicts(await tablet.upload(conflicts.slice(0, 2))), ['1 conflict v1', '2 conflict v1'])
  const renames = Array.from({ length: 20 }, (_, i) => put(30 + i, 'posts', uuid(1), { title: `t${i}` }, 1 + i))
  t.match(verdicts(await phone.upload(renames)), ['30 invalid batch_too_large'])
  t.strictSame(verdicts(await phone.upload(renames.slice(0, 1))), ['30 applied v2 row v2'], 'one change always fits')
  await assertSound(t, sql, 'alice')
})

t.test('a batch of which the database refuses hundreds is sent back for smaller ones', async t => {
  const { sql, user } = await buildApp(t)
  const bad = Array.from({ length: 300 }, (_, i) => put(i + 1, 'users', uuid(i), { name: null, email: 'e' }))
  t.match(verdicts(await user('alice').upload(bad)), ['1 invalid batch_too_large'])
  const half = await user('alice').upload([...bad.slice(0, 150), put(400, 'users', uuid(400), john())])
  t.strictSame(verdicts(half).slice(-2), ['150 invalid constraint_violation', '400 applied v1'])
  await assertSound(t, sql, 'alice')
})

t.test('fk_missing is only said while its cause stands', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(2), { title: 'keeps the user', author_id: uuid(1) })])
  t.strictSame(verdicts(await phone.upload([put(3, 'posts', uuid(3), { title: 't', author_id: uuid(1) }), del(4, 'users', uuid(1), 1)])), ['3 applied v1', '4 invalid constraint_violation'])
  await assertSound(t, sql, 'alice')
})

t.test('a bad row spoils neither a shared parent and its child, nor a cycle, nor a unique value that moves', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.label (id uuid primary key, name text);
      create table public.tag (id uuid primary key, label_id uuid references public.label);
      create table public.team (id uuid primary key, leader uuid);
      create table public.member (id uuid primary key, team uuid references public.team deferrable, age int);
      alter table public.team add foreign key (leader) references public.member deferrable;
      create table public.slot (id uuid primary key, slug text unique)`,
    tables: [{ table: 'public.label', shared: true }, 'public.tag', 'public.team', 'public.member', 'public.slot']
  })
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload([
    put(1, 'public.tag', uuid(1), { label_id: uuid(2) }), put(2, 'public.label', uuid(2), { name: 'l' }), put(3, 'users', uuid(3), { name: null, email: 'e' })
  ])), ['1 applied v1', '2 applied v1', '3 invalid constraint_violation'])
  t.strictSame(verdicts(await phone.upload([
    put(11, 'public.team', uuid(11), { leader: uuid(12) }), put(12, 'public.member', uuid(12), { team: uuid(11), age: 30 }), put(13, 'public.member', uuid(13), { team: uuid(11), age: 'x' })
  ])), ['11 applied v1', '12 applied v1', '13 invalid bad_payload'])
  await phone.upload([put(21, 'public.slot', uuid(21), { slug: 'x' }), put(22, 'public.slot', uuid(22), { slug: 'taken' })])
  t.strictSame(verdicts(await phone.upload([
    put(23, 'public.slot', uuid(21), { slug: 'y' }, 1), put(24, 'public.slot', uuid(24), { slug: 'x' }), put(25, 'public.slot', uuid(25), { slug: 'taken' })
  ])), ['23 applied v2', '24 applied v1', '25 invalid constraint_violation'])
  await assertSound(t, sql, 'alice')
})

t.test('a trigger that fails in a way of its own refuses its row alone', async t => {
  const { user } = await buildApp(t, {
    schemaSql: `create function public.odd() returns trigger language plpgsql as $$ begin case new.name when 'good' then return new; end case; end $$;
      create trigger odd before insert on business.users for each row execute function public.odd()`
  })
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john('bad')), put(2, 'users', uuid(2), john('good'))])), ['1 invalid constraint_violation', '2 applied v1'])
})

t.test('P17: dates and times that PostgreSQL would read as something else are refused by name', async t => {
  const { sql, user } = await buildApp(t, { schemaSql: 'create table public.moment (id uuid primary key, d date, t time, ts timestamp, tz timestamptz)', tables: ['public.moment'] })
  let id = 0
  const send = async (values: Record<string, string>) => verdicts(await user('alice').upload([put(++id, 'public.moment', uuid(id), values)])).map(line => line.replace(/^\d+ /, ''))
  const refused: Array<Record<string, string>> = [
    { ts: '2024-01-01T10:00:00+05:00' }, { ts: 'now' }, { tz: 'now' }, { tz: 'today' }, { d: 'tomorrow' }, { d: '2024-01-01T00:00:00+14:00' }, { d: '2024-01-01T10:00:00' },
    { t: '10:00:00+05' }, { t: '2024-01-01 10:00:00' }, { t: 'allballs' }, { tz: '2024-01-01T00:00:00.1234567Z' }
  ]
  for (const values of refused) t.strictSame(await send(values), ['invalid bad_payload'], JSON.stringify(values))
  const passing: Array<Record<string, string>> = [
    { ts: '2024-01-01T10:00:00' }, { ts: '2024-01-01 10:00:00.123456Z' }, { ts: 'infinity' }, { tz: '2024-01-01T10:00:00+05:00' }, { tz: '2024-01-01 10:00' }, { tz: '-infinity' },
    { d: '2024-01-01' }, { d: '2024-01-01T00:00:00.000Z' }, { d: '0044-03-15 BC' }, { t: '10:00:00.5' }, { t: '24:00:00' }
  ]
  for (const values of passing) t.strictSame(await send(values), ['applied v1'], JSON.stringify(values))
  t.equal((await sql`select count(*)::int as n from public.moment`)[0]?.['n'], passing.length)
})

t.test('an owner column that is a foreign key is the server\'s affair, and reaches devices that have it', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.account (id uuid primary key, name text); insert into public.account values ('${uuid(1)}', 'a');
      create table public.memo (id uuid primary key, body text, account_id uuid not null references public.account)`,
    tables: ['public.account', { table: 'public.memo', owner: 'account_id' }]
  })
  const phone = user(uuid(1))
  t.strictSame(verdicts(await phone.upload([put(1, 'public.memo', uuid(11), { body: 'absent' }), put(2, 'public.memo', uuid(12), { body: 'null', account_id: null }), put(3, 'public.memo', uuid(13), { body: 'equal', account_id: uuid(1) })])),
    ['1 applied v1', '2 applied v1 row v1', '3 applied v1'])
  const { changes } = await user(uuid(1), 'tablet').download()
  t.strictSame(changes.map(({ payload }) => payload?.['account_id']), [uuid(1), uuid(1), uuid(1)])
  t.strictSame(verdicts(await phone.upload([put(1, 'public.memo', uuid(11), { body: 'absent' })])), ['1 applied v1'], 'a replay is known')
  t.strictSame([...await sql`select distinct account_id from public.memo`], [{ account_id: uuid(1) }])
})

t.test('a chain of thousands of changes whose beginning is missing is refused to its end', async t => {
  const { user } = await buildApp(t, { schemaSql: 'create table public.node (id uuid primary key, up uuid references public.node)', tables: ['public.node'] })
  const chain = Array.from({ length: 4000 }, (_, i) => [put(2 * i + 1, 'public.node', uuid(i + 1), { up: uuid(i) }), put(2 * i + 2, 'public.node', uuid(i + 1), { up: null }, 1)]).flat()
  const reply = await user('alice').upload(chain)
  t.ok(verdicts(reply).every((line, i) => line.endsWith(i % 2 === 0 ? 'invalid fk_missing' : 'conflict v0 deleted')))
})
