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
import { watchStatements } from '../helpers/every-statement.js'

const insert = (n: number): CompiledQuery<{ n: number }> => CompiledQuery.raw('insert into notes values ($1::int) returning n', [n]) as CompiledQuery<{ n: number }>
const select = (text: string): CompiledQuery => CompiledQuery.raw(text)

interface World {
  sql: Sql
  /** A pool of one connection. */
  db: Kysely<any>
  notes: () => Promise<number[]>
  inTransaction: <T>(work: (trx: Transaction<any>) => Promise<T>) => Promise<T>
}

async function build (t: Test, options: Partial<DialectOptions> = {}): Promise<World> {
  const { url, sql } = await freshDb(t)
  await sql`create table notes (n int not null primary key deferrable initially deferred, check (n < 100))`
  const client = postgres(url, { max: 1, onnotice: () => {} })
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
  const seen: string[] = []
  class OneByOne extends PostgresJSDialect {
    override createDriver (): ReturnType<PostgresJSDialect['createDriver']> {
      const driver = super.createDriver()
      watchStatements(driver, { before: ({ sql }) => { seen.push(sql) }, isClose: () => true })
      const commit = driver.commitTransaction.bind(driver)
      driver.commitTransaction = async connection => {
        seen.push('commit')
        await commit(connection)
      }
      return driver
    }
  }
  const db = new Kysely<any>({ dialect: new OneByOne(client) })
  const answers = await db.transaction().execute(async trx => await sendTogether(trx, [insert(1), insert(2)], { commits: true }))
  t.strictSame(answers.map(({ rows }) => rows), [[{ n: 1 }], [{ n: 2 }]])
  t.strictSame(seen, [insert(1).sql, insert(2).sql, 'commit'])
  t.equal((await sql`select from notes`).length, 2)
})
