import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { assertSound, buildApp, read, uuid, verdicts, type Caller, type Read, type World } from '../helpers/app.js'
import type { UploadResponse } from '../../src/index.js'
import { waitFor } from '../helpers/wait-for.js'

/*
 * The app's migrations run while devices upload (F4, F8, C21): whatever a process learned of the tables at its start may be wrong
 * by now. Nothing is lost, nothing is refused for a reason that is no longer true, and nobody sees a 500.
 */

const SCHEMA = 'create table public.notes (id uuid primary key, text text, n integer); create table public.others (id uuid primary key, text text)'
const world = async (t: Test, options: object = {}) => await buildApp(t, { schemaSql: SCHEMA, tables: ['notes', 'others'], ...options })

let lastId = 0
const put = (n: number, payload: Record<string, unknown>, base = 0, table = 'notes') => ({ source_change_id: ++lastId, table, op: 'UPDATE', pk: uuid(n), server_version: base, payload })
const outcome = async (caller: Caller, ...changes: object[]) => verdicts(await caller.upload(changes as never[])).map(line => line.replace(/^\d+ /, ''))

t.test('a column that was added is written from the next upload on, without a restart (F3)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  t.strictSame(await outcome(phone, put(1, { text: 'a', added: 'kept in the stream' })), ['applied v1'])
  await sql`alter table notes add column added text`
  t.strictSame(await outcome(phone, put(2, { text: 'b', added: 'written' })), ['applied v1'])
  t.strictSame((await sql`select text, added from notes order by text`).map(row => Object.values(row)), [['a', null], ['b', 'written']])
  t.strictSame(await outcome(phone, put(1, { text: 'a', added: 'now too' }, 1)), ['applied v2'])
  t.strictSame((await sql`select added from notes where text = 'a'`).map(({ added }) => added as string), ['now too'])
})

t.test('a column that was dropped stays in the stream, and its rows go on', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  await outcome(phone, put(1, { text: 'a', n: 1 }))
  await sql`alter table notes drop column n`
  t.strictSame(await outcome(phone, put(1, { text: 'b', n: 2 }, 1), put(2, { text: 'c', n: 3 })), ['applied v2', 'applied v1'])
  t.strictSame((await sql`select * from notes order by id`).map(({ text }) => text as string), ['b', 'c'])
  t.strictSame((await user('alice', 'pad').download()).changes.map(({ payload }) => payload), [{ text: 'a', n: 1 }, { text: 'b', n: 2 }, { text: 'c', n: 3 }])
})

t.test('a column of another type is judged by the new one (F4)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  t.strictSame(await outcome(phone, put(1, { n: 3_000_000_000 })), ['invalid bad_payload'])
  await sql`alter table notes alter column n type bigint`
  t.strictSame(await outcome(phone, put(1, { n: 3_000_000_000 })), ['applied v1'], 'what did not fit fits')
  await sql`alter table notes alter column n type text`
  t.strictSame(await outcome(phone, put(2, { n: 'a text' })), ['applied v1'])
  await sql`alter table notes alter column text type integer using null`
  t.strictSame(await outcome(phone, put(3, { text: 'no number' }), put(4, { text: '7' })), ['invalid bad_payload', 'applied v1'])
  await sql`delete from notes where n is null`
  await sql`alter table notes alter column n set not null`
  t.strictSame(await outcome(phone, put(5, { n: null }), put(6, { n: 'x' })), ['invalid constraint_violation', 'applied v1'])
  await assertSound(t, sql, 'alice')
})

t.test('a table that is dropped or cannot sync any more refuses its changes until it is back, the others go on (F8)', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  await outcome(phone, put(1, { text: 'a' }), put(1, { text: 'a' }, 0, 'others'))
  for (const [gone, back] of [
    ['alter table notes rename to renamed', 'alter table renamed rename to notes'],
    ['alter table notes add column odd point', 'alter table notes drop column odd'],
    ['drop table notes', 'create table public.notes (id uuid primary key, text text, n integer)']] as const) {
    await sql.unsafe(gone)
    const other = Number((await sql`select version from sync.rows where table_name = 'others'`)[0]?.['version'])
    // The first may meet the change in the middle; whichever way, it is judged by the tables as they are.
    const first = await outcome(phone, put(2, { text: 'b', odd: '(1,2)' }), put(1, { text: 'b' }, other, 'others'))
    t.strictSame(first, ['invalid constraint_violation', `applied v${other + 1}`], gone)
    t.equal((await user('alice', 'pad').request({ url: '/download?include_self=true' })).statusCode, 200, 'its rows are still in the stream')
    await sql.unsafe(back)
  }
  // Nothing fails while a table is missing from the list: it is looked for once in a while.
  await waitFor('the table is back', async () => (await outcome(phone, put(3, { text: 'c' })))[0] === 'applied v1')
  await assertSound(t, sql, 'alice')
})

t.test('a trigger and a foreign key that were added count after a while', async t => {
  const { user, sql } = await world(t)
  const phone = user('alice')
  await outcome(phone, put(1, { text: 'a' }))
  await sql.unsafe(`create function shout() returns trigger language plpgsql as $$ begin new.text = upper(new.text); return new; end $$;
    create trigger shout before insert or update on notes for each row execute function shout();
    alter table others add column note_id uuid references notes on delete cascade`)
  let version = 1
  await waitFor('the trigger is noticed', async () => (await outcome(phone, put(1, { text: `b${version}` }, version++)))[0]?.endsWith(`row v${version}`))
  t.strictSame(await outcome(phone, put(1, { note_id: uuid(1) }, 0, 'others'), put(2, { note_id: uuid(9) }, 0, 'others')), ['applied v1', 'invalid fk_missing'])
  t.strictSame(await outcome(phone, { source_change_id: ++lastId, table: 'notes', op: 'DELETE', pk: uuid(1), server_version: version }), [`applied v${version + 1}`])
  t.match((await user('alice', 'pad').download({ limit: 1000 })).changes.slice(-2), [{ table: 'notes', op: 'DELETE' }, { table: 'others', op: 'DELETE', source_id: 'oversync:server' }])
  await assertSound(t, sql, 'alice')
})

t.test('tables are altered again and again while devices upload: every reply is a verdict or 503, and nothing acknowledged is missing (P1, P18, C21)', { timeout: 120_000 }, async t => {
  const { sql, user }: World = await world(t)
  const alterations = [
    'alter table notes add column extra text', 'alter table notes alter column n type bigint', 'alter table notes drop column extra', 'alter table notes alter column n type integer',
    'alter table notes rename column text to text2', 'alter table notes rename column text2 to text', 'create index on notes (text)', 'alter table notes add check (n < 1000000)'
  ]
  const altered = { done: false }
  const altering = (async () => {
    for (let i = 0; i < 40; i++) {
      await sql.unsafe(alterations[i % alterations.length] as string)
      await setImmediate()
    }
    altered.done = true
  })()
  const acknowledged: string[] = []
  const odd: string[] = []
  const uploading = ['alice', 'bob', 'carol'].map(async (name, u) => {
    for (let n = 0; !altered.done || n < 20; n++) {
      const pk = uuid(1000 * (u + 1) + n)
      const change = { source_change_id: n + 1, table: 'notes', op: 'INSERT', pk, server_version: 0, payload: { text: name, n, extra: 'x' } }
      const reply = await user(name).uploadText(JSON.stringify({ changes: [change] }))
      if (reply.statusCode === 503) continue
      const status = reply.statusCode === 200 ? (read<UploadResponse>(reply) as Read<UploadResponse>).statuses[0]?.status : reply.statusCode
      if (status === 'applied') acknowledged.push(pk)
      else odd.push(`${String(status)} ${reply.body}`)
    }
  })
  await Promise.all([altering, ...uploading])
  t.strictSame(odd, [])
  t.ok(acknowledged.length > 20, `${acknowledged.length} were acknowledged`)
  t.equal((await sql`select from notes where id = any (${acknowledged}::uuid[])`).length, acknowledged.length, 'each of them is in its table')
  for (const name of ['alice', 'bob', 'carol']) await assertSound(t, sql, name)
})
