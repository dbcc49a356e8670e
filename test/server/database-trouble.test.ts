import { Kysely } from 'kysely'
import postgres, { type Sql } from 'postgres'
import t, { type Test } from 'tap'
import * as limits from '../../src/limits.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdicts } from '../helpers/app.js'
import type { Reply } from '../helpers/contract.js'
import { FailingDialect } from '../helpers/failing-dialect.js'
import { waitFor } from '../helpers/wait-for.js'

function assertUnavailable (t: Test, { statusCode, headers, body }: Reply, what: string): void {
  t.equal(`${statusCode} ${JSON.parse(body).error as string}`, '503 unavailable', what)
  t.match(headers['retry-after'], /^[1-9]\d*$/, `${what}: Retry-After`)
}

const body = (...changes: object[]): string => JSON.stringify({ changes })

/** An app whose statements fail as told. */
async function failingApp (t: Test) {
  const world = await buildApp(t)
  const dialect = new FailingDialect(postgres(world.url, { max: 2, onnotice: () => {} }))
  const database = new Kysely<any>({ dialect })
  t.teardown(async () => { await database.destroy() })
  return { ...world, faults: dialect.faults, phone: caller(await startApp(t, { database }), 'alice') }
}

/** Connections of the test's other apps that hold something: open transactions and locks that outlive a statement. */
async function held (sql: Sql): Promise<number> {
  const [row] = await sql<Array<{ count: number }>>`
    select (select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle')::int
      + (select count(*) from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and l.pid <> pg_backend_pid())::int as count`
  return row?.count as number
}

t.test('a full disk, no memory, a shutdown or a timeout at any statement of an upload: 503, and the retry succeeds (C14, C15, C5, P6)', { timeout: 120_000 }, async t => {
  const { faults, phone, sql } = await failingApp(t)
  const make = (n: number) => body(put(3 * n, 'users', uuid(n), john()), put(3 * n + 1, 'posts', uuid(n), { title: 't', author_id: uuid(n) }), del(3 * n + 2, 'posts', uuid(n - 1), 1))
  await phone.uploadText(make(1))
  faults.seen = 0
  await phone.uploadText(make(2))
  const total = faults.seen
  let n = 2
  for (let at = 1; at <= total; at++) {
    for (const sqlstate of ['53100', '53200', '57014', '57P01', '58030', '25P04']) {
      n++
      Object.assign(faults, { sqlstate, at, times: 1, seen: 0 })
      assertUnavailable(t, await phone.uploadText(make(n)), `${sqlstate} at statement ${at} of ${total}`)
      faults.at = Infinity
      t.equal((await sql`select from business.users where id = ${uuid(n)}`).length, 0, 'no trace')
      t.equal((await phone.uploadText(make(n))).statusCode, 200, 'the retry')
    }
  }
  t.equal((await log(sql, 'alice')).length, 3 * n - 1)
  t.equal(await held(sql), 0, 'nothing is held')
  await assertSound(t, sql, 'alice')
})

t.test('a statement of a read that fails is an error, never "nothing new" (C20)', async t => {
  const { faults, phone, user } = await failingApp(t)
  await user('alice', 'pad').upload([put(1, 'users', uuid(1), john())])
  const reads: Array<[string, () => Promise<Reply>]> = [
    ['download', async () => await phone.request({ url: '/download' })],
    ['download of a new user', async () => await phone.request({ url: '/download', headers: { 'x-user': `new ${faults.at} ${faults.sqlstate}` } })],
    ['handshake', async () => await phone.uploadText('{}')],
    ['status', async () => await phone.request({ url: '/status' })]
  ]
  for (const [what, request] of reads) {
    Object.assign(faults, { at: Infinity, seen: 0, sqlstate: '' })
    t.equal((await request()).statusCode, 200, what)
    const total = faults.seen
    for (const [sqlstate, expected] of [['57014', '503 unavailable'], ['58030', '503 unavailable'], ['XX001', '500 internal_error'], ['42P01', '500 internal_error']] as const) {
      for (let at = 1; at <= total; at++) {
        Object.assign(faults, { sqlstate, at, times: 1, seen: 0 })
        const { statusCode, body } = await request()
        t.equal(`${statusCode} ${JSON.parse(body).error as string}`, expected, `${what}: ${sqlstate} at statement ${at} of ${total}`)
      }
    }
    faults.at = Infinity
  }
  t.equal((await phone.download()).changes.length, 1)
})

t.test('while the app\'s own queries have the whole pool, devices hear 503 in time, and are served afterwards (C12, P18)', async t => {
  const { sql, url } = await buildApp(t)
  const client = postgres(url, { max: 2, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const database = new Kysely<any>({ dialect: new PostgresJSDialect(client, { acquireTimeoutMs: 300 }) })
  const app = await startApp(t, { database })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  for (const kind of ['queries', 'transactions'] as const) {
    const [gate] = await Promise.all([sql.reserve()])
    await gate`select pg_advisory_lock(1)`
    const long = [1, 2].map(async () => kind === 'queries'
      ? await client`select pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1)`
      : await client.begin(async trx => await trx`select pg_advisory_xact_lock_shared(1)`))
    await waitFor('the pool is busy', async () => (await sql`select from pg_locks where locktype = 'advisory' and not granted`).length === 2)
    const started = performance.now()
    const replies = await Promise.all([
      phone.uploadText(body(put(2, 'users', uuid(2), john()))), phone.uploadText('{}'), phone.request({ url: '/download' }), phone.request({ url: '/status' }),
      ...Array.from({ length: 20 }, async (_, i) => await caller(app, `user ${i}`).uploadText(body(put(2, 'users', uuid(20 + i), john()))))
    ])
    for (const reply of replies) assertUnavailable(t, reply, kind)
    t.ok(performance.now() - started < 10_000, 'in time')
    await gate`select pg_advisory_unlock(1)`
    gate.release()
    await Promise.all(long)
    t.equal((await waitFor('the pool is back', async () => {
      const reply = await phone.uploadText(body(put(2, 'users', uuid(2), john())))
      return reply.statusCode === 200 ? reply : null
    })).statusCode, 200)
  }
  await waitFor('what nobody waits for any more has ended', async () => await held(sql) === 0)
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 2 I v1'])
  t.equal((await sql`select from sync.scope where name like 'user %'`).length, 0, 'who heard 503 left nothing')
  t.equal((await client`select 1 as n`)[0]?.['n'], 1, 'the app\'s own queries go on')
  await assertSound(t, sql, 'alice')
})

t.test('an answer that comes too late: 503, and the connection and the stream are free again (C24, C12)', async t => {
  const { sql, url } = await buildApp(t, {
    schemaSql: `create function slow() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(2); return new; end $$;
      create trigger slow before insert on business.files for each row execute function slow()`
  })
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: new Kysely<any>({ dialect: new PostgresJSDialect(client, { answerTimeoutMs: 400 }) }) })
  const phone = caller(app, 'alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  const gate = await sql.reserve()
  await gate`select pg_advisory_lock(2)`
  assertUnavailable(t, await phone.uploadText(body(put(2, 'files', uuid(2), { name: 'f' }))), 'a trigger that waits')
  await gate`select pg_advisory_unlock(2)`
  gate.release()
  const reply = await waitFor('the one connection comes back', async () => {
    const reply = await phone.uploadText(body(put(2, 'files', uuid(2), { name: 'f' })))
    return reply.statusCode === 200 ? JSON.parse(reply.body) : null
  })
  t.strictSame(verdicts(reply), ['2 applied v1'])
  t.equal(await held(sql), 0)
  await assertSound(t, sql, 'alice')
})

t.test('a trigger that never ends is cut by the statement timeout: 503, rolled back, the stream is free (C24, C15)', async t => {
  const { default: oversync } = await t.mockImport('../../src/index.js', { '../../src/limits.js': { ...limits, STATEMENT_TIMEOUT_MS: 300 } }) as typeof import('../../src/index.js')
  const { sql, url } = await buildApp(t, {
    schemaSql: `create function endless() returns trigger language plpgsql as $$ begin if new.name = 'Endless' then perform pg_sleep(600); end if; return new; end $$;
      create trigger endless before insert or update on business.users for each row execute function endless()`
  })
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(oversync, { database: url, tables: ['business.users'], getIdentity: () => ({ userId: 'alice', deviceId: 'phone' }) })
  const phone = caller(app, 'alice')
  assertUnavailable(t, await phone.uploadText(body(put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john('Endless')))), 'cut')
  t.strictSame(await log(sql, 'alice'), [])
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())])), ['1 applied v1', '2 applied v1'])
  t.equal(await held(sql), 0)
})

t.test('a transaction that has been open for long, as a vacuum or a report would, changes neither order nor delivery (C19)', async t => {
  const { user, sql } = await buildApp(t)
  await user('alice').upload([put(1, 'users', uuid(1), john())])
  const old = await sql.reserve()
  await old`begin isolation level repeatable read`
  await old`select txid_current(), count(*) from sync.change_log`
  for (let n = 2; n <= 40; n++) t.strictSame(verdicts(await user('alice').upload([put(n, 'users', uuid(1), john(`N${n}`), n - 1)])), [`${n} applied v${n}`])
  let after = 0
  const seen: number[] = []
  for (let more = true; more;) {
    const page = await user('alice', 'pad').download({ after, limit: 7 })
    seen.push(...page.changes.map(({ server_id: position }) => position))
    ;({ next_after: after, has_more: more } = page)
  }
  t.strictSame(seen, Array.from({ length: 40 }, (_, i) => i + 1))
  t.equal((await old`select count(*)::int from sync.change_log`)[0]?.['count'], 1, 'the old one still sees its own moment')
  await old`commit`
  old.release()
  await assertSound(t, sql, 'alice')
})

t.test('row security and rights that are taken away refuse their changes alone, with a reason, and come back with the right (C17, P18)', async t => {
  const { sql, url } = await buildApp(t)
  const role = `limited_${process.pid}_${Date.now()}`
  await sql.unsafe(`create role ${role} login password 'x'; grant usage on schema business, sync to ${role}; grant select, insert, update, delete on all tables in schema business, sync to ${role};
    alter table business.users enable row level security; create policy partly on business.users for all to ${role} using (name <> 'Secret') with check (name <> 'Forbidden')`)
  t.teardown(async () => { await sql.unsafe(`drop owned by ${role}; drop role ${role}`) })
  const limited = new URL(url)
  limited.username = role
  limited.password = 'x'
  const phone = caller(await startApp(t, { database: limited.href }), 'alice')
  const first = await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john('Forbidden')), put(3, 'files', uuid(3), { name: 'f' })])
  t.strictSame(verdicts(first), ['1 applied v1', '2 invalid constraint_violation', '3 applied v1'])
  t.match(first.statuses[1], { invalid: { details: { sqlstate: '42501' } } })
  t.notMatch(first.text, /policy|row-level|role/i, 'nothing of the policy shows (H21)')
  await sql`update business.users set name = 'Secret' where id = ${uuid(1)}`
  const hidden = await phone.upload([put(4, 'users', uuid(1), john('Seen'), 1), put(5, 'files', uuid(4), { name: 'g' })])
  t.match(verdicts(hidden), [/^4 invalid (not_owner|constraint_violation)$/, '5 applied v1'], 'a row that the policy hides is not there to be changed')
  await sql.unsafe(`revoke insert on business.files from ${role}`)
  t.strictSame(verdicts(await phone.upload([put(6, 'files', uuid(5), { name: 'h' }), put(7, 'typed_rows', uuid(1), { note: 'n' })])), ['6 invalid constraint_violation', '7 applied v1'])
  await sql.unsafe(`grant insert on business.files to ${role}`)
  await waitFor('the right is noticed', async () => verdicts(await phone.upload([put(6, 'files', uuid(5), { name: 'h' })]))[0] === '6 applied v1')
  for (const op of ['INSERT', 'UPDATE']) {
    const secret = { ...put(8, 'users', uuid(6), john('Secret')), op }
    t.strictSame(verdicts(await phone.upload([secret])), ['8 invalid constraint_violation'], `${op} of a new row that its author could not see`)
    t.strictSame(verdicts(await phone.upload([secret, put(9, 'users', uuid(7), john('Forbidden'))])), ['8 invalid constraint_violation', '9 invalid constraint_violation'], 'whatever is beside it')
  }
  await sql.unsafe(`revoke select on business.users from ${role}`)
  t.match(verdicts(await phone.upload([put(10, 'users', uuid(8), john())])), ['10 invalid constraint_violation'], 'without the right to read, as ever')
  await assertSound(t, sql, 'alice')
})

t.test('a database that was restored from a backup and got a new epoch: every device is told, even those whose cursor looks right (C8, C9, L2)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([1, 2, 3].map(n => put(n, 'users', uuid(n), john())))
  const epoch = await phone.epoch()
  // What a restore of an older backup leaves: the stream ends earlier, and the operator renews the epoch.
  await sql.unsafe(`delete from sync.change_log where server_id > 1; delete from sync.row_state where server_id > 1; delete from business.users where id <> '${uuid(1)}';
    update sync.stream set head = 1; update sync.source set max_change_id = 1`)
  const ahead = await phone.request({ url: `/download?after=3&epoch=${epoch}` })
  t.equal(`${ahead.statusCode} ${JSON.parse(ahead.body).error as string}`, '409 history_changed', 'a cursor beyond the head is noticed even without it')
  await sql`update sync.meta set epoch = 'restored'`
  for (const reply of [await phone.request({ url: `/download?after=1&epoch=${epoch}` }), await phone.uploadText(JSON.stringify({ epoch, changes: [put(4, 'users', uuid(4), john())] }))]) {
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '409 history_changed')
  }
  t.equal((await log(sql, 'alice')).length, 1, 'nothing was mixed in')
  const again = user('alice')
  t.strictSame(verdicts(await again.upload([put(2, 'users', uuid(2), john()), put(3, 'users', uuid(3), john())])), ['2 applied v1', '3 applied v1'], 'what the server lost goes up again')
  await assertSound(t, sql, 'alice')
})

t.test('clocks that differ and step back change the times that are shown, and nothing else (E1, E2)', async t => {
  const { user, sql } = await buildApp(t)
  const steps = ['0', '10 years', '-10 years', '5 minutes', '-1 day']
  for (const [i, step] of steps.entries()) {
    await sql.unsafe(`alter table sync.change_log alter ts set default now() + interval '${step}'; alter table sync.source alter last_seen set default now() + interval '${step}'`)
    t.strictSame(verdicts(await user('alice').upload([put(i + 1, 'users', uuid(1), { ...john(`N${i}`), updated_at: (i % 2 === 0 ? 1 : 4_000_000_000) }, i)])), [`${i + 1} applied v${i + 1}`])
  }
  const { changes } = await user('alice', 'pad').download()
  t.strictSame(changes.map(change => `${change.server_id} v${change.server_version}`), ['1 v1', '2 v2', '3 v3', '4 v4', '5 v5'])
  t.not(changes.map(({ ts }) => ts).sort().join(), changes.map(({ ts }) => ts).join(), 'their times are in another order')
  await assertSound(t, sql, 'alice')
})
