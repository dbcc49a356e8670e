import t from 'tap'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdicts, type Caller } from '../helpers/app.js'
import { sourceIdFrom, type OversyncOptions } from '../../src/index.js'

const OWNED = `
  create table public.task (id uuid primary key, owner text not null, title text, parent_id uuid references public.task, slug text unique);
  create table public.short_owner (id uuid primary key, owner varchar(10), title text);
  create table public.uuid_owner (id uuid primary key, owner uuid, title text);
  create table public.int_owner (id uuid primary key, owner bigint, title text);
  create table public.country (id uuid primary key, name text);
  create table public.visit (id uuid primary key, country_id uuid references public.country)`
const TABLES = [
  { table: 'task', owner: 'owner' }, { table: 'short_owner', owner: 'owner' }, { table: 'uuid_owner', owner: 'owner' }, { table: 'int_owner', owner: 'owner' },
  { table: 'country', shared: true }, 'visit', { table: 'notes', materialize: false }
]

t.test('two users with the same keys, numbers and device names: independent where the table allows it (A24)', async t => {
  const { user, sql } = await buildApp(t, { tables: [{ table: 'public.notes', materialize: false }] })
  for (const name of ['alice', 'bob']) t.strictSame(verdicts(await user(name).upload([put(1, 'public.notes', uuid(1), { of: name })])), ['1 applied v1'], name)
  for (const name of ['alice', 'bob']) {
    t.strictSame((await user(name, 'pad').download()).changes.map(({ payload }) => payload?.['of']), [name])
    t.strictSame(verdicts(await user(name).upload([put(1, 'public.notes', uuid(1), { of: name }), put(2, 'public.notes', uuid(1), { of: name, n: 2 }, 1)])), ['1 applied v1 row v2', '2 applied v2'])
    await assertSound(t, sql, name)
  }
})

t.test('a key of somebody else is not_owner and shows nothing, and nothing of theirs changes (A24, I5, P16)', async t => {
  const { user, sql } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), john('Alice')), put(2, 'users', uuid(2), john('Deleted')), del(3, 'users', uuid(2), 1)])
  const before = await sql`select * from business.users`
  const attempts = [put(1, 'users', uuid(1), john('Bob')), put(2, 'users', uuid(1), john('Bob'), 1), del(3, 'users', uuid(1), 1), del(4, 'users', uuid(1), 0), put(5, 'users', uuid(3), john('Bob'))]
  const expected = ['1 invalid not_owner', '2 conflict v0 deleted', '3 conflict v0 deleted', '4 conflict v0 deleted', '5 applied v1']
  const reply = await user('bob').upload(attempts)
  t.strictSame(verdicts(reply), expected)
  t.notMatch(reply.text, /alice/i)
  for (const [i, change] of attempts.slice(0, 4).entries()) {
    const alone = await user('carol').upload([change])
    t.strictSame(verdicts(alone), [['1 invalid not_owner', '2 conflict v0 deleted', '3 applied', '4 applied'][i]], 'one at a time')
  }
  t.strictSame(await sql`select * from business.users where id = ${uuid(1)}`, before, 'alice\'s row')
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 2 I v1', '3 users 2 D v2'])
  t.strictSame(await log(sql, 'bob'), ['1 users 3 I v1'])
  t.strictSame(verdicts(await user('bob').upload([put(9, 'users', uuid(2), john('Bob'))])), ['9 applied v1'], 'a key that alice gave up')
  t.strictSame(verdicts(await user('alice').upload([put(9, 'users', uuid(2), john('Alice'), 2)])), ['9 invalid not_owner'], 'and cannot have back')
  t.strictSame((await sql`select name from business.users order by id`).map(row => row['name'] as string), ['Alice', 'Bob', 'Bob'])
})

t.test('rows that the app made are nobody\'s to take over', async t => {
  const { user, sql } = await buildApp(t)
  await sql`insert into business.users (id, name, email) values (${uuid(1)}, 'App', 'app')`
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())])), ['1 invalid not_owner', '2 applied v1'])
  t.strictSame((await sql`select name from business.users order by id`).map(row => row['name'] as string), ['App', 'John'])
})

t.test('the server writes the owner, and refuses another one', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  const alice = user('alice')
  const { statuses } = await alice.upload([
    put(1, 'public.task', uuid(1), { title: 'absent' }), put(2, 'public.task', uuid(2), { title: 'null', owner: null }), put(3, 'public.task', uuid(3), { title: 'equal', owner: 'alice' }),
    put(4, 'public.task', uuid(4), { title: 'other', owner: 'bob' }), put(5, 'public.task', uuid(5), { title: 'empty', owner: '' }), put(6, 'public.task', uuid(6), { title: 'a number', owner: 7 }),
    put(7, 'public.task', uuid(7), { title: 'an object', owner: { name: 'alice' } }), put(8, 'public.task', uuid(8), { title: 'capitals', owner: 'ALICE' }), put(9, 'public.task', uuid(9), { title: 'with a blank', owner: 'alice ' })
  ])
  t.strictSame(verdicts({ statuses }), ['1 applied v1', '2 applied v1 row v1', '3 applied v1', ...[4, 5, 6, 7, 8, 9].map(n => `${n} invalid not_owner`)])
  t.strictSame((statuses[1] as { server_row: object }).server_row, { schema_name: 'public', table_name: 'task', id: uuid(2), server_version: 1, deleted: false, payload: { id: uuid(2), title: 'null', owner: 'alice' } })
  t.strictSame((await sql`select title, owner from task order by title`).map(row => `${row['title'] as string} ${row['owner'] as string}`), ['absent alice', 'equal alice', 'null alice'])
  t.strictSame((await user('alice', 'pad').download()).changes.map(({ payload }) => payload?.['owner']), ['alice', 'alice', 'alice'], 'peers learn what the server wrote')
  t.strictSame(verdicts(await alice.upload([put(2, 'public.task', uuid(2), { title: 'null', owner: null })])), ['2 applied v1 row v1'], 'a replay tells it again')
  t.strictSame(verdicts(await alice.upload([put(10, 'public.task', uuid(1), { title: 'moved', owner: 'bob' }, 1), put(11, 'public.task', uuid(3), { title: 'kept', owner: null }, 1)])), ['10 invalid not_owner', '11 applied v2 row v2'], 'on an update')
})

t.test('a row whose owner has changed is not touched by the former one', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  await user('alice').upload([1, 2].map(n => put(n, 'public.task', uuid(n), { title: 'a' })))
  await sql`update task set owner = 'bob', title = 'b'`
  t.strictSame(verdicts(await user('alice').upload([put(3, 'public.task', uuid(1), { title: 'c' }, 1)])), ['3 invalid not_owner'])
  await user('alice').upload([del(4, 'public.task', uuid(2), 1)])
  t.strictSame((await sql`select owner, title from task`).map(row => ({ ...row })), [{ owner: 'bob', title: 'b' }, { owner: 'bob', title: 'b' }])
})

t.test('two scopes never look like one owner', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  const cases: Array<[string, string, string]> = [
    ['short_owner', 'long-name-1', 'bad_payload'], ['short_owner', 'long-name-2', 'bad_payload'], ['short_owner', 'fits', 'applied'],
    ['uuid_owner', uuid(1), 'applied'], ['uuid_owner', uuid(1).replaceAll('-', ''), 'not_owner'], ['uuid_owner', `{${uuid(1)}}`, 'not_owner'], ['uuid_owner', 'alice', 'not_owner'],
    ['int_owner', '42', 'applied'], ['int_owner', '042', 'not_owner'], ['int_owner', ' 42', 'not_owner'], ['int_owner', '+42', 'not_owner'], ['int_owner', '-0', 'not_owner'], ['int_owner', 'alice', 'not_owner'], ['int_owner', '9223372036854775808', 'bad_payload']
  ]
  for (const [i, [table, scope, expected]] of cases.entries()) {
    const { statuses } = await user(scope).upload([put(1, `public.${table}`, uuid(i), { title: 't' })])
    t.equal(verdicts({ statuses })[0]?.replace(/^1 (invalid )?| v1$/g, ''), expected, `${table} of "${scope}"`)
    const rows = await sql.unsafe(`select owner::text from ${table} where id = $1`, [uuid(i)])
    t.strictSame(rows.map(row => row['owner'] as string), expected === 'applied' ? [scope] : [])
  }
  t.strictSame(verdicts(await user('42').upload([put(2, 'public.int_owner', uuid(100), { owner: 42 }), put(3, 'public.int_owner', uuid(101), { owner: '42' }), put(4, 'public.int_owner', uuid(102), { owner: 43 })])), ['2 applied v1', '3 applied v1', '4 invalid not_owner'])
  t.strictSame(verdicts(await user(uuid(1)).upload([put(2, 'public.uuid_owner', uuid(100), { owner: `{${uuid(1)}}` }), put(3, 'public.uuid_owner', uuid(101), { owner: uuid(2) })])), ['2 applied v1 row v1', '3 invalid not_owner'])
})

t.test('a parent of somebody else is as missing as one that is not there, in every spelling (P16)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  const theirs = 'abcdef01-2345-6789-abcd-ef0123456789'
  const digits = theirs.replaceAll('-', '')
  await user('alice').upload([put(1, 'users', theirs, john()), put(2, 'users', '12345678-1234-1234-1234-123456789012', john()), put(3, 'users', uuid(0), john())])
  const spellings: unknown[] = [
    theirs, theirs.toUpperCase(), digits, `{${theirs}}`, Buffer.from(digits, 'hex').toString('base64'),
    // Other spellings that PostgreSQL itself would take for the same uuid.
    `{${digits}}`, `${digits.slice(0, 4)}-${digits.slice(4)}`, theirs.replace(/-/, ''), digits.match(/.{4}/g)?.join('-'), `urn:uuid:${theirs}`,
    'AAAAAABAAIAAAAAAAAAAAB=='
  ]
  const missing = uuid(77)
  const shape = async (author: unknown, id: number) => {
    const reply = await user('bob').uploadText(`{"changes":[{"source_change_id":${id},"schema":"business","table":"posts","op":"INSERT","pk":"${uuid(id)}","server_version":0,"payload":{"title":"t","author_id":${typeof author === 'string' && author.startsWith('raw ') ? author.slice(4) : JSON.stringify(author)}}}]}`)
    return (JSON.parse(reply.body).statuses as Array<{ status: string, invalid?: { reason: string } }>).map(({ status, invalid }) => `${status} ${invalid?.reason as string}`)[0]
  }
  t.equal(await shape(missing, 1), 'invalid fk_missing')
  for (const [i, spelling] of [...spellings, 'raw 12345678123412341234123456789012', 'raw ["abcdef01-2345-6789-abcd-ef0123456789"]', 'raw true', 'raw 1'].entries()) {
    t.match(await shape(spelling, i + 2), /^invalid (fk_missing|bad_payload)$/, String(spelling))
  }
  t.equal((await sql`select from business.posts`).length, 0)
  const { statuses: [reply] } = await user('bob').upload([put(90, 'posts', uuid(90), { title: 't', author_id: theirs.toUpperCase() })])
  t.strictSame((reply as { invalid: object }).invalid, { reason: 'fk_missing', details: { missing: [`business.users:${theirs}`] } }, 'named by its one spelling')
  t.strictSame(verdicts(await user('alice').upload(spellings.slice(0, 5).map((author, i) => put(10 + i, 'posts', uuid(200 + i), { title: 't', author_id: author })))), ['10 applied v1', '11 applied v1 row v1', '12 applied v1 row v1', '13 applied v1 row v1', '14 applied v1'], 'the owner may use each spelling of the contract')
  t.strictSame((await sql`select distinct author_id from business.posts`).map(row => row['author_id'] as string), [theirs])
})

t.test('a parent that the app made is missing too, unless its table is shared', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  await sql`insert into country values (${uuid(1)}, 'Atlantis')`
  await sql`insert into business.users (id, name, email) values (${uuid(1)}, 'App', 'app')`
  t.strictSame(verdicts(await user('alice').upload([put(1, 'public.visit', uuid(1), { country_id: uuid(1) }), put(2, 'public.visit', uuid(2), { country_id: uuid(9) }), put(3, 'posts', uuid(1), { title: 't', author_id: uuid(1) })])),
    ['1 applied v1', '2 invalid fk_missing', '3 invalid fk_missing'])
})

t.test('a unique value that somebody else has shows no more than that it is taken (P16)', async t => {
  const { user } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  await user('alice').upload([put(1, 'public.task', uuid(1), { slug: 'secret-plan', title: 'hidden' })])
  const { text, statuses } = await user('bob').upload([put(1, 'public.task', uuid(2), { slug: 'secret-plan' })])
  t.strictSame((statuses[0] as { invalid: object }).invalid, { reason: 'constraint_violation', details: { constraint: 'task_slug_key', column: null, sqlstate: '23505' } })
  t.notMatch(text, /alice|hidden|secret-plan/)
})

t.test('members of a workspace share its stream, and each device is a source of its own', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: OWNED, tables: TABLES })
  const [alice, bob] = [user('alice', 'phone', { scope: 'team' }), user('bob', 'phone', { scope: 'team' })]
  t.strictSame(verdicts(await alice.upload([put(1, 'public.task', uuid(1), { title: 'a' })])), ['1 applied v1'])
  t.strictSame(verdicts(await bob.upload([put(1, 'public.task', uuid(1), { title: 'b' }, 1), put(2, 'public.task', uuid(2), { parent_id: uuid(1) })])), ['1 applied v2', '2 applied v1'])
  t.strictSame((await sql`select distinct owner from task`).map(row => row['owner'] as string), ['team'], 'the scope owns the rows')
  t.strictSame((await alice.download()).changes.map(({ server_id: position }) => position), [2, 3], 'own changes are those of one\'s own device')
  t.strictSame((await bob.download()).changes.map(({ server_id: position }) => position), [1])
  t.equal(await alice.epoch(), await bob.epoch())
  t.strictSame((await user('alice').download({ include_self: true })).changes, [], 'alice herself has another stream')
  t.strictSame((await user('team').download({ include_self: true })).changes.length, 3, 'a user of that name is in that stream: names of scopes are the app\'s to keep apart')
})

t.test('what cannot name anybody is refused before any database work (I1, I3, I4)', async t => {
  const asks: string[] = []
  const identity: OversyncOptions['getIdentity'] = ({ headers }) => {
    const ask = headers['x-ask'] as string
    asks.push(ask)
    const answers: Record<string, () => unknown> = {
      nothing: () => null,
      undefined: () => undefined,
      throws: () => { throw new Error('secret of the app') },
      'throws 401': () => { throw Object.assign(new Error('secret'), { statusCode: 401 }) },
      'throws 403': () => { throw Object.assign(new Error('secret'), { statusCode: 403 }) },
      'throws 503': () => { throw Object.assign(new Error('secret'), { statusCode: 503 }) },
      'throws null': () => { throw null }, // eslint-disable-line no-throw-literal
      rejects: async () => { throw new Error('secret of the app') },
      'no user': () => ({ deviceId: 'phone' }),
      'no device': () => ({ userId: 'alice' }),
      'empty user': () => ({ userId: '', deviceId: 'phone' }),
      'a number': () => ({ userId: 7, deviceId: 'phone' }),
      'empty scope': () => ({ userId: 'alice', deviceId: 'phone', scope: '' }),
      NUL: () => ({ userId: 'a\0', deviceId: 'phone' }),
      'half a pair': () => ({ userId: '\ud83d', deviceId: 'phone' }),
      'too long': () => ({ userId: 'x'.repeat(256), deviceId: 'phone' }),
      'as long as allowed': () => ({ userId: 'x'.repeat(255), deviceId: '€'.repeat(255), scope: '😀'.repeat(127) }),
      reserved: () => ({ userId: 'alice', deviceId: 'oversync:server' }),
      'reserved too': () => ({ userId: 'alice', deviceId: 'oversync:' }),
      'nearly reserved': () => ({ userId: 'alice', deviceId: 'oversync' }),
      'SQL and the like': () => ({ userId: '\'; drop schema sync cascade; --', deviceId: '"\\\r\n\u001b[31m' })
    }
    return answers[ask]?.() as never
  }
  const { app, sql } = await buildApp(t, { getIdentity: identity })
  const expected: Array<[string, string]> = [
    ...['nothing', 'undefined', 'throws', 'throws 401', 'throws null', 'rejects', 'no user', 'no device', 'empty user', 'a number', 'empty scope', 'NUL', 'half a pair', 'too long'].map((ask): [string, string] => [ask, '401 authentication_failed']),
    ['throws 403', '403 forbidden'], ['throws 503', '503 unavailable'], ['reserved', '400 invalid_request'], ['reserved too', '400 invalid_request'],
    ['as long as allowed', '200'], ['nearly reserved', '200'], ['SQL and the like', '200']
  ]
  const phone = caller(app, 'unused')
  for (const [ask, answer] of expected) {
    for (const request of [{ url: '/download' }, { url: '/status' }, { url: '/schema-version' }, { url: '/upload', method: 'POST' as const, payload: { changes: [put(1, 'users', uuid(asks.length), john())] } }]) {
      const { statusCode, body } = await phone.request({ ...request, headers: { 'x-ask': ask } })
      t.equal(statusCode === 200 ? '200' : `${statusCode} ${JSON.parse(body).error as string}`, answer, `${ask}: ${request.url}`)
      t.notMatch(body, /secret/)
    }
  }
  t.equal((await sql`select from sync.scope`).length, 3, 'refused callers leave nothing')
  const unread = await phone.request({ url: '/upload', method: 'POST', body: '{not json', headers: { 'x-ask': 'nothing', 'content-type': 'application/json' } })
  t.equal(unread.statusCode, 401, 'before the body is read')
})

t.test('the body and the query never name the user (I3)', async t => {
  const { user, sql } = await buildApp(t)
  const reply = await user('alice').upload([put(1, 'users', uuid(1), john())], { user_id: 'bob', userId: 'bob', source_id: 'other', scope: 'bob' })
  t.equal(reply.source_id, 'phone')
  t.strictSame(await log(sql, 'bob'), [])
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'])
  t.strictSame((await user('bob').download({ user_id: 'alice', userId: 'alice', scope: 'alice', source_id: 'phone', include_self: true })).changes, [])
})

t.test('a header that names another device than the token is refused, and may name the device (I3, I4)', async t => {
  const { user, url } = await buildApp(t)
  const ask = async (device: Caller, name: string) => await device.request({ url: '/download', headers: { 'oversync-source-id': name } })
  t.equal((await ask(user('alice'), 'phone')).statusCode, 200)
  for (const other of ['pad', 'Phone', 'phone ,', '']) {
    const reply = await ask(user('alice'), other)
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '400 invalid_request', `"${other}"`)
  }
  const byHeader = await startApp(t, {
    database: url,
    getIdentity: request => {
      const deviceId = sourceIdFrom(request)
      return deviceId === undefined ? null : { userId: 'alice', deviceId }
    }
  })
  t.equal(JSON.parse((await ask(caller(byHeader, 'x'), 'tablet')).body).source_id, 'tablet')
  t.equal((await caller(byHeader, 'x').request({ url: '/download' })).statusCode, 401, 'neither token nor header')
  t.equal((await ask(caller(byHeader, 'x'), 'oversync:server')).statusCode, 400)
})

t.test('another user\'s epoch, cursor and window give nothing (I8)', async t => {
  const { user } = await buildApp(t)
  await user('alice').upload([1, 2, 3].map(n => put(n, 'users', uuid(n), john())))
  await user('bob').upload([put(1, 'users', uuid(9), john())])
  t.equal((await user('bob').request({ url: `/download?epoch=${await user('alice').epoch()}` })).statusCode, 409)
  t.strictSame((await user('bob', 'pad').download({ after: 1, until: 3 })).changes, [])
  t.equal((await user('bob').upload([])).highest_server_seq, 1, 'counts are one\'s own')
})
