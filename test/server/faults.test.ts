import Fastify from 'fastify'
import { Kysely } from 'kysely'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { MAX_TRANSACTION_ATTEMPTS } from '../../src/limits.js'
import oversync from '../../src/index.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { assertSound, buildApp, caller, john, log, put, startApp, uuid, verdicts, type Caller, type World } from '../helpers/app.js'
import { chaosProxy, type ChaosProxy } from '../helpers/chaos-proxy.js'
import type { Reply } from '../helpers/contract.js'
import { FailingDialect } from '../helpers/failing-dialect.js'
import { holdUser, lockWaiter } from '../helpers/locks.js'
import { waitFor } from '../helpers/wait-for.js'

interface ProxiedWorld extends World {
  proxy: ChaosProxy
  /** Connection string of the way through the proxy. */
  proxiedUrl: string
}

/** A world whose app reaches its database through a proxy. */
async function proxiedWorld (t: Test): Promise<ProxiedWorld> {
  const world = await buildApp(t)
  const direct = new URL(world.url)
  const proxy = await chaosProxy(t, Number(direct.port), direct.hostname)
  direct.port = String(proxy.port)
  direct.hostname = '127.0.0.1'
  return { ...world, proxy, proxiedUrl: direct.href }
}

function assertUnavailable (t: Test, { statusCode, headers, body }: Reply, what: string): void {
  t.equal(`${statusCode} ${JSON.parse(body).error as string}`, '503 unavailable', what)
  t.match(headers['retry-after'], /^[1-9]\d*$/, `${what}: Retry-After`)
}

function body (...changes: object[]): string {
  return JSON.stringify({ changes })
}

t.test('while the database is away every route answers 503, and all is well when it is back (C4, C12, P18)', async t => {
  const { proxy, proxiedUrl, sql } = await proxiedWorld(t)
  const app = await startApp(t, { database: `${proxiedUrl}?application_name=proxied` })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  for (const round of [1, 2]) {
    proxy.rule.refuse = true
    proxy.cut()
    await waitFor('the connections are gone', async () => (await sql`select from pg_stat_activity where datname = current_database() and application_name = 'proxied'`).length === 0)
    for (let i = 0; i < 12; i++) {
      assertUnavailable(t, await phone.uploadText(body(put(2, 'users', uuid(2), john()))), `round ${round}, upload`)
      assertUnavailable(t, await phone.uploadText('{}'), `round ${round}, handshake`)
      assertUnavailable(t, await phone.request({ url: '/download' }), `round ${round}, download`)
      assertUnavailable(t, await phone.request({ url: '/status' }), `round ${round}, status`)
    }
    t.equal((await phone.request({ url: '/schema-version' })).statusCode, 200, 'what needs no database is answered')
    t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'], 'nothing half done')
    proxy.rule.refuse = false
    await waitFor('the app is well again', async () => (await phone.request({ url: '/download' })).statusCode === 200)
    // On a busy machine postgres.js may lose one of its first attempts to connect again; whoever waits for it is told 503
    // when connect_timeout is over, asks again as told, and is served. Every upload gets there.
    const arrive = async (user: string, n: number) => {
      for (let attempt = 0; attempt < 5; attempt++) {
        const reply = await caller(app, user).uploadText(body(put(1, 'users', uuid(n), john())))
        if (reply.statusCode === 200) return true
        assertUnavailable(t, reply, `round ${round}, ${user}`)
      }
      return false
    }
    const burst = async (first: number) => (await Promise.all(Array.from({ length: 30 }, async (_, i) => await arrive(`user ${first + i}`, first + i)))).every(Boolean)
    t.ok(await burst(1000 * round), `round ${round}: everybody is served`)
    t.ok(await burst(1000 * round + 500), `round ${round}: and again, by a pool that lost no connection`)
  }
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(2), john())])), ['2 applied v1'])
})

t.test('a connection cut at any statement of an upload: 503, then the retry tells the truth (P6, A11, B2, C5, C6)', { timeout: 120_000 }, async t => {
  const { proxy, proxiedUrl, sql } = await proxiedWorld(t)
  let onStatement: (statement: string) => void = () => {}
  const client = postgres(proxiedUrl, { max: 2, backoff: () => 0, onnotice: () => {}, debug: (_connection, statement) => { onStatement(statement) } })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: client })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john('v1'))])
  let [number, version] = [1, 1]
  let statements: string[] = []
  onStatement = statement => { statements.push(statement) }
  await phone.uploadText(body(put(++number, 'users', uuid(1), john('v2'), version++), put(++number, 'posts', uuid(number), { title: 't', author_id: uuid(1) })))
  const total = statements.length
  t.match(statements.at(-1), /commit/, 'the last statement is the COMMIT')
  for (let at = 1; at <= total; at++) {
    for (const fault of ['request lost', 'reply lost'] as const) {
      const name = `statement ${at} of ${total}, ${fault}`
      const change = put(++number, 'users', uuid(1), john(name), version)
      const post = put(++number, 'posts', uuid(number), { title: name, author_id: uuid(1) })
      const before = (await log(sql, 'alice')).length
      statements = []
      onStatement = statement => {
        if (statements.push(statement) !== at) return
        if (fault === 'request lost') proxy.cut()
        else proxy.rule.cutAfterBytes = 0
      }
      assertUnavailable(t, await phone.uploadText(body(change, post)), name)
      onStatement = () => {}
      proxy.rule.cutAfterBytes = Infinity
      // What the server does with the cut connection may take it a moment: it holds the stream's lock as long.
      const retry = await waitFor('the retry goes through', async () => {
        const reply = await phone.uploadText(body(change, post))
        return reply.statusCode === 200 ? JSON.parse(reply.body) : null
      })
      version++
      t.strictSame(verdicts(retry), [`${number - 1} applied v${version}`, `${number} applied v1`], `${name}: retry`)
      t.equal((await log(sql, 'alice')).length, before + 2, `${name}: once`)
    }
  }
  await assertSound(t, sql, 'alice')
  t.equal((await sql`select from business.posts`).length, 2 * total + 1)
})

t.test('killed backends cost their requests alone, not the process and not the pool (C4, C6)', async t => {
  const { sql, url } = await buildApp(t)
  const client = postgres(url, { max: 2, backoff: () => 0, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: client })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  for (let n = 2; n <= 7; n++) {
    const change = put(n, 'users', uuid(1), john(`John${n}`), n - 1)
    const release = await holdUser(t, sql, uuid(1))
    const underWay = phone.uploadText(body(change))
    const pid = await lockWaiter(sql)
    await sql`select ${n % 2 === 0 ? sql`pg_terminate_backend` : sql`pg_cancel_backend`}(${pid})`
    assertUnavailable(t, await underWay, n % 2 === 0 ? 'terminated' : 'cancelled')
    await release()
    t.equal((await log(sql, 'alice')).length, n - 1, 'nothing half done')
    const retry = await waitFor('the retry goes through', async () => {
      const reply = await phone.uploadText(body(change))
      return reply.statusCode === 200 ? JSON.parse(reply.body) : null
    })
    t.strictSame(verdicts(retry), [`${n} applied v${n}`])
  }
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query not like 'select pg_%'`
  await waitFor('the app is well again', async () => (await phone.request({ url: '/download' })).statusCode === 200)
  await assertSound(t, sql, 'alice')
})

t.test('an upload yields in a deadlock with the app\'s own transaction, and goes through afterwards (A12)', async t => {
  const { user, sql } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), john('one')), put(2, 'users', uuid(2), john('two'))])
  const other = await sql.reserve()
  await other`begin`
  await other`update business.users set email = 'app' where id = ${uuid(2)}`
  const underWay = user('alice').uploadText(body(put(3, 'users', uuid(1), { name: 'uploaded one' }, 1), put(4, 'users', uuid(2), { name: 'uploaded two' }, 1)))
  await lockWaiter(sql)
  // The upload has the first row and waits for the second; now the app wants the first.
  await other`update business.users set email = 'app' where id = ${uuid(1)}`
  await other`commit`
  other.release()
  const reply = await underWay
  if (reply.statusCode === 503) assertUnavailable(t, reply, 'the upload')
  else t.match(verdicts(JSON.parse(reply.body)), [/^3 applied v2/, /^4 applied v2/])
  t.strictSame((await sql`select name, email from business.users order by id`).map(row => `${row['name'] as string} ${row['email'] as string}`),
    reply.statusCode === 503 ? ['one app', 'two app'] : ['uploaded one app', 'uploaded two app'])
  t.equal((await log(sql, 'alice')).length, reply.statusCode === 503 ? 2 : 4)
})

t.test('a row that somebody holds for long makes the upload 503, and holds nobody else up (C15)', async t => {
  const { user, sql } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), john())])
  const release = await holdUser(t, sql, uuid(1))
  const change = put(2, 'users', uuid(1), john('B'), 1)
  const underWay = user('alice').uploadText(body(change))
  await lockWaiter(sql)
  t.strictSame(verdicts(await user('bob').upload([put(1, 'users', uuid(2), john())])), ['1 applied v1'], 'another user')
  t.equal((await user('alice', 'pad').download()).changes.length, 1, 'her own downloads')
  assertUnavailable(t, await underWay, 'the upload')
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'])
  await release()
  t.strictSame(verdicts(await user('alice').upload([change])), ['2 applied v2'])
})

t.test('a database that answers nothing is given up in time, and the transaction with it (B11, C12)', async t => {
  const { proxy, proxiedUrl, sql } = await proxiedWorld(t)
  const client = postgres(proxiedUrl, { max: 1, backoff: () => 0, connect_timeout: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 0 }) })
  const database = new Kysely({ dialect: new PostgresJSDialect(client, { answerTimeoutMs: 300 }) })
  const phone = caller(await startApp(t, { database }), 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  proxy.rule.blackHole = true
  assertUnavailable(t, await phone.uploadText(body(put(2, 'users', uuid(2), john()))), 'upload')
  assertUnavailable(t, await phone.request({ url: '/download' }), 'download')
  proxy.rule.blackHole = false
  proxy.cut()
  const retry = await waitFor('the retry goes through', async () => {
    const reply = await phone.uploadText(body(put(2, 'users', uuid(2), john())))
    return reply.statusCode === 200 ? JSON.parse(reply.body) : null
  })
  t.strictSame(verdicts(retry), ['2 applied v1'])
  await assertSound(t, sql, 'alice')
})

t.test('a read-only database serves downloads and answers uploads 503', async t => {
  const { sql, url } = await buildApp(t)
  const app = await startApp(t, { database: `${url}?max=1` })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select current_database() as name`
  await sql.unsafe(`alter database ${name} set default_transaction_read_only = on`)
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
  await waitFor('the app has new connections', async () => (await phone.request({ url: '/download' })).statusCode === 200)
  assertUnavailable(t, await phone.uploadText(body(put(2, 'users', uuid(2), john()))), 'upload')
  assertUnavailable(t, await caller(app, 'bob').uploadText(body(put(2, 'users', uuid(2), john()))), 'upload of a new user')
  t.equal((await caller(app, 'alice', 'pad').download()).changes.length, 1)
  t.equal((await phone.uploadText('{}')).statusCode, 200, 'handshake')
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'])
})

t.test('a transaction that PostgreSQL chose as a victim is tried again, a bounded number of times (A11)', async t => {
  const { sql, url } = await buildApp(t)
  const client = postgres(url, { max: 2, onnotice: () => {} })
  const dialect = new FailingDialect(client)
  const { faults } = dialect
  const fail = (sqlstate: string, at: number, times: number) => { Object.assign(faults, { sqlstate, at, times, seen: 0 }) }
  const database = new Kysely({ dialect })
  t.teardown(async () => { await database.destroy() })
  const app = await startApp(t, { database })
  const phone = caller(app, 'alice')
  const make = (n: number) => body(put(2 * n, 'users', uuid(n), john()), put(2 * n + 1, 'posts', uuid(n), { title: 't', author_id: uuid(n) }))
  await phone.uploadText(make(1))
  faults.seen = 0
  await phone.uploadText(make(2))
  const total = faults.seen
  let n = 2
  for (const sqlstate of ['40001', '40P01', '55P03']) {
    for (let at = 1; at <= total; at++) {
      n++
      fail(sqlstate, at, 1)
      t.equal((await phone.uploadText(make(n))).statusCode, 200, `${sqlstate} at statement ${at}, once`)
      n++
      fail(sqlstate, at, MAX_TRANSACTION_ATTEMPTS)
      assertUnavailable(t, await phone.uploadText(make(n)), `${sqlstate} at statement ${at}, always`)
      t.equal(faults.times, 0, 'after the bounded number of attempts')
      faults.at = Infinity
      t.equal((await sql`select from business.users where id = ${uuid(n)}`).length, 0, 'no trace')
      t.equal((await phone.uploadText(make(n))).statusCode, 200, 'the retry')
    }
  }
  for (const sqlstate of ['57014', '53100', '53300', '57P01', '58030', '25P03', '08006']) {
    n++
    fail(sqlstate, 6, 1)
    assertUnavailable(t, await phone.uploadText(make(n)), `${sqlstate} is not tried again here`)
    faults.at = Infinity
  }
  n++
  fail('XX000', 6, 1)
  const broken = await phone.uploadText(make(n))
  t.equal(`${broken.statusCode} ${JSON.parse(broken.body).error as string}`, '500 internal_error', 'a fault of another kind')
  t.notMatch(broken.body, /injected|select|XX000/, 'shows nothing of it (H21)')
  await assertSound(t, sql, 'alice')
})

t.test('options that cannot work are refused at registration, by name (F10, F11)', async t => {
  const { url } = await buildApp(t)
  const getIdentity = () => null
  const tables = ['business.users']
  const refused: Array<[string, object, RegExp]> = [
    ['no getIdentity', { tables }, /getIdentity/],
    ['getIdentity that is no function', { tables, getIdentity: {} }, /getIdentity/],
    ['no tables', { getIdentity }, /tables/],
    ['an empty list', { getIdentity, tables: [] }, /tables/],
    ['an entry without a name', { getIdentity, tables: [{}] }, /tables/],
    ['an entry that is null', { getIdentity, tables: [null] }, /tables/],
    ['three parts', { getIdentity, tables: ['a.b.c'] }, /"a\.b\.c"/],
    ['a name in capitals (F10)', { getIdentity, tables: ['business.Users'] }, /"business\.Users"/],
    ['a name with a blank', { getIdentity, tables: ['business.us ers'] }, /"business\.us ers"/],
    ['an empty name', { getIdentity, tables: ['business.'] }, /"business\."/],
    ['a name of 64 characters (F10)', { getIdentity, tables: ['x'.repeat(64)] }, /x{64}/],
    ['a table twice', { getIdentity, tables: ['business.users', { table: 'business.users' }] }, /business\.users is registered twice/],
    ['a table twice, once with its schema (F11)', { getIdentity, tables: ['users', 'public.users'] }, /public\.users is registered twice/],
    ['an unknown codec', { getIdentity, tables: [{ table: 'business.users', columns: { created_at: 'iso' } }] }, /business\.users, column created_at.*iso/],
    ['owner without materialize', { getIdentity, tables: [{ table: 'x', materialize: false, owner: 'o' }] }, /public\.x/],
    ['codecs without materialize', { getIdentity, tables: [{ table: 'x', materialize: false, columns: {} }] }, /public\.x/],
    ['a bad schema', { getIdentity, tables, schema: 'Sync' }, /schema "Sync"/],
    ['a schema with a quote', { getIdentity, tables, schema: 'a"b' }, /schema/],
    ['a prefix without a slash', { getIdentity, tables, prefix: 'sync' }, /prefix/],
    ['a prefix that ends with one', { getIdentity, tables, prefix: '/sync/' }, /prefix/],
    ...['schemaVersion', 'minSchemaVersion', 'maxUploadBatchSize', 'maxPayloadBytes', 'maxBodyBytes', 'maxDownloadLimit'].flatMap(name =>
      [-1, 1.5, NaN, Infinity, '7', null].map((value): [string, object, RegExp] => [`${name} = ${String(value)}`, { getIdentity, tables, [name]: value }, new RegExp(name)])),
    ...['maxUploadBatchSize', 'maxPayloadBytes', 'maxBodyBytes', 'maxDownloadLimit'].map((name): [string, object, RegExp] => [`${name} = 0`, { getIdentity, tables, [name]: 0 }, new RegExp(name)])
  ]
  for (const [what, options, message] of refused) await t.rejects(register(t, { database: url, ...options }), { name: 'ConfigurationError', message }, what)
  const before = process.env['DATABASE_URL']
  delete process.env['DATABASE_URL']
  t.teardown(() => { process.env['DATABASE_URL'] = before })
  await t.rejects(register(t, { getIdentity, tables }), { name: 'ConfigurationError', message: /database/ }, 'no database')
  process.env['DATABASE_URL'] = url
  await t.resolves(register(t, { getIdentity, tables }), 'the database of the environment')
})

t.test('tables that cannot sync are refused at registration, all of them, with the reason (C16, C17, F10, H14)', async t => {
  const { sql, url } = await buildApp(t)
  const refused: Array<[string, string, RegExp, object?]> = [
    ['missing', '', /there is no such table/],
    ['a_view', 'create view odd.a_view as select 1 as id', /not a table/],
    ['mat', 'create materialized view odd.mat as select 1 as id', /not a table/],
    ['unlogged', 'create unlogged table odd.unlogged (id uuid primary key)', /UNLOGGED/],
    ['no_key', 'create table odd.no_key (id uuid not null unique)', /no primary key/],
    ['late_key', 'create table odd.late_key (id uuid primary key deferrable)', /deferrable/],
    ['owner_missing', 'create table odd.owner_missing (id uuid primary key)', /no owner column who/, { owner: 'who' }],
    ['owner_made', 'create table odd.owner_made (id uuid primary key, n text, who text generated always as (n) stored)', /owner column who is GENERATED/, { owner: 'who' }],
    ['owner_identity', 'create table odd.owner_identity (id uuid primary key, who bigint generated always as identity)', /owner column who is GENERATED/, { owner: 'who' }],
    ['owner_json', 'create table odd.owner_json (id uuid primary key, who json)', /owner column who has the type json/, { owner: 'who' }],
    ['owner_padded', 'create table odd.owner_padded (id uuid primary key, who char(9))', /owner column who has the type character\(9\)/, { owner: 'who' }],
    ['owner_rounded', 'create table odd.owner_rounded (id uuid primary key, who double precision)', /owner column who has the type double precision/, { owner: 'who' }],
    ['codec_missing', 'create table odd.codec_missing (id uuid primary key)', /no column made_at for the codec epoch_s/, { columns: { made_at: 'epoch_s' } }],
    ['codec_wrong', 'create table odd.codec_wrong (id uuid primary key, made_at bigint)', /column made_at: codec epoch_ms needs a timestamp column, not bigint/, { columns: { made_at: 'epoch_ms' } }],
    ['array_column', 'create table odd.array_column (id uuid primary key, c real[])', /column c: type real\[\] is not supported/],
    ['domain_column', 'create domain odd.short as char(3); create table odd.domain_column (id uuid primary key, c odd.short)', /column c: type character\(3\) is not supported/],
    ['half_key', 'create table odd.half_key (a uuid, b money, primary key (a, b))', /its key b has the type money/],
    ['range_column', 'create type odd.spans as range (subtype = real); create table odd.range_column (id uuid primary key, c odd.spans)', /column c: type odd\.spans is not supported/],
    ['excluded_missing', 'create table odd.excluded_missing (id uuid primary key)', /no column secret to exclude/, { exclude: ['secret'] }],
    ['excluded_needed', 'create table odd.excluded_needed (id uuid primary key, secret text not null)', /the excluded column secret is NOT NULL/, { exclude: ['secret'] }],
    ['excluded_key', 'create table odd.excluded_key (id uuid primary key)', /its key column id cannot be excluded/, { exclude: ['id'] }],
    ['char_column', 'create table odd.char_column (id uuid primary key, c char(3))', /column c: type character\(3\) is not supported/],
    ['money_column', 'create table odd.money_column (id uuid primary key, c money)', /column c: type money is not supported/],
    ['point_column', 'create table odd.point_column (id uuid primary key, c point)', /column c: type point is not supported/],
    ['refers_aside', 'create table odd.target (id uuid primary key, code text unique); create table odd.refers_aside (id uuid primary key, code text references odd.target (code))', /refers_aside_code_fkey.*odd\.target/],
    ['refers_by_two', 'create table odd.pair (id uuid primary key, n int, unique (id, n)); create table odd.refers_by_two (id uuid primary key, p uuid, n int, foreign key (p, n) references odd.pair (id, n))', /refers_by_two_p_n_fkey.*odd\.pair/]
  ]
  await sql.unsafe('create schema odd;' + refused.map(([, ddl]) => ddl).join(';'))
  const error = await register(t, {
    database: url, getIdentity: () => null, tables: ['business.users', 'odd.target', 'odd.pair', ...refused.map(([name, , , options]) => ({ table: `odd.${name}`, ...options }))]
  }).catch((error: Error) => error) as Error
  t.equal(error.name, 'ConfigurationError')
  const lines = error.message.split('\n')
  t.equal(lines.length, refused.length + 1, 'a line each, and none for the good ones')
  for (const [name, , reason] of refused) t.match(lines.find(line => line.trim().startsWith(`odd.${name}: `)), reason, name)
  await t.resolves(register(t, { database: url, getIdentity: () => null, tables: [{ table: 'odd.target', shared: true }, 'odd.refers_aside'] }), 'rows that everybody may refer to may be referred to by any key')
})

t.test('what the role may not do is refused at registration (C17)', async t => {
  const { sql, url } = await buildApp(t)
  const role = `limited_${process.pid}_${Date.now()}`
  await sql.unsafe(`create role ${role} login password 'limited'; grant usage on schema business to ${role}; grant select, insert, update on business.users to ${role}; grant select, insert, update, delete on business.files to ${role};
    grant usage on schema sync to ${role}; grant select, insert, update, delete on all tables in schema sync to ${role}`)
  t.teardown(async () => { await sql.unsafe(`drop owned by ${role}; drop role ${role}`) })
  const limited = new URL(url)
  limited.username = role
  limited.password = 'limited'
  await t.rejects(register(t, { database: limited.href, getIdentity: () => null, tables: ['business.users'] }), { message: /business\.users: the database role may not/ })
  await t.resolves(register(t, { database: limited.href, getIdentity: () => null, tables: ['business.files'] }), 'and needs no more than that once the metadata is there')
})

t.test('a metadata table that a crash would empty is refused at start (C16)', async t => {
  const { sql, url } = await buildApp(t)
  await sql`alter table sync.change_log set unlogged`
  await t.rejects(register(t, { database: url, getIdentity: () => null, tables: ['business.users'] }), { name: 'ConfigurationError', message: /sync must be LOGGED: change_log/ })
})

t.test('a database that is away at start refuses the start', async t => {
  const { proxy, proxiedUrl } = await proxiedWorld(t)
  proxy.rule.refuse = true
  await t.rejects(register(t, { database: proxiedUrl, getIdentity: () => null, tables: ['business.users'] }), { code: /ECONN|CONNECTION/ })
})

t.test('names in the search path cannot stand in for the plugin\'s own (C17)', async t => {
  const { sql, url } = await buildApp(t)
  const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select current_database() as name`
  await sql.unsafe(`create schema evil; alter database ${name} set search_path = evil;
    ${['meta', 'scope', 'stream', 'source', 'synced_table', 'row_state', 'change_log', 'users'].map(table => `create table evil.${table} (poison int)`).join(';')}`)
  const phone: Caller = caller(await startApp(t, { database: url }), 'alice')
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  t.equal((await phone.download({ include_self: true })).changes.length, 1)
})

t.test('the plugin lives in another schema and under another path as well', async t => {
  const { sql, url } = await buildApp(t)
  const app = await startApp(t, { database: url, schema: 'elsewhere', prefix: '/api/v1/sync' })
  const phone = caller(app, 'alice', 'phone', { prefix: '/api/v1/sync' })
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  t.equal((await phone.download({ include_self: true })).changes.length, 1)
  t.equal((await sql`select from elsewhere.change_log`).length, 1)
  t.equal((await sql`select from sync.change_log`).length, 0)
})

async function register (t: Test, options: object): Promise<void> {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(oversync, options as never)
  await app.ready()
}
