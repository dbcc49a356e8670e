import t, { type Test } from 'tap'
import type { ListedFailure, RetryResult, TableOptions } from '../../src/index.js'
import { assertSound, buildApp, del, log, put, shortKey, startApp, caller, uuid, verdicts, type AppOptions, type Caller, type World } from '../helpers/app.js'
import { waitFor } from '../helpers/wait-for.js'

const SCHEMA = `
  create schema shop;
  create table shop.orders (id uuid primary key, title text not null check (title <> 'bad'), code text unique, note text);
  create table shop.lines (id uuid primary key, order_id uuid references shop.orders on delete cascade, amount int check (amount > 0));
  create table public.invoices (order_id uuid references shop.orders);`

const TABLES: TableOptions[] = [{ table: 'shop.orders', onMaterializeError: 'record' }, { table: 'shop.lines', onMaterializeError: 'record' }]

interface ShopWorld extends World {
  /** The failures of a user as the operator sees them, one line each. */
  failures: (user: string) => Promise<string[]>
  list: (user?: string, by?: Caller) => Promise<ListedFailure[]>
  retry: (id: number) => Promise<RetryResult>
  /** Titles in the table by row. */
  titles: () => Promise<Record<string, string>>
  operator: Caller
}

async function shop (t: Test, options: AppOptions = {}): Promise<ShopWorld> {
  const world = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: TABLES, admin: ({ headers }) => headers['x-user'] === 'operator', ...options })
  const operator = world.user('operator')
  const list: ShopWorld['list'] = async (user, by = operator) => {
    const reply = await by.admin({ url: `/admin/materialize-failures${user === undefined ? '' : `?user=${encodeURIComponent(user)}`}` })
    if (reply.statusCode !== 200) throw new Error(`Answered ${reply.statusCode}: ${reply.body}`)
    return JSON.parse(reply.body) as ListedFailure[]
  }
  return {
    ...world,
    operator,
    list,
    failures: async user => (await list(user)).map(({ table, pk, op, server_version: version, reason, attempts }) => `${table} ${shortKey(pk)} ${op} v${version} ${reason} ${attempts}`),
    retry: async id => {
      const reply = await retryReply(operator, id)
      if (reply.statusCode !== 200) throw new Error(`Answered ${reply.statusCode}: ${reply.body}`)
      return JSON.parse(reply.body) as RetryResult
    },
    titles: async () => Object.fromEntries((await world.sql`select id, title from shop.orders order by id`).map(({ id, title }) => [shortKey(id as string), title as string]))
  }
}

async function retryReply (operator: Caller, id: unknown) {
  return await operator.admin({ method: 'POST', url: '/admin/materialize-failures/retry', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ id }) })
}

const order = (n: number, row: number, title: string, base = 0, fields = {}) => put(n, 'shop.orders', uuid(row), { title, ...fields }, base)
const line = (n: number, row: number, of: number, amount = 1, base = 0) => put(n, 'shop.lines', uuid(row), { order_id: uuid(of), amount }, base)

t.test('a row that the database refuses is applied and recorded: the stream has it, the table does not', async t => {
  const { user, sql, list, failures, titles } = await shop(t)
  t.strictSame(await list('alice'), [])
  t.strictSame(verdicts(await user('alice').upload([order(1, 1, 'good'), order(2, 2, 'bad'), order(3, 3, 'good')])), ['1 applied v1', '2 applied v1', '3 applied v1'])
  t.strictSame(await log(sql, 'alice'), ['1 orders 1 I v1', '2 orders 2 I v1', '3 orders 3 I v1'])
  t.strictSame(await titles(), { 1: 'good', 3: 'good' })
  const [failure, ...rest] = await list('alice')
  t.equal(rest.length, 0)
  t.match(failure, {
    scope: 'alice',
    user_id: 'alice',
    source_id: 'phone',
    schema: 'shop',
    table: 'orders',
    pk: uuid(2),
    op: 'INSERT',
    server_version: 1,
    reason: 'constraint_violation',
    message: 'The row breaks the constraint orders_title_check.',
    sqlstate: '23514',
    constraint: 'orders_title_check',
    attempts: 1
  })
  t.equal((await user('alice', 'pad').download()).changes.length, 3, 'other devices have it')
  t.strictSame(verdicts(await user('alice').upload([order(2, 2, 'bad')])), ['2 applied v1'], 'a replay')
  t.strictSame(await failures('alice'), ['orders 2 INSERT v1 constraint_violation 1'], 'is not another attempt')
  await assertSound(t, sql, 'alice')
})

t.test('a list shows one user, by default the caller, and changes that a user made in a shared stream', async t => {
  const { user, list, failures } = await shop(t, { admin: () => true })
  await user('alice').upload([order(1, 1, 'bad')])
  await user('bob', 'phone', { scope: 'team' }).upload([order(1, 2, 'bad')])
  t.strictSame([await failures('alice'), await failures('bob'), await failures('team'), await failures('carol')],
    [['orders 1 INSERT v1 constraint_violation 1'], ['orders 2 INSERT v1 constraint_violation 1'], ['orders 2 INSERT v1 constraint_violation 1'], []])
  t.strictSame((await list(undefined, user('alice'))).map(({ scope }) => scope), ['alice'])
  t.strictSame(await list(undefined, user('carol')), [])
  t.strictSame(await list("alice' or true --"), [])
})

t.test('a retry writes the row once the cause is gone, counts attempts until then, and is not found afterwards', async t => {
  const { user, sql, list, retry, titles, failures, operator } = await shop(t)
  await user('alice').upload([order(1, 1, 'bad', 0, { note: 'n' })])
  const [{ id, first_seen: firstSeen }] = await list('alice') as [ListedFailure]
  const again = await retry(id)
  t.match(again, { id, status: 'failed', failure: { attempts: 2, sqlstate: '23514', op: 'INSERT', user_id: 'alice', source_id: 'phone', first_seen: firstSeen } })
  t.match(await retry(id), { status: 'failed', failure: { attempts: 3 } })
  t.strictSame(await titles(), {})
  await sql`alter table shop.orders drop constraint orders_title_check`
  t.strictSame(await retry(id), { id, status: 'materialized' })
  t.strictSame(await titles(), { 1: 'bad' })
  t.strictSame(await failures('alice'), [])
  const reply = await retryReply(operator, id)
  t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '404 not_found')
  t.strictSame(await log(sql, 'alice'), ['1 orders 1 I v1'], 'no new version: the row was in the stream already')
  await assertSound(t, sql, 'alice')
})

t.test('a retry writes the row as it is by now, and not as it was', async t => {
  const { user, sql, list, retry, titles, failures } = await shop(t)
  const phone = user('alice')
  await phone.upload([order(1, 1, 'good'), order(2, 2, 'good'), order(3, 3, 'bad')])
  await phone.upload([order(4, 1, 'bad', 1, { note: 'v2' }), order(5, 2, 'bad', 1), order(6, 3, 'bad', 1, { note: 'newer' })])
  t.strictSame(await titles(), { 1: 'good', 2: 'good' }, 'the table has older rows')
  t.strictSame(await failures('alice'), ['orders 3 UPDATE v2 constraint_violation 2', 'orders 1 UPDATE v2 constraint_violation 1', 'orders 2 UPDATE v2 constraint_violation 1'])
  await phone.upload([order(7, 1, 'bad', 2, { note: 'v3' }), del(8, 'shop.orders', uuid(2), 2)])
  t.strictSame(await failures('alice'), ['orders 3 UPDATE v2 constraint_violation 2', 'orders 1 UPDATE v3 constraint_violation 2'], 'a deletion that went well clears its row')
  await sql`alter table shop.orders drop constraint orders_title_check`
  for (const { id } of await list('alice')) t.equal((await retry(id)).status, 'materialized')
  t.strictSame((await sql`select title, note from shop.orders order by id`).map(row => ({ ...row })), [{ title: 'bad', note: 'v3' }, { title: 'bad', note: 'newer' }])
  await assertSound(t, sql, 'alice')
})

t.test('a later good update of a row clears its failure, within a batch too, and also one that leaves columns out', async t => {
  const { user, sql, failures, titles } = await shop(t)
  const phone = user('alice')
  await phone.upload([order(1, 1, 'bad', 0, { note: 'n', code: 'c1' }), order(2, 2, 'bad'), order(3, 2, 'good', 1), order(4, 3, 'good'), order(5, 3, 'bad', 1)])
  t.strictSame(await failures('alice'), ['orders 1 INSERT v1 constraint_violation 1', 'orders 3 UPDATE v2 constraint_violation 1'])
  t.strictSame(await titles(), { 2: 'good', 3: 'good' })
  t.strictSame(verdicts(await phone.upload([order(6, 1, 'good', 1), order(7, 3, 'better', 2)])).map(text => text.split(' row')[0]), ['6 applied v2', '7 applied v3'])
  t.strictSame(await failures('alice'), [])
  t.strictSame({ ...(await sql`select title, note, code from shop.orders where id = ${uuid(1)}`)[0] }, { title: 'good', note: 'n', code: 'c1' }, 'with what the update left out')
  await assertSound(t, sql, 'alice')
})

t.test('a deletion that the database refuses is recorded, and can be retried, or taken back by the device', async t => {
  const { user, sql, list, retry, titles, failures } = await shop(t)
  const phone = user('alice')
  await phone.upload([order(1, 1, 'one'), order(2, 2, 'two')])
  await sql`insert into public.invoices values (${uuid(1)}), (${uuid(2)})`
  t.strictSame(verdicts(await phone.upload([del(3, 'shop.orders', uuid(1), 1), del(4, 'shop.orders', uuid(2), 1)])), ['3 applied v2', '4 applied v2'])
  t.strictSame(await titles(), { 1: 'one', 2: 'two' })
  t.strictSame(await failures('alice'), ['orders 1 DELETE v2 constraint_violation 1', 'orders 2 DELETE v2 constraint_violation 1'])
  const ids = (await list('alice')).map(({ id }) => id)
  t.match(await retry(ids[0] as number), { status: 'failed', failure: { op: 'DELETE', attempts: 2 } })
  t.strictSame(verdicts(await phone.upload([order(5, 1, 'back', 2)])), ['5 applied v3'], 'the row in the table is its own')
  await sql`delete from public.invoices`
  t.strictSame(await retry(ids[1] as number), { id: ids[1], status: 'materialized' })
  t.strictSame(await titles(), { 1: 'back' })
  t.strictSame(await failures('alice'), [])
})

t.test('children of a failed parent are recorded with it, and get there after it', async t => {
  const { user, sql, list, retry, failures } = await shop(t)
  t.strictSame(verdicts(await user('alice').upload([order(1, 1, 'bad'), line(2, 1, 1), line(3, 2, 9)])), ['1 applied v1', '2 applied v1', '3 invalid fk_missing'], 'what the stream does not have is missing all the same')
  t.strictSame(await failures('alice'), ['orders 1 INSERT v1 constraint_violation 1', 'lines 1 INSERT v1 fk_missing 1'])
  const [parent, child] = await list('alice') as [ListedFailure, ListedFailure]
  t.match(await retry(child.id), { status: 'failed', failure: { reason: 'fk_missing', attempts: 2 } })
  await sql`alter table shop.orders drop constraint orders_title_check`
  t.equal((await retry(parent.id)).status, 'materialized')
  t.equal((await retry(child.id)).status, 'materialized')
  t.equal((await sql`select from shop.lines`).length, 1)
  await assertSound(t, sql, 'alice')
})

t.test('what a cascade takes along is no failure any more', async t => {
  const { user, sql, failures } = await shop(t)
  const phone = user('alice')
  await phone.upload([order(1, 1, 'good'), line(2, 1, 1)])
  await phone.upload([line(3, 1, 1, -1, 1)])
  t.strictSame(await failures('alice'), ['lines 1 UPDATE v2 constraint_violation 1'])
  await phone.upload([del(4, 'shop.orders', uuid(1), 1)])
  t.strictSame(await failures('alice'), [])
  t.strictSame((await log(sql, 'alice')).slice(-2), ['4 orders 1 D v2', '5 lines 1 D v3'])
  await assertSound(t, sql, 'alice')
})

t.test('a unique value that is taken is recorded, and shows no more than its constraint (P16)', async t => {
  const { user, sql, list, retry } = await shop(t)
  await user('bob').upload([order(1, 1, 'secret', 0, { code: 'c' })])
  t.strictSame(verdicts(await user('alice').upload([order(1, 2, 'mine', 0, { code: 'c' })])), ['1 applied v1'])
  const [failure] = await list('alice') as [ListedFailure]
  t.match(failure, { sqlstate: '23505', constraint: 'orders_code_key' })
  t.notMatch(JSON.stringify(failure), /secret|bob/)
  await user('bob').upload([order(2, 1, 'secret', 1, { code: 'd' })])
  t.equal((await retry(failure.id)).status, 'materialized')
  t.equal((await sql`select from shop.orders`).length, 2)
})

t.test('a failed row never becomes a way to somebody else\'s row under its key (P16, I5)', async t => {
  const { user, sql, list, retry, titles, failures } = await shop(t)
  const [alice, bob] = [user('alice'), user('bob')]
  // Rows that are not in the table, whose keys bob takes then.
  await alice.upload([1, 2, 3, 4, 5].map(n => order(n, n, 'bad')))
  t.strictSame(verdicts(await bob.upload([1, 2, 3, 4, 5].map(n => order(n, n, `bob ${n}`)))), [1, 2, 3, 4, 5].map(n => `${n} applied v1`))
  t.strictSame(verdicts(await alice.upload([order(11, 1, 'taken', 1), del(12, 'shop.orders', uuid(2), 1), order(13, 3, 'bad', 1)])), ['11 invalid not_owner', '12 applied v2', '13 applied v2'])
  const ids = Object.fromEntries((await list('alice')).map(({ id, pk }) => [shortKey(pk), id]))
  t.strictSame(Object.keys(ids), ['1', '3', '4', '5'])
  await sql`alter table shop.orders drop constraint orders_title_check`
  t.match(await retry(ids['4'] as number), { status: 'failed', failure: { reason: 'not_owner' } })
  // In one batch: an update that would be good on a row that failed a moment before.
  await sql`alter table shop.orders add constraint orders_title_check check (title <> 'bad')`
  await bob.upload([order(20, 20, 'bob 20')])
  t.strictSame(verdicts(await alice.upload([order(20, 20, 'bad'), order(21, 20, 'taken', 1)])), ['20 applied v1', '21 invalid not_owner'])
  t.strictSame(verdicts(await alice.upload([order(22, 20, 'taken', 0)])), ['22 conflict v1'])
  t.strictSame(verdicts(await alice.upload([del(23, 'shop.orders', uuid(20), 1), order(24, 20, 'taken', 2)])), ['23 applied v2', '24 invalid not_owner'])
  t.strictSame(await titles(), { 1: 'bob 1', 2: 'bob 2', 3: 'bob 3', 4: 'bob 4', 5: 'bob 5', 20: 'bob 20' })
  t.strictSame(verdicts(await alice.upload([order(30, 6, 'good'), order(31, 3, 'bad', 2)])), ['30 applied v1', '31 applied v3'])
  t.strictSame(verdicts(await user('carol').upload([order(1, 6, 'mine')])), ['1 invalid not_owner'], 'a good row under a key of somebody else is refused as ever')
  t.strictSame(await failures('bob'), [])
  await assertSound(t, sql, 'alice')
})

t.test('and not when the table refuses again since the server was started anew (P16)', async t => {
  const { user, url, titles } = await shop(t)
  await user('alice').upload([order(1, 1, 'bad')])
  await user('bob').upload([order(1, 1, 'bob')])
  const app = await startApp(t, { database: url, alone: true, tables: ['shop.orders', 'shop.lines'] })
  t.strictSame(verdicts(await caller(app, 'alice').upload([order(2, 1, 'taken', 1)])), ['2 invalid not_owner'])
  t.strictSame(await titles(), { 1: 'bob' })
})

t.test('of two retries of one failure at once one is told that the other is at it', async t => {
  const { user, sql, list, retry, operator, titles } = await shop(t)
  await user('alice').upload([order(1, 1, 'bad'), order(2, 2, 'bad')])
  await sql`alter table shop.orders drop constraint orders_title_check`
  const [first, second] = await list('alice') as [ListedFailure, ListedFailure]
  const other = await sql.reserve()
  await other`begin`
  await other`lock table shop.orders in share row exclusive mode`
  const underWay = retryReply(operator, first.id)
  await waitFor('the first retry waits for the table', async () => (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)
  const reply = await retryReply(operator, first.id)
  t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '409 retry_in_progress')
  await other`rollback`
  other.release()
  t.equal((await underWay).statusCode, 200)
  t.equal((await retry(second.id)).status, 'materialized')
  t.strictSame(await titles(), { 1: 'bad', 2: 'bad' })
  await Promise.all([1, 2, 3, 4].map(async n => await user('alice', `d${n}`).upload([order(1, 10 + n, n % 2 === 0 ? 'bad' : 'good')])))
  await assertSound(t, sql, 'alice')
})

t.test('retries and uploads of the row at once leave the table as the stream has it (P15)', async t => {
  const { user, sql, list, operator } = await shop(t)
  const phone = user('alice')
  for (let round = 1; round <= 5; round++) {
    await phone.upload([order(10 * round, round, 'bad')])
    const [failure] = await list('alice') as [ListedFailure]
    const replies = await Promise.all([
      retryReply(operator, failure.id), phone.uploadText(JSON.stringify({ changes: [order(10 * round + 1, round, 'good', 1)] })), retryReply(operator, failure.id)
    ])
    t.ok(replies.every(({ statusCode }) => [200, 404, 409].includes(statusCode)), replies.map(({ statusCode }) => statusCode).join(' '))
    t.equal((await sql`select title from shop.orders where id = ${uuid(round)}`)[0]?.['title'], 'good')
    t.strictSame(await list('alice'), [])
  }
  await assertSound(t, sql, 'alice')
})

t.test('what the app\'s own materializer cannot write is recorded as well, and what it rejects is refused', async t => {
  let message: string | null = null
  const { user, sql, failures, list, retry } = await shop(t, {
    tables: [{
      table: 'app.docs',
      onMaterializeError: 'record',
      materializer: async ({ rows, trx, identity }) => {
        const rejected = rows.filter(({ payload }) => payload?.['title'] === 'rejected' || message !== null).map(change => ({ change, message: message ?? 'No.' }))
        if (rejected.length > 0) return rejected
        for (const { key, op, payload } of rows) {
          if (op === 'DELETE') await trx.deleteFrom('shop.orders').where('id', '=', key).execute()
          else await trx.insertInto('shop.orders').values({ id: key, title: payload?.['title'], note: identity.userId }).onConflict(c => c.column('id').doUpdateSet({ title: payload?.['title'] })).execute()
        }
      }
    }]
  })
  const doc = (n: number, row: number, title: string, base = 0) => put(n, 'app.docs', uuid(row), { title }, base)
  t.strictSame(verdicts(await user('alice').upload([doc(1, 1, 'good'), doc(2, 2, 'bad'), doc(3, 3, 'rejected')])), ['1 applied v1', '2 applied v1', '3 invalid rejected'])
  t.strictSame(await failures('alice'), ['docs 2 INSERT v1 constraint_violation 1'])
  const [{ id }] = await list('alice') as [ListedFailure]
  message = 'Not\0now \ud800.'
  t.match(await retry(id), { status: 'failed', failure: { reason: 'rejected', message: 'Notnow \ufffd.', sqlstate: null, attempts: 2 } })
  message = null
  await sql`alter table shop.orders drop constraint orders_title_check`
  t.equal((await retry(id)).status, 'materialized')
  t.equal((await sql`select note from shop.orders where id = ${uuid(2)}`)[0]?.['note'], 'alice', 'in the name of who made the change')
})

t.test('the admin routes are there where the app says who is an operator, and for operators alone (I11)', async t => {
  const { user, app } = await buildApp(t)
  for (const url of ['/admin/materialize-failures', '/sync/admin/materialize-failures']) t.equal((await app.inject({ url })).statusCode, 404, url)
  t.equal((await user('alice').admin({ method: 'POST', url: '/admin/materialize-failures/retry', body: '{"id":1}', headers: { 'content-type': 'application/json' } })).statusCode, 404)
  const answers: Array<[string, () => any, string]> = [
    ['false', () => false, '403 forbidden'], ['a promise of false', async () => false, '403 forbidden'], ['a word', () => 'yes', '403 forbidden'], ['null', () => null, '401 authentication_failed'],
    ['nothing', () => {}, '401 authentication_failed'], ['an exception', () => { throw new Error('x') }, '401 authentication_failed'],
    ['an exception with 403', async () => { throw Object.assign(new Error('x'), { statusCode: 403 }) }, '403 forbidden'], ['an exception with 503', () => { throw Object.assign(new Error('x'), { statusCode: 503 }) }, '503 unavailable']
  ]
  let answer: () => any = () => true
  const there = await shop(t, { admin: async () => await answer(), adminPrefix: '/ops' })
  const operator = there.user('operator', 'desk', { adminPrefix: '/ops' })
  for (const [name, given, expected] of answers) {
    answer = given
    for (const options of [{ url: '/admin/materialize-failures' }, { method: 'POST' as const, url: '/admin/materialize-failures/retry', body: '{"id":1}', headers: { 'content-type': 'application/json' } }]) {
      const reply = await operator.admin(options)
      t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, expected, name)
      t.equal(reply.headers['cache-control'], 'no-store')
    }
  }
  answer = () => true
  t.equal((await operator.admin({ url: '/admin/materialize-failures' })).body, '[]')
  t.equal((await there.app.inject({ url: '/admin/materialize-failures' })).statusCode, 404, 'only under its prefix')
  t.equal((await there.app.inject({ url: '/ops/admin/materialize-failures' })).statusCode, 401, 'the default needs a caller')
  t.equal((await there.app.inject({ method: 'DELETE', url: '/ops/admin/materialize-failures' })).statusCode, 405)
})

t.test('wrong input of the admin routes is 400, 413 or 415, and never 500 (P19)', async t => {
  const { operator, app } = await shop(t)
  const post = async (body: string | Buffer, type = 'application/json') => {
    const reply = await operator.admin({ method: 'POST', url: '/admin/materialize-failures/retry', headers: { 'content-type': type }, body })
    return reply.statusCode
  }
  for (const body of ['', '{', '[]', 'null', '7', '{}', '{"id":"1"}', '{"id":1.5}', '{"id":0}', '{"id":-1}', '{"id":null}', '{"id":9007199254740993}', '{"id":1e400}', '\ufeff{"id":1}', Buffer.from([0x7b, 0xff, 0x7d])]) t.equal(await post(body), 400, String(body))
  t.equal(await post('{"id":1}'), 404)
  t.equal(await post('{"id":9007199254740991}'), 404)
  t.equal(await post(`{"id":1,"x":"${'x'.repeat(2000)}"}`), 413)
  t.equal(await post('{"id":1}', 'text/plain'), 415)
  for (const query of ['user=%00', 'user=a&user=b']) t.equal((await operator.admin({ url: `/admin/materialize-failures?${query}` })).statusCode, 400, query)
  for (const query of ['user=', 'user=%ff', 'user=%', 'x=1']) t.equal((await operator.admin({ url: `/admin/materialize-failures?${query}` })).body, '[]', query)
  for (const id of [0, 1.5, NaN, '1', null, 2 ** 53]) await t.rejects(app.oversync.retryMaterialize(id as number), { code: 'invalid_request' })
  await t.rejects(app.oversync.retryMaterialize(1), { code: 'not_found' })
  await t.rejects(app.oversync.materializeFailures('a\0b'), { code: 'invalid_request' })
})

t.test('a row that is behind the stream does not take the stream back when a foreign key alters it (K10, P7)', async t => {
  const schemaSql = SCHEMA + `
    create table shop.notes (id uuid primary key, text text check (text <> 'bad'), n int default 7, order_id uuid references shop.orders on delete set null)`
  const { user, sql } = await shop(t, { schemaSql, tables: [...TABLES, { table: 'shop.notes', onMaterializeError: 'record' }] })
  const phone = user('alice')
  await phone.upload([put(1, 'shop.orders', uuid(1), { title: 'o' }), put(2, 'shop.notes', uuid(1), { text: 'old', n: 1, order_id: uuid(1) })])
  t.strictSame(verdicts(await phone.upload([put(3, 'shop.notes', uuid(1), { text: 'bad', n: 2, order_id: uuid(1) }, 1)])), ['3 applied v2'])
  t.strictSame(verdicts(await phone.upload([del(4, 'shop.orders', uuid(1), 1)])), ['4 applied v2'])
  const { changes } = await user('alice', 'pad').download()
  t.strictSame(changes.at(-1)?.payload, { id: uuid(1), text: 'bad', n: 2, order_id: null }, 'the newer values, and the reference gone')
  t.strictSame((await sql`select text, n, order_id from shop.notes`).map(row => Object.values(row)), [['old', 1, null]])
  await assertSound(t, sql, 'alice')
})

t.test('a crowd of retries is answered 429, and uploads find their connections (G7, P18)', async t => {
  const { user, sql, list, operator } = await shop(t)
  await user('alice').upload(Array.from({ length: 8 }, (_, i) => put(i + 1, 'shop.orders', uuid(i), { title: 'bad', note: String(i) })))
  await user('alice').upload([put(20, 'shop.orders', uuid(99), { title: 'good' })])
  const failures = await list('alice')
  // Alice's stream is taken: whoever retries waits.
  const other = await sql.reserve()
  await other`begin`
  await other`select from sync.stream for update`
  const retries = failures.map(async ({ id }) => await operator.admin({ method: 'POST', url: '/admin/materialize-failures/retry', payload: { id } }))
  const statuses: number[] = []
  const told = retries.map(async retry => { statuses.push((await retry).statusCode) })
  await waitFor('the crowd is refused', () => statuses.filter(status => status === 429).length === 4)
  await other`rollback`
  other.release()
  await Promise.all(told)
  t.strictSame(statuses.filter(status => status !== 429 && status !== 200 && status !== 503), [], 'the others go on')
})

t.test('a row that two deletions of one batch alter loses both references in the stream too (K10, P15)', async t => {
  const schemaSql = SCHEMA + `
    create table shop.notes (id uuid primary key, order_id uuid references shop.orders on delete set null, line_id uuid references shop.lines on delete set null)`
  const { user } = await shop(t, { schemaSql, tables: [...TABLES, { table: 'shop.notes', onMaterializeError: 'record' }] })
  const phone = user('alice')
  await phone.upload([order(1, 1, 'o'), order(2, 2, 'o'), line(3, 1, 2), put(4, 'shop.notes', uuid(1), { order_id: uuid(1), line_id: uuid(1) })])
  await phone.upload([del(5, 'shop.orders', uuid(1), 1), del(6, 'shop.lines', uuid(1), 1)])
  t.strictSame((await user('alice', 'pad').download()).changes.at(-1)?.payload, { id: uuid(1), order_id: null, line_id: null })
})

t.test('no row may refer to a row that failed, under whose key somebody else has one (P16, K1)', async t => {
  for (const onMaterializeError of ['reject', 'record'] as const) {
    const { sql, user } = await buildApp(t, {
      schemaSql: 'create table public.folder (id uuid primary key, name text not null); create table public.doc (id uuid primary key, folder_id uuid references public.folder)',
      alone: true,
      tables: [{ table: 'public.folder', onMaterializeError: 'record' }, { table: 'public.doc', onMaterializeError }]
    })
    const [alice, bob] = [user('alice'), user('bob')]
    await bob.upload([put(1, 'public.folder', uuid(1), { name: 'his' })])
    t.strictSame(verdicts(await alice.upload([put(1, 'public.folder', uuid(1), { name: null }), put(2, 'public.doc', uuid(2), { folder_id: uuid(1) })])),
      ['1 applied v1', onMaterializeError === 'reject' ? '2 invalid fk_missing' : '2 applied v1'], `in one batch, ${onMaterializeError}`)
    t.strictSame(verdicts(await alice.upload([put(3, 'public.doc', uuid(3), { folder_id: uuid(1) })])),
      [onMaterializeError === 'reject' ? '3 invalid fk_missing' : '3 applied v1'], `later, ${onMaterializeError}`)
    t.strictSame([...await sql`select id from public.doc`], [], 'nothing of hers points at his')
    await assertSound(t, sql, 'alice')
  }
})

t.test('a failed row that is put back whole is asked about its parents again, by an edit and by a retry (P16)', async t => {
  const { sql, user, list, retry } = await shop(t, {
    schemaSql: SCHEMA + 'create table shop.folder (id uuid primary key, name text); create table shop.doc (id uuid primary key, title text unique, folder_id uuid references shop.folder)',
    tables: [...TABLES, 'shop.folder', { table: 'shop.doc', onMaterializeError: 'record' }]
  })
  const [alice, bob] = [user('alice'), user('bob')]
  await alice.upload([put(1, 'shop.folder', uuid(1), { name: 'hers' }), put(2, 'shop.doc', uuid(2), { title: 'taken' })])
  await alice.upload([put(3, 'shop.doc', uuid(3), { title: 'taken', folder_id: uuid(1) }), put(4, 'shop.doc', uuid(4), { title: 'taken', folder_id: uuid(1) })])
  t.strictSame(verdicts(await alice.upload([del(5, 'shop.folder', uuid(1), 1)])), ['5 applied v2'])
  await bob.upload([put(1, 'shop.folder', uuid(1), { name: 'his' })])
  t.match(verdicts(await alice.upload([put(6, 'shop.doc', uuid(3), { title: 'free' }, 1)])), [/^6 applied v2/])
  await sql`update shop.doc set title = 'moved' where id = ${uuid(2)}`
  for (const { id } of await list('alice')) t.match(await retry(id), { status: 'failed', failure: { reason: 'fk_missing' } })
  t.strictSame((await sql`select id from shop.doc`).map(({ id }) => id as string), [uuid(2)], 'nothing of hers points at his')
  t.match(verdicts(await alice.upload([put(7, 'shop.doc', uuid(3), { folder_id: null }, 2)])), [/^7 applied v3/])
  t.strictSame((await sql`select title from shop.doc where id = ${uuid(3)}`).map(({ title }) => title as string), ['free'], 'once the reference is gone it is written')
  await assertSound(t, sql, 'alice')
})

t.test('a foreign key that alters only what is behind the stream makes no version (K10, P7)', async t => {
  const { user, sql } = await shop(t, {
    schemaSql: SCHEMA + "create table shop.notes (id uuid primary key, text text check (text <> 'bad'), order_id uuid references shop.orders on delete set null)",
    tables: [...TABLES, { table: 'shop.notes', onMaterializeError: 'record' }]
  })
  const phone = user('alice')
  await phone.upload([put(1, 'shop.orders', uuid(1), { title: 'o' }), put(2, 'shop.notes', uuid(1), { text: 'old', order_id: uuid(1) })])
  t.strictSame(verdicts(await phone.upload([put(3, 'shop.notes', uuid(1), { text: 'bad', order_id: null }, 1)])), ['3 applied v2'])
  t.strictSame(verdicts(await phone.upload([del(4, 'shop.orders', uuid(1), 1)])), ['4 applied v2'])
  t.strictSame((await log(sql, 'alice')).at(-1), '4 orders 1 D v2', 'the deletion is the last entry')
  t.strictSame((await sql`select text, order_id from shop.notes`).map(row => Object.values(row)), [['old', null]])
  await assertSound(t, sql, 'alice')
})
