// Statements that go together, on one connection: answers, failures, and what is left of the connection.
import { CompiledQuery, Kysely, sql as kyselySql, type Transaction } from 'kysely'
import postgres, { type Sql } from 'postgres'
import t, { type Test } from 'tap'
import { sendTogether } from '../../src/storage/pipeline.js'
import type { DialectOptions } from '../../src/storage/postgres-js-connection.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { withTraits } from '../../src/storage/statement-traits.js'
import { freshDb } from '../helpers/db.js'
import { waitFor } from '../helpers/wait-for.js'
import { OneByOne } from '../helpers/one-by-one.js'

const insert = (n: number): CompiledQuery<{ n: number }> => CompiledQuery.raw('insert into notes values ($1::int) returning n', [n]) as CompiledQuery<{ n: number }>
const select = (text: string): CompiledQuery => CompiledQuery.raw(text)

interface World {
  sql: Sql
  /** A pool of one connection. */
  db: Kysely<any>
  notes: () => Promise<number[]>
  inTransaction: <T>(work: (trx: Transaction<any>) => Promise<T>) => Promise<T>
}

async function build (t: Test, options: Partial<DialectOptions> = {}, instance: object = {}): Promise<World> {
  const { url, sql } = await freshDb(t)
  await sql`create table notes (n int not null primary key deferrable initially deferred, check (n < 100))`
  const client = postgres(url, { max: 1, onnotice: () => {}, ...instance })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const db = new Kysely<any>({ dialect: new PostgresJSDialect(client, options) })
  return {
    sql,
    db,
    notes: async () => (await sql`select n from notes order by n`).map(({ n }) => n as number),
    inTransaction: async work => await db.transaction().execute(work)
  }
}

t.test('answers come in the order of the statements, and each statement sees those before it', async t => {
  const { inTransaction, notes } = await build(t)
  const answers = await inTransaction(async trx => await sendTogether(trx, [insert(1), insert(2), select('select count(*)::int as count from notes')]))
  t.strictSame(answers.map(({ rows }) => rows), [[{ n: 1 }], [{ n: 2 }], [{ count: 2 }]])
  t.strictSame(await notes(), [1, 2])
})

t.test('of statements that go together the first that fails tells, whether it is large or small, and nothing stays', async t => {
  const { inTransaction, notes, db } = await build(t)
  for (const padding of ['', `/*${'x'.repeat(1_000_000)}*/`]) {
    for (const commits of [false, true]) {
      const failing = inTransaction(async trx => await sendTogether(trx, [insert(1), select(`insert into notes values (200) ${padding}`), select('select 1/0'), insert(3)], { commits }))
      await t.rejects(failing, { code: '23514' }, `commits ${String(commits)}`)
      t.strictSame((await kyselySql`select 1 as n`.execute(db)).rows, [{ n: 1 }], 'the connection goes on')
    }
  }
  t.strictSame(await notes(), [])
})

t.test('a failure among statements that go together can be undone to the savepoint that came with them', async t => {
  const { inTransaction, notes } = await build(t)
  await inTransaction(async trx => {
    await sendTogether(trx, [insert(1)])
    await t.rejects(sendTogether(trx, [select('savepoint here'), insert(2), insert(200), insert(3)]), { code: '23514' })
    await kyselySql`rollback to savepoint here`.execute(trx)
    await sendTogether(trx, [insert(4)])
  })
  t.strictSame(await notes(), [1, 4])
})

t.test('what waited behind a failure is not sent behind the rollback to the savepoint, whatever kept it back', async t => {
  const large = `/*${'x'.repeat(16_000_000)}*/`
  for (const [what, instance, padding] of [['one at a time', { max_pipeline: 1 }, ''], ['a large statement', {}, large]] as const) {
    const { inTransaction, notes } = await build(t, {}, instance)
    await inTransaction(async trx => {
      await sendTogether(trx, [insert(1)])
      await t.rejects(sendTogether(trx, [select('savepoint here'), select(`insert into notes values (200) ${padding}`), ...[2, 3, 4, 5, 6].map(insert)]), { code: '23514' }, what)
      await kyselySql`rollback to savepoint here`.execute(trx)
      // Each answer would let another of them out.
      for (let i = 0; i < 6; i++) await kyselySql`select 1`.execute(trx)
    })
    t.strictSame(await notes(), [1], what)
  }
})

t.test('a connection that breaks in the transaction that it was opened for is replaced, also where there are several hosts', async t => {
  const { url, sql } = await freshDb(t)
  const { hostname, port, username, password, pathname } = new URL(url)
  for (const hosts of [1, 2]) {
    const client = postgres({ host: Array<string>(hosts).fill(hostname), port: Array<number>(hosts).fill(Number(port)), user: username, pass: decodeURIComponent(password), database: pathname.slice(1), max: 1, onnotice: () => {} } as object)
    t.teardown(async () => { await client.end({ timeout: 1 }) })
    const db = new Kysely<any>({ dialect: new PostgresJSDialect(client, { acquireTimeoutMs: 5_000, answerTimeoutMs: 10_000 }) })
    const outcome = db.transaction().execute(async trx => await sendTogether(trx, [select('select pg_sleep(600)'), select('select 2')])).then(() => 'done', (error: { code: string }) => error.code)
    await waitFor('the transaction is under way', async () => (await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'select pg_sleep(600)%' and state = 'active'`).length > 0)
    t.match(await outcome, /^(57P01|CONNECTION_.*)$/, `${hosts} hosts`)
    // Whoever comes before the socket is closed may still hear of it.
    await waitFor('the pool is whole', async () => (await kyselySql`select 1 as n`.execute(db)).rows.length === 1)
    t.strictSame((await db.transaction().execute(async trx => await kyselySql`select 2 as n`.execute(trx))).rows, [{ n: 2 }], `a transaction, ${hosts} hosts`)
  }
})

t.test('a transaction on an instance whose connections the app has filled waits for its turn, and leaves none open', async t => {
  const { url, sql } = await freshDb(t)
  await sql`create table notes (n int)`
  for (const max of [1, 2]) {
    const client = postgres(url, { max, onnotice: () => {} })
    t.teardown(async () => { await client.end({ timeout: 1 }) })
    const db = new Kysely<any>({ dialect: new PostgresJSDialect(client) })
    // As many as postgres.js puts on one connection, one more or less, and the transactions behind them.
    for (const depth of [99, 100, 101, 102]) {
      await Promise.all(Array.from({ length: max }, async () => await client`select pg_sleep(0.01)`))
      const others = Array.from({ length: max * depth }, async (_, i) => await client`select ${i}::int as n`)
      const transactions = [1, 2].map(async () => await db.transaction().execute(async trx => (await kyselySql<{ n: number }>`insert into notes values (1) returning n`.execute(trx)).rows.length))
      t.strictSame(await Promise.all(transactions), [1, 1], `${depth} on each of ${max}`)
      await Promise.all(others)
      await client`insert into notes values (2)`
    }
    const open = async () => (await sql`select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`).length
    t.equal(await open(), 0, `of ${max}`)
  }
  t.equal((await sql`select 1 from notes where n = 2`).length, 8, 'what the app wrote beside them is there')
})

t.test('COMMIT that goes along ends the transaction: what is sent behind it is refused, and the connection is free', async t => {
  const { inTransaction, notes, db } = await build(t)
  await inTransaction(async trx => {
    const [{ rows }] = await sendTogether(trx, [insert(1)], { commits: true })
    t.strictSame(rows, [{ n: 1 }])
    t.strictSame(await notes(), [1], 'others see it')
    await t.rejects(kyselySql`insert into notes values (2)`.execute(trx), { message: 'The transaction is over.' })
    await t.rejects(sendTogether(trx, [insert(2)]), { message: 'The transaction is over.' })
  })
  await inTransaction(async trx => { await sendTogether(trx, [insert(3)], { commits: true }) })
  await inTransaction(async trx => { await kyselySql`insert into notes values (4)`.execute(trx) })
  t.strictSame((await kyselySql`select 1 as n`.execute(db)).rows, [{ n: 1 }])
  t.strictSame(await notes(), [1, 3, 4])
})

t.test('what COMMIT itself says is the failure of those that it went with, and nothing stays', async t => {
  const { inTransaction, notes } = await build(t)
  await t.rejects(inTransaction(async trx => { await sendTogether(trx, [insert(1), insert(1)], { commits: true }) }), { code: '23505' }, 'a deferred constraint')
  t.strictSame(await notes(), [])
  await inTransaction(async trx => { await sendTogether(trx, [insert(1)], { commits: true }) })
  t.strictSame(await notes(), [1])
})

t.test('a connection that breaks among statements that go together fails all of them at once, and the next transaction has another', async t => {
  const { inTransaction, notes, sql } = await build(t)
  for (const commits of [false, true]) {
    const broken = inTransaction(async trx => await sendTogether(trx, [insert(1), select('select pg_terminate_backend(pg_backend_pid())'), insert(2)], { commits }))
    await t.rejects(broken, /terminating connection|CONNECTION_CLOSED/, `commits ${String(commits)}`)
    await waitFor('a connection', async () => await inTransaction(async trx => (await sendTogether(trx, [select('select 1')])).length).catch(() => null))
  }
  t.strictSame(await notes(), [])
  t.equal((await sql`select from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()`).length, 0)
})

t.test('statements that go together and are not answered in time leave the connection free, and no transaction open', async t => {
  const { inTransaction, notes, sql } = await build(t, { answerTimeoutMs: 300 })
  const gate = await sql.reserve()
  await gate`select pg_advisory_lock(1)`
  await t.rejects(inTransaction(async trx => await sendTogether(trx, [insert(1), select('select pg_advisory_xact_lock(1)'), insert(2)])), { code: 'ETIMEDOUT' })
  await gate`select pg_advisory_unlock(1)`
  gate.release()
  await waitFor('the connection', async () => await inTransaction(async trx => (await sendTogether(trx, [insert(3)], { commits: true })).length).catch(() => null))
  t.strictSame(await notes(), [3])
})

t.test('a named statement that its session has forgotten is not run again behind the COMMIT that went along', async t => {
  const { inTransaction, notes } = await build(t, { preparedStatements: true })
  const named = (n: number): CompiledQuery => withTraits(insert(n), { named: true })
  await inTransaction(async trx => { await sendTogether(trx, [named(1)], { commits: true }) })
  await t.rejects(inTransaction(async trx => {
    await sendTogether(trx, [insert(2), select('deallocate all')])
    await sendTogether(trx, [named(3)], { commits: true })
  }), { code: '26000' })
  t.strictSame(await notes(), [1], 'all of the transaction or nothing')
  await inTransaction(async trx => { await sendTogether(trx, [named(4)], { commits: true }) })
  t.strictSame(await notes(), [1, 4], 'the next transaction gives it a name anew')
})

t.test('what waits behind statements whose connection breaks fails at once, and touches no transaction that has the connection next', async t => {
  const { inTransaction, notes, sql } = await build(t, { answerTimeoutMs: 5_000 })
  const gate = await sql.reserve()
  await gate`select pg_advisory_lock(1)`
  let waiting: Promise<unknown> | undefined
  const broken = inTransaction(async trx => {
    // The second fails; the last is still on its way when that is known.
    const together = sendTogether(trx, [select('savepoint here'), select('select 1/0'), select('rollback to savepoint here'), select('select pg_advisory_lock(1)')])
    await t.rejects(together, { code: '22012' })
    waiting = kyselySql`select 1`.execute(trx)
    waiting.catch(() => {})
    await waitFor('the last statement', async () => (await sql`select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()`).length)
    await waiting
  })
  const outcome = broken.then(() => null, (error: unknown) => error)
  await waitFor('a connection', async () => await inTransaction(async trx => {
    await kyselySql`insert into notes values (1)`.execute(trx)
    t.match(await outcome, { code: 'CONNECTION_CLOSED' })
    await kyselySql`insert into notes values (2)`.execute(trx)
    return true
  }).catch(() => null))
  gate.release()
  t.strictSame(await notes(), [1, 2])
})

t.test('a dialect that cannot send statements together runs them one by one and commits by itself', async t => {
  const { url, sql } = await freshDb(t)
  await sql`create table notes (n int)`
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const dialect = new OneByOne(client)
  const db = new Kysely<any>({ dialect })
  const answers = await db.transaction().execute(async trx => await sendTogether(trx, [insert(1), insert(2)], { commits: true }))
  t.strictSame(answers.map(({ rows }) => rows), [[{ n: 1 }], [{ n: 2 }]])
  t.strictSame(dialect.seen, [insert(1).sql, insert(2).sql, 'set constraints all immediate', 'commit'])
  t.equal((await sql`select from notes`).length, 2)
  dialect.seen.length = 0
  await db.transaction().execute(async trx => await sendTogether(trx, [insert(3), insert(4)], { commits: true, goesOn: ([first]) => first === undefined }))
  t.strictSame(dialect.seen, [insert(3).sql, 'commit'], 'and no more of them than are wanted')
})
