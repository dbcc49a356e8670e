import Fastify from 'fastify'
import { CompiledQuery, sql as kyselySql, type Transaction } from 'kysely'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import oversync, { type Authorize, type BeforeApply, type HookChange, type UploadResponse } from '../../src/index.js'
import { resolveOptions } from '../../src/options.js'
import { OversyncService } from '../../src/service/sync-service.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { assertSound, buildApp, del, john, log, put, shortKey, uuid, verdicts, type AppOptions, type World } from '../helpers/app.js'
import { waitFor } from '../helpers/wait-for.js'

interface HookedWorld extends World {
  /** What the hooks were asked about so far, one line a change; forgets it. */
  asked: () => string[]
  /** What they answer next. */
  answer: { authorize: Authorize, beforeApply: BeforeApply }
}

/** A world whose hooks note what they are asked, and answer as the test says. */
async function hookedWorld (t: Test, options: AppOptions = {}): Promise<HookedWorld> {
  const lines: string[] = []
  const note = (hook: string, { table, op, key, version }: HookChange) => lines.push(`${hook} ${table.split('.')[1] as string} ${shortKey(key)} ${op} v${version}`)
  const answer: HookedWorld['answer'] = { authorize: () => {}, beforeApply: () => {} }
  const world = await buildApp(t, {
    authorize: async (change, identity) => {
      note('authorize', change)
      return await answer.authorize(change, identity)
    },
    beforeApply: async batch => {
      for (const change of batch.changes) note('beforeApply', change)
      return await answer.beforeApply(batch)
    },
    ...options
  })
  return { ...world, answer, asked: () => lines.splice(0) }
}

/** The service over a database, with little patience for hooks. */
async function impatientService (t: Test, url: string, hooks: { authorize?: Authorize, beforeApply?: BeforeApply }, hookTimeoutMs = 300): Promise<OversyncService> {
  const service = await OversyncService.open({ ...resolveOptions({ database: url, tables: ['business.users', 'business.posts'], getIdentity: () => null, ...hooks }), hookTimeoutMs })
  t.teardown(async () => { await service.close() })
  return service
}

const alice = { userId: 'alice', deviceId: 'phone' }

t.test('hooks refuse with false, a sentence, or a list, and the rest of the batch goes in', async t => {
  const { user, sql, answer } = await hookedWorld(t)
  answer.authorize = ({ key }) => key === uuid(1) ? false : key === uuid(2) ? 'Not on Sundays.' : key === uuid(3) ? '' : key === uuid(4) ? true : undefined
  answer.beforeApply = ({ changes }) => changes.filter(({ key }) => key === uuid(5) || key === uuid(6)).map(change => ({ change, message: change.key === uuid(5) ? 'Enough users.' : '' }))
  const { statuses } = await user('alice').upload([1, 2, 3, 4, 5, 6, 7].map(n => put(n, 'users', uuid(n), john())))
  t.strictSame(statuses.map(status => status.status === 'invalid' ? `${status.invalid.reason}: ${status.message}` : status.status), [
    'rejected: The app refuses this change.', 'rejected: Not on Sundays.', 'rejected: The app refuses this change.', 'applied', 'rejected: Enough users.', 'rejected: The app refuses this change.', 'applied'
  ])
  t.strictSame(await log(sql, 'alice'), ['1 users 4 I v1', '2 users 7 I v1'], 'a refused change leaves no trace (P5)')
  t.strictSame((await sql`select id from business.users order by id`).map(({ id }) => id as string), [uuid(4), uuid(7)])
  answer.authorize = answer.beforeApply = () => {}
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'], 'its number is not used up')
  await assertSound(t, sql, 'alice')
})

t.test('hooks are asked about changes that are about to be applied, by their effect, and about no others', async t => {
  const { user, asked } = await hookedWorld(t, { tables: [{ table: 'public.notes', materialize: false, direction: 'down' }] })
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john()), { ...put(2, 'users', uuid(2), john()), op: 'UPDATE' }])
  t.strictSame(asked(), ['authorize users 1 INSERT v1', 'authorize users 2 INSERT v1', 'beforeApply users 1 INSERT v1', 'beforeApply users 2 INSERT v1'])
  await phone.upload([
    put(1, 'users', uuid(1), john()), // a replay
    put(3, 'users', uuid(2), john('Old'), 9), // a conflict
    put(4, 'users', uuid(3), { name: 7, id: uuid(4) }), // bad payload
    put(5, 'public.notes', uuid(1), {}), // read-only
    put(2, 'users', uuid(2), john('Other')), // a number used again
    put(6, 'posts', uuid(1), { title: 't', author_id: uuid(99) }), // no parent
    del(7, 'users', uuid(77), 0), // nothing to delete
    put(8, 'nowhere', uuid(1), {})
  ])
  t.strictSame(asked(), [])
  await phone.upload([put(10, 'users', uuid(1), john('Jane'), 1), { ...put(11, 'users', uuid(1), john('June'), 2), op: 'INSERT' }, del(12, 'users', uuid(1), 3), put(13, 'users', uuid(1), john('Jo'), 4)])
  t.strictSame(asked().slice(0, 4), ['authorize users 1 UPDATE v2', 'authorize users 1 UPDATE v3', 'authorize users 1 DELETE v4', 'authorize users 1 INSERT v5'])
})

t.test('a refusal that lets another change through has the hooks asked about that one, and about none twice', async t => {
  const { user, asked, answer, sql } = await hookedWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  asked()
  answer.authorize = ({ op }) => op !== 'DELETE'
  // The post has no parent as long as the deletion stands.
  const reply = await phone.upload([del(2, 'users', uuid(1), 1), put(3, 'posts', uuid(1), { title: 't', author_id: uuid(1) })])
  t.strictSame(verdicts(reply), ['2 invalid rejected', '3 applied v1'])
  t.strictSame(asked(), ['authorize users 1 DELETE v2', 'authorize posts 1 INSERT v1', 'beforeApply posts 1 INSERT v1'])
  await assertSound(t, sql, 'alice')
})

t.test('a refused parent takes its children with it, and a refused change the later ones of its row', async t => {
  const { user, answer, sql } = await hookedWorld(t)
  answer.beforeApply = ({ changes }) => changes.filter(({ table, version }) => table === 'business.users' && version === 1).map(change => ({ change, message: 'No.' }))
  t.strictSame(verdicts(await user('alice').upload([
    put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(1), { title: 't', author_id: uuid(1) }), put(3, 'users', uuid(1), john('Jane'), 1), put(4, 'files', uuid(1), { name: 'f' })
  ])), ['1 invalid rejected', '2 invalid fk_missing', '3 conflict v0 deleted', '4 applied v1'])
  t.strictSame(await log(sql, 'alice'), ['1 files 1 I v1'])
})

t.test('a hook sees a frozen change, the row by column and its exact digits, and who calls (P17)', async t => {
  const { user, answer } = await hookedWorld(t)
  const seen: HookChange[] = []
  let caller: unknown
  answer.authorize = (change, identity) => {
    seen.push(change)
    caller = identity
    t.throws(() => { (change as { table: string }).table = 'x' }, TypeError)
    t.throws(() => { ((change.payload as { doc: { tags: string[] } }).doc.tags).push('x') }, TypeError, 'all the way down')
  }
  answer.beforeApply = ({ identity, changes }) => {
    t.throws(() => { (identity as { userId: string }).userId = 'bob' }, TypeError)
    t.throws(() => { (changes as HookChange[]).pop() }, TypeError)
  }
  await user('alice', 'phone', { scope: 'team' }).upload([put(1, 'typed_rows', uuid(1), { big: 1, doc: { tags: ['a'] } })])
  t.strictSame(caller, { userId: 'alice', deviceId: 'phone', scope: 'team' })
  const text = `{"id":"${uuid(2)}","big":9007199254740993,"dec":1.10, "doc":{"tags":[]}}`
  const phone = user('alice', 'phone', { scope: 'team' })
  t.equal((await phone.uploadText(`{"changes":[{"source_change_id":2,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(2)}","server_version":0,"payload":${text}}]}`)).statusCode, 200)
  t.equal(seen.at(-1)?.payloadText, text)
  t.equal(seen.at(-1)?.payload?.['big'], 9007199254740992, 'a number of JavaScript')
  answer.authorize = change => { seen.push(change) }
  await phone.upload([del(3, 'typed_rows', uuid(1), 1)])
  t.match(seen.at(-1), { op: 'DELETE', payload: null, payloadText: null, key: uuid(1), version: 2 })
})

t.test('beforeApply reads in the transaction, and what it tries to write is answered 500 and leaves nothing (C23)', async t => {
  const { user, answer, sql } = await hookedWorld(t)
  await sql`create table public.quota (user_id text primary key, rows int)`
  await sql`insert into public.quota values ('alice', 2)`
  answer.beforeApply = async ({ changes, identity, trx }) => {
    const quota = await trx.selectFrom('quota').where('user_id', '=', identity.userId).select('rows').executeTakeFirst()
    return changes.slice(quota?.['rows'] ?? 0).map(change => ({ change, message: 'No more rows.' }))
  }
  t.strictSame(verdicts(await user('alice').upload([1, 2, 3].map(n => put(n, 'users', uuid(n), john())))), ['1 applied v1', '2 applied v1', '3 invalid rejected'])
  const writes: Array<[string, BeforeApply]> = [
    ['an insert', async ({ trx }) => { await trx.insertInto('quota').values({ user_id: 'bob', rows: 1 }).execute() }],
    ['a lock', async ({ trx }) => { await kyselySql`select from quota for update`.execute(trx) }],
    ['writing after making it writable', async ({ trx }) => { await kyselySql`set local transaction_read_only = off`.execute(trx) }],
    ['an insert whose error it swallows', async ({ trx }) => { await trx.insertInto('quota').values({ user_id: 'bob', rows: 1 }).execute().catch(() => {}) }],
    ['commit', async ({ trx }) => { await kyselySql`commit`.execute(trx) }],
    ['rollback', async ({ trx }) => { await kyselySql` ROLLBACK`.execute(trx) }],
    ['a transaction of its own', async ({ trx }) => { await trx.transaction().execute(async () => {}) }],
    ['a statement that nobody awaits', ({ trx }) => { kyselySql`select 1`.execute(trx).catch(() => {}) }]
  ]
  for (const [name, hook] of writes) {
    answer.beforeApply = hook
    const reply = await user('alice').uploadText(JSON.stringify({ changes: [put(10, 'users', uuid(10), john())] }))
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '500 internal_error', name)
  }
  t.equal((await sql`select from public.quota`).length, 1)
  t.equal((await log(sql, 'alice')).length, 2, 'nothing stored')
  answer.beforeApply = async ({ trx }) => {
    await kyselySql`savepoint mine`.execute(trx)
    await kyselySql`select 1/0`.execute(trx).catch(() => {})
    await kyselySql`rollback to savepoint mine`.execute(trx)
    t.strictSame((await kyselySql`select 1 as one`.execute(trx)).rows, [{ one: 1 }], 'its own savepoints are its own affair')
  }
  t.strictSame(verdicts(await user('alice').upload([put(10, 'users', uuid(10), john())])), ['10 applied v1'], 'and the connection is well')
  await assertSound(t, sql, 'alice')
})

t.test('a hook that throws, whatever and however, is one 500 with nothing stored, and the process lives (C23)', async t => {
  const { user, answer, sql } = await hookedWorld(t)
  const later = async (error: unknown) => {
    await new Promise(resolve => setImmediate(resolve))
    throw error
  }
  const faults: Array<[string, () => any]> = [
    ['an error', () => { throw new Error('hidden') }],
    ['a rejection', async () => await later(new Error('hidden'))],
    ['nothing', () => { throw undefined }], // eslint-disable-line no-throw-literal
    ['a 401 that it met elsewhere', () => { throw Object.assign(new Error('hidden'), { statusCode: 401 }) }],
    ['a 403 that it met elsewhere', async () => await later(Object.assign(new Error('hidden'), { statusCode: 403 }))],
    ['a number in place of an answer', () => 7],
    ['null in place of an answer', () => null],
    ['a list of what it was not asked about', () => [{ change: {}, message: 'x' }]]
  ]
  for (const hook of ['authorize', 'beforeApply'] as const) {
    for (const [name, fault] of faults) {
      answer.authorize = answer.beforeApply = () => {}
      answer[hook] = fault
      const reply = await user('alice').uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())] }))
      t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '500 internal_error', `${hook}: ${name}`)
      t.notMatch(reply.body, 'hidden')
    }
  }
  answer.authorize = answer.beforeApply = () => {}
  t.strictSame(await log(sql, 'alice'), [])
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())])), ['1 applied v1', '2 applied v1'], 'the retry goes through')
})

t.test('what a hook\'s own service cannot do at the moment is 503 (P18)', async t => {
  const { user, answer } = await hookedWorld(t)
  answer.authorize = () => { throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }
  t.equal((await user('alice').uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] }))).statusCode, 503)
})

t.test('a hook that never answers is cut off: 503, nothing stored, the lock free, and nobody else waited (C24)', async t => {
  const { sql, url, user } = await buildApp(t)
  const body = JSON.stringify({ changes: Array.from({ length: 40 }, (_, n) => put(n + 1, 'users', uuid(n + 1), john())) })
  let calls = 0
  const hung = () => new Promise<never>(() => { calls++ })
  let sleeping: Promise<unknown> = Promise.resolve()
  const hangs: Record<string, { authorize?: Authorize, beforeApply?: BeforeApply }> = {
    authorize: { authorize: hung },
    beforeApply: { beforeApply: hung },
    'beforeApply in a statement': { beforeApply: async ({ trx }) => { await (sleeping = kyselySql`select pg_sleep(60)`.execute(trx)) } }
  }
  for (const [i, [name, hooks]] of Object.entries(hangs).entries()) {
    calls = 0
    const service = await impatientService(t, url, hooks)
    const cut = t.rejects(service.upload(alice, body), { code: 'unavailable', retryAfterSeconds: 1 }, name)
    await waitFor(`${name} hangs`, async () => calls > 0 || (await sql`select from pg_stat_activity where datname = current_database() and query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and state = 'active'`).length > 0)
    t.strictSame(verdicts(await user(`bob of ${name}`).upload([put(1, 'files', uuid(1000 + i), { name: 'f' })])), ['1 applied v1'], 'another user goes on')
    await cut
    await sleeping.catch(() => {})
    t.ok(calls <= 16, 'and nobody is asked any more')
    await waitFor('the lock is free', async () => (await user('alice').uploadText('{}')).statusCode === 200 && (await sql`select from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`).length === 0)
    t.strictSame(await log(sql, 'alice'), [])
  }
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
})

t.test('where one answer of authorize fails, no further ones are asked for', async t => {
  const { user, asked, answer } = await hookedWorld(t)
  answer.authorize = async () => { throw new Error('no') }
  t.equal((await user('alice').uploadText(JSON.stringify({ changes: Array.from({ length: 500 }, (_, n) => put(n + 1, 'users', uuid(n + 1), john())) }))).statusCode, 500)
  t.ok(asked().length <= 32)
})

t.test('a transaction that a hook keeps is worth nothing after its call (P5, P8)', async t => {
  const { user, answer, sql } = await hookedWorld(t)
  await sql`create table public.notes (id int)`
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  let kept: Transaction<any> | undefined
  const late: string[] = []
  const use = async () => { await (kept as Transaction<any>).insertInto('notes').values({ id: 1 }).execute().catch((error: Error) => late.push(error.message)) }
  answer.beforeApply = async ({ trx, changes }) => {
    kept ??= trx
    return changes.filter(({ op }) => op === 'DELETE').map(change => ({ change, message: 'No.' }))
  }
  // The refusal brings the post, and another call in the same transaction.
  answer.authorize = async ({ table }) => { if (table === 'business.posts' && kept !== undefined) await use() }
  t.strictSame(verdicts(await phone.upload([del(2, 'users', uuid(1), 1), put(3, 'posts', uuid(1), { title: 't', author_id: uuid(1) })])), ['2 invalid rejected', '3 applied v1'])
  t.strictSame(late, ['This transaction was lent for the time of one call, which is over.'])
  await use()
  t.equal(late.length, 2, 'nor after the upload')
  t.equal((await sql`select from public.notes`).length, 0)
  t.strictSame(verdicts(await user('bob').upload([put(1, 'users', uuid(9), john())])), ['1 applied v1'])
})

t.test('a connection takes no statement once its transaction ends', async t => {
  const { url, sql } = await buildApp(t)
  await sql`create table public.notes (id int)`
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const driver = new PostgresJSDialect(client).createDriver()
  const insert = CompiledQuery.raw('insert into public.notes values (1)')
  for (const end of ['commitTransaction', 'rollbackTransaction'] as const) {
    const connection = await driver.acquireConnection()
    await driver.beginTransaction(connection, {})
    const ended = driver[end](connection)
    await t.rejects(connection.executeQuery(insert), { message: 'The transaction is over.' }, 'behind its last statement')
    await ended
    await driver.releaseConnection(connection)
    await t.rejects(connection.executeQuery(insert), { message: 'The transaction is over.' }, 'after it was given back')
  }
  t.equal((await sql`select from public.notes`).length, 0)
  const connection = await driver.acquireConnection()
  t.equal((await connection.executeQuery(insert)).numAffectedRows, 1n, 'the next one has a good connection')
})

t.test('hooks are asked again when a transaction is tried again as the victim of a deadlock (A11, A12)', async t => {
  const { user, asked, answer } = await hookedWorld(t)
  let tries = 0
  answer.beforeApply = () => { if (++tries < 3) throw Object.assign(new Error('deadlock'), { code: '40P01', severity: 'ERROR' }) }
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  t.equal(asked().filter(line => line === 'beforeApply users 1 INSERT v1').length, 3)
  answer.beforeApply = () => { throw Object.assign(new Error('deadlock'), { code: '40P01', severity: 'ERROR' }) }
  t.equal((await user('alice').uploadText(JSON.stringify({ changes: [put(2, 'users', uuid(2), john())] }))).statusCode, 503)
})

t.test('beforeApply gets ten thousand changes in one call, with the digits of each (G3)', async t => {
  const { user, answer, asked } = await hookedWorld(t, { tables: [{ table: 'public.notes', materialize: false }] })
  let sizes: number[] = []
  answer.beforeApply = ({ changes }) => {
    sizes.push(changes.length)
    return changes.filter(({ payload }) => (payload?.['n'] as number) % 5000 === 0).map(change => ({ change, message: 'No.' }))
  }
  const { statuses } = await user('alice').upload(Array.from({ length: 10_000 }, (_, n) => put(n + 1, 'public.notes', uuid(n + 1), { n })))
  t.equal(statuses.filter(({ status }) => status === 'invalid').length, 2)
  t.strictSame(sizes, [10_000])
  t.equal(asked().length, 20_000)
  sizes = []
  t.equal((await user('alice').upload(Array.from({ length: 10_000 }, (_, n) => put(n + 1, 'public.notes', uuid(n + 1), { n })))).statuses.filter(({ status }) => status === 'applied').length, 9998)
  t.strictSame(sizes, [2], 'and of replays none')
})

t.test('the server itself is not asked, and may write what devices may not', async t => {
  const { app, user, asked, answer, sql } = await hookedWorld(t, { tables: [{ table: 'public.news', materialize: false, direction: 'down' }] })
  answer.authorize = () => false
  const body = { changes: [put(1, 'users', uuid(1), john()), put(2, 'public.news', uuid(1), { text: 'hello' })] }
  const { json } = await app.oversync.upload({ userId: 'alice', deviceId: 'server' }, body, { trusted: true })
  t.strictSame(verdicts(JSON.parse(json) as UploadResponse), ['1 applied v1', '2 applied v1'])
  t.strictSame(asked(), [])
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(2), john()), put(2, 'public.news', uuid(1), { text: 'mine' }, 1), del(3, 'public.news', uuid(1), 1), put(4, 'public.news', uuid(2), {})])),
    ['1 invalid rejected', '2 invalid read_only', '3 invalid read_only', '4 invalid read_only'])
  t.strictSame(verdicts(JSON.parse((await app.oversync.upload({ userId: 'alice', deviceId: 'server' }, body)).json) as UploadResponse).map(line => line.slice(0, 9)), ['1 applied', '2 applied'], 'a replay is one whoever sends it')
  await assertSound(t, sql, 'alice')
})

t.test('options of the wrong kind stop the start, and name themselves', async t => {
  const { url } = await buildApp(t)
  for (const option of ['authorize', 'beforeApply', 'admin']) {
    const app = Fastify()
    t.teardown(async () => { await app.close() })
    await t.rejects(async () => await app.register(oversync, { database: url, tables: ['business.users'], getIdentity: () => null, [option]: 'x' }), { name: 'ConfigurationError', message: `Option ${option} must be a function.` })
  }
})
