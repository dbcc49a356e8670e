import Fastify from 'fastify'
import t from 'tap'
import oversync, { sourceIdFrom, type OversyncOptions } from '../../src/index.js'
import { assertSound, buildApp, del, put, uuid, verdicts } from '../helpers/app.js'
import { checkEveryReply } from '../helpers/every-reply.js'

t.test('P1, C7: an upload is durable even where the database is set not to be', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `
      create table public.witness (setting text);
      create function public.look() returns trigger language plpgsql as $$ begin insert into public.witness values (current_setting('synchronous_commit')); return new; end $$;
      create trigger look before insert on business.users for each row execute function public.look();
      do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$;`
  })
  await user('alice').upload([put(1, 'users', uuid(1), { name: 'n', email: 'e' })])
  t.strictSame([...await sql`select setting from public.witness`], [{ setting: 'on' }])
  t.equal(JSON.parse((await user('alice').request({ url: '/status' })).body).features.synchronous_commit_raised, true, 'status says so')
})

t.test('a row that grows by a key with each update ends at the size of a payload', async t => {
  const { sql, user } = await buildApp(t, { maxPayloadBytes: 1000, tables: [{ table: 'business.notes', materialize: false }] })
  const phone = user('alice')
  await phone.upload([put(1, 'notes', uuid(1), {})])
  const reply = await phone.upload([put(2, 'notes', uuid(1), { a: 'x'.repeat(800) }, 1), put(3, 'notes', uuid(1), { b: 'x'.repeat(800) }, 2), put(4, 'notes', uuid(2), {})])
  t.strictSame(verdicts(reply), ['2 applied v2', '3 invalid bad_payload', '4 applied v1'])
  t.strictSame(verdicts(await phone.upload([put(5, 'notes', uuid(1), { a: 'short', b: 'x'.repeat(800) }, 2)])), ['5 applied v3'], 'it can be made smaller')
  await assertSound(t, sql, 'alice')
})

t.test('H10: a source_change_id that JavaScript cannot hold is refused under the very number that came', async t => {
  const { user } = await buildApp(t)
  for (const id of ['9223372036854775807', '9007199254740993', '-9223372036854775808']) {
    const reply = await user('alice').uploadText(`{"changes":[{"source_change_id":1,"schema":"business","table":"users","op":"DELETE","pk":"${uuid(1)}","server_version":0},{"source_change_id":${id},"schema":"business","table":"users","op":"DELETE","pk":"${uuid(1)}","server_version":0}]}`)
    t.match(reply.body, `{"source_change_id":${id},"status":"invalid"`)
  }
  const { app, user: other } = await buildApp(t, { maxUploadBatchSize: 1 })
  t.ok(app)
  const change = (id: string) => `{"source_change_id":${id},"schema":"business","table":"users","op":"DELETE","pk":"${uuid(1)}","server_version":0}`
  t.match((await other('alice').uploadText(`{"changes":[${change('1')},${change('9223372036854775807')}]}`)).body, '"source_change_id":9223372036854775807,"status":"invalid"')
})

t.test('P17: a number that double precision would round is refused by name, every double passes', async t => {
  const { sql, user } = await buildApp(t)
  const upload = async (id: number, ratio: string) => (await user('alice').uploadText(`{"changes":[{"source_change_id":${id},"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(id)}","server_version":0,"payload":{"ratio":${ratio}}}]}`)).body
  let id = 0
  for (const ratio of ['9007199254740993', '-9007199254740993', '0.1234567890123456789', '123456789.1234567890123']) t.match(await upload(++id, ratio), '"column":"ratio"', ratio)
  const passing = ['0.1', '0.30000000000000004', '0.10000000000000001', '5e-324', '1.7976931348623157e308', '9007199254740992', '1e22', '-0.5', '123456789.125', '0']
  for (const ratio of passing) t.match(await upload(++id, ratio), '"status":"applied"', ratio)
  const stored = await sql`select ratio from business.typed_rows order by id`
  t.strictSame(stored.map(row => row['ratio']), passing.map(Number))
})

t.test('a row that the app has given to somebody else is neither updated nor deleted', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: 'create table public.task (id uuid primary key, title text, owner text not null)', tables: [{ table: 'public.task', owner: 'owner' }]
  })
  const alice = user('alice')
  await alice.upload([1, 2, 3].map(n => put(n, 'public.task', uuid(n), { title: 't' })))
  await sql`update public.task set owner = 'bob' where id in ${sql([uuid(1), uuid(2)])}`
  const reply = await alice.upload([put(4, 'public.task', uuid(1), { title: 'mine' }, 1), del(5, 'public.task', uuid(2), 1), del(6, 'public.task', uuid(3), 1)])
  t.strictSame(verdicts(reply), ['4 invalid not_owner', '5 invalid not_owner', '6 applied v2'])
  t.strictSame([...await sql`select id, owner, title from public.task order by id`], [{ id: uuid(1), owner: 'bob', title: 't' }, { id: uuid(2), owner: 'bob', title: 't' }])
})

t.test('a row that the app removed with plain SQL is put back whole by an update that leaves columns out', async t => {
  const { sql, user } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), { name: 'Ada', email: 'ada@example.com', created_at: 5 }), put(2, 'users', uuid(2), { name: 'Grace', email: 'grace@example.com' })])
  await sql`delete from business.users`
  t.strictSame(verdicts(await user('alice').upload([put(3, 'users', uuid(1), { name: 'Ada L' }, 1), put(4, 'users', uuid(2), { name: 'Grace H' }, 1)])), ['3 applied v2 row v2', '4 applied v2 row v2'])
  t.strictSame([...await sql`select name, email, extract(epoch from created_at)::int as at from business.users order by id`], [{ name: 'Ada L', email: 'ada@example.com', at: 5 }, { name: 'Grace H', email: 'grace@example.com', at: null }])
})

t.test('a 400 says which field of which change it is about', async t => {
  const { user } = await buildApp(t)
  const good = put(1, 'users', uuid(1), {})
  const cases: Array<[object, string]> = [
    [{ changes: [good, { ...good, source_change_id: '1' }] }, '/changes/1/source_change_id'],
    [{ changes: [{ ...good, pk: undefined }] }, '/changes/0/pk'],
    [{ changes: [good, 7] }, '/changes/1'],
    [{ changes: 'x' }, '/changes'],
    [{ changes: [good], epoch: 7 }, '/epoch']
  ]
  for (const [body, path] of cases) {
    const reply = await user('alice').uploadText(JSON.stringify(body))
    t.equal(reply.statusCode, 400)
    t.match(JSON.parse(reply.body).message, `at ${path}:`)
  }
})

t.test('options that cannot work are refused at start by their name', async t => {
  const register = async (options: object) => {
    const app = Fastify()
    t.teardown(async () => { await app.close() })
    await app.register(oversync, { tables: ['a.b'], getIdentity: () => null, ...options } as OversyncOptions)
  }
  await t.rejects(register({ database: 'localhost' }), { name: 'ConfigurationError', message: /Option database/ })
  await t.rejects(register({ database: 5 }), { name: 'ConfigurationError', message: /Option database/ })
  await t.rejects(register({ database: 'postgres://x', tables: [{ table: 'a.b', ownr: 'c' }] }), { name: 'ConfigurationError', message: /there is no option ownr/ })
})

t.test('a device names itself by header where the sign-in does not; without it the answer is 401', async t => {
  const { app, url } = await buildApp(t)
  const other = Fastify()
  t.teardown(async () => { await other.close() })
  checkEveryReply(t, other)
  await other.register(oversync, { database: url, tables: ['business.users'], getIdentity: request => ({ userId: 'alice', deviceId: sourceIdFrom(request) }) })
  t.ok(app)
  t.equal((await other.inject('/sync/status')).statusCode, 401)
  const named = await other.inject({ url: '/sync/status', headers: { 'oversync-source-id': 'phone 7' } })
  t.equal(named.json().source_id, 'phone 7')
})
