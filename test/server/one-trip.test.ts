// Most uploads are judged by what most of them find, and the database checks as it writes that it is so (docs/decisions/0025-judged-by-assumption.md).
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { Metrics } from '../../src/metrics.js'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdicts, type World } from '../helpers/app.js'
import { lockWaiter } from '../helpers/locks.js'
import { recordMetrics } from '../helpers/record-metrics.js'

const SCHEMA = `
  create table public.items (id uuid primary key, name text unique, size integer check (size < 100), spare text);
  create table public.audited (id uuid primary key, name text);
  create table public.audit (what text);
  create function audit() returns trigger language plpgsql as $$ begin insert into public.audit values (tg_op); return null; end $$;
  create trigger audit after delete on public.audited for each statement execute function audit();
  create table public.countries (code text primary key);
  create table public.towns (id uuid primary key, name text, country text references countries, mayor_id uuid);
  insert into countries values ('de');`
const TABLES = ['public.items', 'public.audited', { table: 'public.countries', shared: true }, 'public.towns', { table: 'public.notes', materialize: false }]

interface Assuming extends World {
  /** By what uploads are judged while some work is done, in turn. */
  waysDuring: (work: () => Promise<void>) => Promise<string[]>
}

/** Two apps alike, of which a hook keeps one from assuming anything. */
async function sides (t: Test): Promise<{ assuming: Assuming, reading: World }> {
  let ways: string[] = []
  const metrics: Metrics = {
    add (...[name, , labels]) {
      if (name === 'oversync_uploads_judged_total') ways.push(labels.by)
    },
    observe () {}
  }
  const options = { tables: TABLES, schemaSql: SCHEMA }
  const assuming = await buildApp(t, { ...options, metrics })
  const reading = await buildApp(t, { ...options, authorize: () => true })
  return {
    reading,
    assuming: {
      ...assuming,
      async waysDuring (work) {
        ways = []
        await work()
        return ways
      }
    }
  }
}

interface Situation {
  /** What the device, another one of the user and another user have uploaded before; each a batch. */
  before?: { phone?: UploadChange[], tablet?: UploadChange[], bob?: UploadChange[] }
  /** What the app does to its tables behind the stream's back. */
  meddling?: string
  batch: UploadChange[]
  fields?: Record<string, unknown>
  older?: boolean
  expected: string[]
}

const users = (...numbers: number[]) => numbers.map(n => put(n, 'users', uuid(n), john()))
const post = (id: number, n: number, author: number, base = 0) => put(id, 'posts', uuid(n), { title: 't', author_id: uuid(author) }, base)
const item = (id: number, n: number, payload: Record<string, unknown>, base = 0) => put(id, 'public.items', uuid(n), { name: `n${n}`, size: 1, spare: null, ...payload }, base)

/** Whatever is assumed of them is so. */
const AS_ASSUMED: Record<string, Situation> = {
  'the first upload of a device': { before: { tablet: users(1, 2) }, batch: users(3, 4), expected: ['3 applied v1', '4 applied v1'] },
  'a later one': { before: { phone: users(1) }, batch: users(2), expected: ['2 applied v1'] },
  'edits of another device\'s rows': { before: { tablet: users(1, 2) }, batch: [put(1, 'users', uuid(1), john('A'), 1), put(2, 'users', uuid(2), john('B'), 1)], expected: ['1 applied v2', '2 applied v2'] },
  'a deletion': { before: { tablet: users(1) }, batch: [del(1, 'users', uuid(1), 1)], expected: ['1 applied v2'] },
  'new rows, edits and deletions of several tables': {
    before: { tablet: [...users(1, 2), post(3, 3, 1), item(4, 4, {})] },
    batch: [post(1, 5, 6), put(2, 'users', uuid(6), john()), put(3, 'users', uuid(1), john('A'), 1), del(4, 'posts', uuid(3), 1), item(5, 4, { spare: 's' }, 1), post(6, 7, 2)],
    expected: ['1 applied v1', '2 applied v1', '3 applied v2', '4 applied v2', '5 applied v2', '6 applied v1']
  },
  'many changes of a row': {
    before: { tablet: users(1) },
    batch: [put(1, 'users', uuid(1), john('A'), 1), put(2, 'users', uuid(1), john('B'), 2), put(3, 'users', uuid(2), john(), 0), put(4, 'users', uuid(2), john('C'), 1), del(5, 'users', uuid(2), 2), put(6, 'users', uuid(2), john('D'), 3)],
    expected: ['1 applied v2', '2 applied v3', '3 applied v1', '4 applied v2', '5 applied v3', '6 applied v4']
  },
  'a reference to a row that nobody owns': { batch: [put(1, 'public.towns', uuid(1), { name: 'Ulm', country: 'de', mayor_id: null })], before: { tablet: users(1) }, expected: ['1 applied v1'] },
  'rows without a table': { before: { tablet: [put(1, 'public.notes', uuid(1), { a: 1 })] }, batch: [put(1, 'public.notes', uuid(1), { a: 2 }, 1), put(2, 'public.notes', uuid(2), { b: [1, { c: 2 }] })], expected: ['1 applied v2', '2 applied v1'] },
  'a client of the original generation': { before: { tablet: users(1) }, batch: [put(1, 'users', uuid(1), john('A'), 1), ...users(2)], older: true, expected: ['1 applied v2', '2 applied v1'] },
  'numbers with gaps, in any order': { before: { phone: users(1) }, batch: [put(9, 'users', uuid(9), john()), put(7, 'users', uuid(7), john())], fields: { next_source_change_id: 2 }, expected: ['9 applied v1', '7 applied v1'] },
  'a value that the server spells': { before: { tablet: users(1) }, batch: [{ ...post(1, 3, 1), payload: { id: uuid(3), title: 't', author_id: `{${uuid(1)}}` } }], expected: ['1 applied v1 row v1'] }
}

/** Something is not as it is assumed. */
const OTHERWISE: Record<string, Situation> = {
  'a version that is passed': { before: { tablet: [...users(1), put(2, 'users', uuid(1), john('A'), 1)] }, batch: [put(1, 'users', uuid(1), john('B'), 1), ...users(2)], expected: ['1 conflict v2', '2 applied v1'] },
  'a version that is not there yet': { before: { tablet: users(1) }, batch: [put(1, 'users', uuid(1), john('B'), 2)], expected: ['1 conflict v1'] },
  'a row that is not there': { before: { tablet: users(1) }, batch: [put(1, 'users', uuid(2), john(), 1)], expected: ['1 conflict v0 deleted'] },
  'a new row that is there': { before: { tablet: users(1) }, batch: [put(1, 'users', uuid(1), john('B')), ...users(2)], expected: ['1 conflict v1', '2 applied v1'] },
  'a new row that was there': { before: { tablet: [...users(1), del(2, 'users', uuid(1), 1)] }, batch: [put(1, 'users', uuid(1), john('B')), ...users(2)], expected: ['1 conflict v2 deleted', '2 applied v1'] },
  'a deleted row that comes back': { before: { tablet: [...users(1), del(2, 'users', uuid(1), 1)] }, batch: [put(1, 'users', uuid(1), john('B'), 2)], expected: ['1 applied v3'] },
  'a deletion of a row that is deleted': { before: { tablet: [...users(1), del(2, 'users', uuid(1), 1)] }, batch: [del(1, 'users', uuid(1), 2)], expected: ['1 applied v2'] },
  'a deletion of a row that never was': { before: { tablet: users(1) }, batch: [del(1, 'users', uuid(2), 1)], expected: ['1 applied'] },
  'a deletion that nothing comes of, where a trigger watches': { before: { tablet: [put(1, 'public.audited', uuid(1), { name: 'a' })] }, batch: [del(1, 'public.audited', uuid(9), 1), del(2, 'public.audited', uuid(1), 2)], expected: ['1 applied', '2 conflict v1'] },
  'a deletion where a trigger watches': { before: { tablet: [put(1, 'public.audited', uuid(1), { name: 'a' })] }, batch: [del(1, 'public.audited', uuid(1), 1)], expected: ['1 applied v2'] },
  'a deletion of the version before last, where a trigger watches': { before: { tablet: [put(1, 'public.audited', uuid(1), { name: 'a' }), put(2, 'public.audited', uuid(1), { name: 'b' }, 1)] }, batch: [del(1, 'public.audited', uuid(1), 1)], expected: ['1 conflict v2'] },
  'a column that is left out': { before: { tablet: [item(1, 1, { spare: 's' })] }, batch: [put(1, 'public.items', uuid(1), { name: 'n', size: 2 }, 1)], expected: ['1 applied v2 row v2'] },
  'a column that is left out the second time': { before: { tablet: users(1) }, batch: [item(1, 1, { spare: 's' }), put(2, 'public.items', uuid(1), { name: 'n' }, 1)], expected: ['1 applied v1', '2 applied v2 row v2'] },
  'a parent that is deleted': { before: { tablet: [...users(1), del(2, 'users', uuid(1), 1)] }, batch: [post(1, 3, 1)], expected: ['1 invalid fk_missing'] },
  'a parent that is deleted and back in its table alone': { before: { tablet: [...users(1), del(2, 'users', uuid(1), 1)] }, meddling: `insert into business.users (id, name, email) values ('${uuid(1)}', 'of the app', 'a@example.com')`, batch: [post(1, 3, 1)], expected: ['1 invalid fk_missing'] },
  'a row that the app has removed': { before: { tablet: users(1) }, meddling: `delete from business.users where id = '${uuid(1)}'`, batch: [put(1, 'users', uuid(1), john('B'), 1)], expected: ['1 applied v2'] },
  'a parent that never was': { before: { tablet: users(1) }, batch: [post(1, 3, 2), ...users(4)], expected: ['1 invalid fk_missing', '4 applied v1'] },
  'a parent of another user': { before: { tablet: users(1), bob: users(2) }, batch: [post(1, 3, 2)], expected: ['1 invalid fk_missing'] },
  'one of two parents': { before: { tablet: users(1) }, batch: [post(1, 3, 1), post(2, 4, 9)], expected: ['1 applied v1', '2 invalid fk_missing'] },
  'a row of another user': { before: { tablet: users(1), bob: users(2) }, batch: [put(1, 'users', uuid(2), john('B'), 1)], expected: ['1 conflict v0 deleted'] },
  'a key of another user': { before: { tablet: users(1), bob: users(2) }, batch: users(2, 3), expected: ['2 invalid not_owner', '3 applied v1'] },
  'a replay': { before: { phone: users(1, 2) }, batch: users(1, 2), expected: ['1 applied v1', '2 applied v1'] },
  'a replay with more': { before: { phone: users(1, 2) }, batch: users(2, 3), expected: ['2 applied v1', '3 applied v1'] },
  'a number that is used': { before: { phone: users(1, 2) }, batch: [put(1, 'users', uuid(3), john())], expected: ['1 invalid source_change_id_reused'] },
  'a number between used ones': { before: { phone: users(1, 5) }, batch: users(3), expected: ['3 applied v1'] },
  'a number between used ones, of a device whose numbers go up': { before: { phone: users(1, 5) }, batch: users(3), fields: { next_source_change_id: 2 }, expected: ['3 invalid source_change_id_passed'] },
  'numbers that another copy has used': { before: { phone: users(1, 2) }, batch: users(3), fields: { next_source_change_id: 2 }, expected: ['3 invalid source_change_id_reused'] },
  'a number twice': { before: { phone: users(1) }, batch: [...users(2), put(2, 'users', uuid(3), john())], expected: ['2 applied v1', '2 invalid source_change_id_reused'] },
  'a number twice, of a client of the original generation': { before: { phone: users(1) }, batch: [...users(2), put(2, 'users', uuid(3), john())], older: true, expected: ['2 applied v1', '2 applied v1'] },
  'a change that nobody can read': { before: { phone: users(1) }, batch: [put(2, 'nowhere', uuid(1), {}), ...users(3)], expected: ['2 invalid unregistered_table', '3 applied v1'] },
  'a value that its column refuses': { before: { phone: users(1) }, batch: [item(2, 2, { size: 100 }), item(3, 3, {})], expected: ['2 invalid constraint_violation', '3 applied v1'] },
  'members without a column': { before: { phone: users(1) }, batch: [item(2, 2, { later: 1 })], expected: ['2 applied v1'] }
}

async function play ({ user, sql }: World, name: string, { before = {}, meddling = '', batch, fields = {}, older = false }: Situation): Promise<{ reply: unknown, verdicts: string[], log: string[], sources: unknown[] }> {
  const phone = user(name, 'phone', { older })
  if (before.tablet !== undefined) await user(name, 'tablet').upload(before.tablet)
  if (before.bob !== undefined) await user(`${name}, bob`).upload(before.bob)
  if (before.phone !== undefined) await user(name).upload(before.phone)
  await sql.unsafe(meddling)
  const { text, epoch, ...reply } = await phone.upload(batch, fields)
  return { reply, verdicts: verdicts(reply), log: await log(sql, name), sources: await rest(sql, name) }
}

/** What the database knows of a scope besides its log. */
async function rest (sql: Sql, scope: string): Promise<unknown[]> {
  return [
    ...await sql`select so.source_no, so.source_id, so.max_change_id from sync.source so join sync.scope using (scope_id) where name = ${scope} order by 1`,
    ...await sql`select r.table_id, r.pk, r.version, r.deleted, r.server_id, r.shape from sync.row_state r join sync.scope using (scope_id) where name = ${scope} order by 1, 2`,
    ...await sql`select l.server_id, l.source_no, l.source_change_id, l.payload::text, l.payload_bytes, l.carried, l.sent_digest from sync.change_log l join sync.scope using (scope_id) where name = ${scope} order by 1`
  ].map(row => ({ ...row }))
}

const BUSINESS = ['business.users', 'business.posts', 'public.items', 'public.towns', 'public.audited']

async function rows (sql: Sql): Promise<string> {
  return JSON.stringify(await Promise.all(BUSINESS.map(async table => [...await sql.unsafe(`select * from ${table} order by id`)])))
}

/** Plays situations in both apps, in the same order, so that everything gets the same numbers. */
async function compare (t: Test, situations: Record<string, Situation>, by: 'assumption' | 'reading'): Promise<void> {
  const { assuming, reading } = await sides(t)
  for (const [what, situation] of Object.entries(situations)) {
    const expected = await play(reading, what, situation)
    const ways = await assuming.waysDuring(async () => {
      const found = await play(assuming, what, situation)
      t.strictSame(found.verdicts, situation.expected, what)
      t.strictSame(found, expected, `${what}: as one that reads`)
    })
    t.equal(ways.at(-1), by, what)
    t.strictSame(await rows(assuming.sql), await rows(reading.sql), `${what}: tables`)
    t.strictSame([...await assuming.sql`select * from audit`], [...await reading.sql`select * from audit`], `${what}: what triggers have seen`)
    await assertSound(t, assuming.sql, what)
    for (const { sql } of [assuming, reading]) await sql.unsafe(`truncate ${BUSINESS.join(', ')}`)
  }
}

t.test('where all is as an upload assumes, it ends as one that reads first (A2, D9, J1)', async t => {
  await compare(t, AS_ASSUMED, 'assumption')
})

t.test('where something is not as an upload assumes, nothing is written before it has read (A2, A9, B2, D9, J1)', async t => {
  await compare(t, OTHERWISE, 'reading')
})

t.test('an upload that waits for another finds what that one has left (A2)', async t => {
  const { sql, url, user } = await buildApp(t)
  const phone = user('ann', 'phone')
  const tablet = caller(await startApp(t, { database: url }), 'ann', 'tablet')
  await phone.upload(users(1))
  await tablet.upload([put(1, 'users', uuid(9), john())])
  const other = await sql.reserve()
  t.teardown(() => { other.release() })
  await other`begin`
  await other`select from sync.stream for update`
  const answers = [phone.upload([put(2, 'users', uuid(1), john('A'), 1)]), tablet.upload([put(2, 'users', uuid(1), john('B'), 1)])]
  await lockWaiter(sql, 2)
  await other`commit`
  t.strictSame((await Promise.all(answers)).map(reply => verdicts(reply)[0]).sort(), ['2 applied v2', '2 conflict v2'])
  await assertSound(t, sql, 'ann')
})

t.test('what needs no row of a table is answered while somebody has locked the table (B2, J1)', async t => {
  const metrics = recordMetrics()
  const { sql, user } = await buildApp(t, { metrics })
  const phone = user('ann')
  await phone.upload(users(1))
  const other = await sql.reserve()
  t.teardown(() => { other.release() })
  await other`begin`
  await other`lock table business.users in access exclusive mode`
  t.strictSame(verdicts(await phone.upload(users(1))), ['1 applied v1'], 'a replay')
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(1), john('B'), 5)])), ['2 conflict v1'], 'a conflict')
  const reply = await phone.uploadText(JSON.stringify({ epoch: await phone.epoch(), changes: users(3) }))
  t.equal(reply.statusCode, 503, 'a new row has to wait')
  t.strictSame(metrics.totals('oversync_transaction_retries_total'), { 'oversync_transaction_retries_total lock_timeout': 1 + 1 + 2 }, 'one try each for what needs no row, three for what does')
  await other`rollback`
  t.strictSame(verdicts(await phone.upload(users(3))), ['3 applied v1'])
})

t.test('a device of another history is told so, and a stream at the end of exact numbers takes no more (L2, L7)', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('ann')
  await phone.upload(users(1))
  const reply = await phone.uploadText(JSON.stringify({ epoch: 'another', changes: users(2) }))
  t.equal(reply.statusCode, 409)
  t.match(reply.body, /"history_changed"/)
  await sql`update sync.stream set head = ${String(Number.MAX_SAFE_INTEGER - 1)}`
  t.strictSame(verdicts(await phone.upload(users(3))), ['3 applied v1'])
  t.equal((await phone.uploadText(JSON.stringify({ epoch: await phone.epoch(), changes: users(4) }))).statusCode, 500)
  t.equal((await sql`select from business.users`).length, 2)
})

t.test('a reply that would be too large is known to be so before anything is stored', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('ann')
  await phone.upload(users(1))
  // Of each change that the server has spelled anew the row is shown, as the last one leaves it.
  const spelled = (n: number, title: string) => ({ ...post(n, 3, 1, n - 2), payload: { id: uuid(3), title, author_id: '{' + uuid(1) + '}' } })
  const changes = [...Array.from({ length: 99 }, (_, i) => spelled(i + 2, 't')), spelled(101, 't'.repeat(900_000))]
  const reply = await phone.upload(changes)
  t.equal(reply.accepted, false)
  t.strictSame([...new Set(verdicts(reply).map(line => line.replace(/^\d+ /, '')))], ['invalid batch_too_large'])
  t.strictSame(await log(sql, 'ann'), ['1 users 1 I v1'])
  t.strictSame(verdicts(await phone.upload(changes.slice(0, 2))), ['2 applied v1 row v2', '3 applied v2 row v2'])
})
