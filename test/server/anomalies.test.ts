import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { assertSound, buildApp, caller, john, log, put, startApp, uuid, verdicts, type World } from '../helpers/app.js'
import { waitFor } from '../helpers/wait-for.js'

// The anomalies of Hermitage (https://github.com/ept/hermitage), with uploads, downloads and the app's own SQL as the transactions.

const X = uuid(1)
const Y = uuid(2)

/** Two servers on one database, and alice's rows X and Y in version 1. */
async function world (t: Test): Promise<World & { there: World['user'] }> {
  const world = await buildApp(t)
  const second = await startApp(t, { database: world.url })
  await world.user('alice', 'maker').upload([put(1, 'users', X, john('X1')), put(2, 'users', Y, john('Y1'))])
  return { ...world, there: (userId, deviceId, options) => caller(second, userId, deviceId, options) }
}

/** The app's own transaction, open until told otherwise. */
async function begin (t: Test, sql: Sql) {
  const trx = await sql.reserve()
  await trx`begin`
  let open = true
  const end = async (how: 'commit' | 'rollback') => {
    if (!open) return
    open = false
    await trx.unsafe(how)
    trx.release()
  }
  t.teardown(async () => { await end('rollback') })
  return { trx, end }
}

const isWaiting = async (sql: Sql) => await waitFor('somebody waits', async () =>
  (await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).length > 0)

const names = async (sql: Sql) => (await sql<Array<{ name: string }>>`select name from business.users order by id`).map(({ name }) => name)
const both = (id: number, name: string, base: number) => [put(id, 'users', X, john(`X${name}`), base), put(id + 1, 'users', Y, john(`Y${name}`), base)]
const body = (changes: object[]) => JSON.stringify({ changes })

t.test('G0: writes of an upload and of the app\'s own transaction do not mix (A25)', async t => {
  const { user, sql } = await world(t)
  const { trx, end } = await begin(t, sql)
  await trx`update business.users set name = 'Xapp' where id = ${X}`
  const upload = user('alice').uploadText(body(both(1, '2', 1)))
  await isWaiting(sql)
  await trx`update business.users set name = 'Yapp' where id = ${Y}`
  await end('commit')
  const { statusCode } = await upload
  t.strictSame(await names(sql), statusCode === 200 ? ['X2', 'Y2'] : ['Xapp', 'Yapp'], String(statusCode))
})

t.test('G0: writes of two uploads do not mix, whatever their order (A25)', async t => {
  const { user, there, sql } = await world(t)
  for (let round = 1; round <= 10; round++) {
    const [a, b] = [both(2 * round, `a${round}`, round), both(2 * round, `b${round}`, round).reverse()]
    const replies = await Promise.all([user('alice', 'a').upload(a), there('alice', 'b').upload(b)])
    t.equal(replies.filter(({ statuses }) => statuses.every(({ status }) => status === 'applied')).length, 1, 'one has both rows')
    t.equal(replies.filter(({ statuses }) => statuses.every(({ status }) => status === 'conflict')).length, 1, 'the other none')
    const [x, y] = await names(sql)
    t.equal(x?.slice(1), y?.slice(1))
  }
  await assertSound(t, sql, 'alice')
})

t.test('G1a: what an upload wrote and took back is seen by nobody (A25)', async t => {
  const { user, there, sql } = await world(t)
  const { trx, end } = await begin(t, sql)
  await trx`select from business.users where id = ${Y} for update`
  // Writes X, waits for Y, and gives up.
  const aborted = user('alice').uploadText(body(both(1, 'aborted', 1)))
  await isWaiting(sql)
  const reader = there('alice', 'reader')
  for (let i = 0; i < 20; i++) t.equal((await reader.download()).changes.length, 2)
  t.strictSame(await names(sql), ['X1', 'Y1'])
  t.equal((await aborted).statusCode, 503)
  await end('rollback')
  const conflict = await there('alice', 'other').upload([put(1, 'users', X, john('Stale'), 7)])
  t.match(conflict.statuses[0], { server_row: { server_version: 1, payload: { name: 'X1' } } }, 'a conflict shows what is committed')
  t.equal((await log(sql, 'alice')).length, 2)
})

t.test('G1a: what the app\'s transaction wrote and took back is in no stream (A25)', async t => {
  const { user, sql } = await world(t)
  const { trx, end } = await begin(t, sql)
  await trx`update business.users set name = 'Xnever' where id = ${X}`
  const upload = user('alice').uploadText(body([put(1, 'users', X, { email: 'new@example.com' }, 1)]))
  await isWaiting(sql)
  await end('rollback')
  t.strictSame(verdicts(JSON.parse((await upload).body)).map(line => line.slice(0, 12)), ['1 applied v2'])
  const { text } = await user('alice', 'reader').download()
  t.notMatch(text, /Xnever/)
  t.strictSame(await names(sql), ['X1', 'Y1'])
})

t.test('G1b: the steps of one batch are seen all at once (A25)', async t => {
  const { user, there, sql } = await world(t)
  let done = false
  const reads: number[] = []
  const reading = (async () => {
    for (let last = false; !last;) {
      last = done
      const { changes } = await there('alice', 'reader').download({ limit: 1000 })
      reads.push(changes.filter(({ pk }) => pk === X).length)
    }
  })()
  for (let n = 0; n < 15; n++) await user('alice').upload([0, 1, 2, 3].map(i => put(4 * n + i + 1, 'users', X, john(`X${n}.${i}`), 1 + 4 * n + i)))
  done = true
  await reading
  t.strictSame(reads.filter(count => count % 4 !== 1), [], 'never in the middle')
  t.equal(reads.at(-1), 61)
  t.strictSame(reads, [...reads].sort((a, b) => a - b), 'never back')
  await assertSound(t, sql, 'alice')
})

t.test('G1c: of two uploads, one sees the other\'s write and not the reverse (A25)', async t => {
  const { user, there, sql } = await world(t)
  for (let round = 1; round <= 15; round++) {
    // Each writes one row and asks for the other by a base that is never right, so that it is shown.
    const [a, b] = await Promise.all([
      user('alice', 'a').upload([put(2 * round, 'users', X, john(`X${round}`), round), put(2 * round + 1, 'users', Y, john('Ask'), 999)]),
      there('alice', 'b').upload([put(2 * round, 'users', Y, john(`Y${round}`), round), put(2 * round + 1, 'users', X, john('Ask'), 999)])
    ])
    const sawOf = ({ statuses }: typeof a) => statuses[1]?.status === 'conflict' ? statuses[1].server_row.server_version : 0
    t.strictSame([a.statuses[0]?.status, b.statuses[0]?.status], ['applied', 'applied'])
    t.strictSame([sawOf(a), sawOf(b)].sort((one, other) => one - other), [round, round + 1], `round ${round}: one saw the other`)
  }
  await assertSound(t, sql, 'alice')
})

t.test('OTV, G-single, PMP: a window shows one moment, however its pages and the uploads interleave (A25)', async t => {
  const { user, there, sql } = await world(t)
  await user('alice').upload(both(1, '2', 1))
  const reader = there('alice', 'reader')
  const first = await reader.download({ limit: 1, after: 2 })
  t.equal(first.window_until, 4)
  await user('alice').upload(both(3, '3', 2))
  await user('alice').upload([put(5, 'users', uuid(3), john('Phantom'))])
  const read = async () => {
    const seen: string[] = []
    for (let after = 2, more = true; more;) {
      const page = await reader.download({ limit: 1, after, until: first.window_until })
      seen.push(...page.changes.map(({ pk, payload }) => `${pk === X ? 'X' : pk === Y ? 'Y' : 'other'} ${String(payload?.['name'])}`))
      ;({ next_after: after, has_more: more } = page)
    }
    return seen
  }
  t.strictSame(await read(), ['X X2', 'Y Y2'], 'both rows of the one upload, none of the later ones')
  t.strictSame(await read(), ['X X2', 'Y Y2'], 'and again')
  t.equal((await reader.download({ after: 4 })).changes.length, 3, 'the rest is in the next window')
  await assertSound(t, sql, 'alice')
})

t.test('P4: no update is lost between devices; the app\'s own SQL, which knows no versions, may overwrite one (A25)', async t => {
  const { user, there, sql } = await world(t)
  const replies = await Promise.all([user('alice', 'a').upload([put(1, 'users', X, john('Xa'), 1)]), there('alice', 'b').upload([put(1, 'users', X, john('Xb'), 1)])])
  t.strictSame(replies.map(({ statuses }) => statuses[0]?.status).sort(), ['applied', 'conflict'])
  // Documented: a select and an update of the app, with an upload between them.
  const { trx, end } = await begin(t, sql)
  await trx`select name from business.users where id = ${X}`
  t.strictSame(verdicts(await user('alice', 'a').upload([put(2, 'users', X, john('Xdevice'), 2)])), ['2 applied v3'])
  await trx`update business.users set name = 'Xapp' where id = ${X}`
  await end('commit')
  t.equal((await names(sql))[0], 'Xapp', 'the table has what the app wrote last')
  await assertSound(t, sql, 'alice')
})

t.test('G2-item: a change is judged by the version of its own row, so that write skew over two rows is possible, as documented (A25)', async t => {
  const { user, there, sql } = await world(t)
  // Both saw X1 and Y1; each changes one of them because of the other.
  const replies = await Promise.all([user('alice', 'a').upload([put(1, 'users', X, john('Xskew'), 1)]), there('alice', 'b').upload([put(1, 'users', Y, john('Yskew'), 1)])])
  t.strictSame(replies.map(({ statuses }) => statuses[0]?.status), ['applied', 'applied'])
  t.strictSame(await names(sql), ['Xskew', 'Yskew'])
  await assertSound(t, sql, 'alice')
})

t.test('A12: uploads and transactions of the app that want the same rows in other orders all end, the app\'s never as the victim', { timeout: 60_000 }, async t => {
  const { user, sql } = await world(t)
  const app = (async () => {
    for (let i = 0; i < 30; i++) {
      const order = i % 2 === 0 ? [X, Y] : [Y, X]
      await sql.begin(async trx => { for (const pk of order) await trx`update business.users set email = ${`app${i}`} where id = ${pk}` })
    }
  })()
  let version = 1
  for (let n = 1; n <= 30; n++) {
    const changes = both(2 * n, `${n}`, version)
    if (n % 2 === 0) changes.reverse()
    const reply = await waitFor('the upload goes through', async () => {
      const reply = await user('alice').uploadText(body(changes))
      if (reply.statusCode !== 200) t.equal(reply.statusCode, 503)
      return reply.statusCode === 200 ? JSON.parse(reply.body) : null
    })
    version++
    t.ok(verdicts(reply).every(line => line.includes(`applied v${version}`)), `upload ${n}`)
  }
  await t.resolves(app, 'no transaction of the app was chosen')
  await assertSound(t, sql, 'alice')
})
