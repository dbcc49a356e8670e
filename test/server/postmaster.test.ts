import postgres from 'postgres'
import t from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { assertSound, caller, john, log, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { ownPostgres } from '../helpers/own-postgres.js'
import { waitFor } from '../helpers/wait-for.js'

t.test('PostgreSQL dies by SIGKILL while devices upload, and comes back: all that was acknowledged is there, once (C4, P1, P2, P6, P18)', { timeout: 120_000 }, async t => {
  const { url, crash } = await ownPostgres(t)
  const sql = postgres(url, { max: 2, backoff: () => 0.05, onnotice: () => {} })
  t.teardown(async () => { await sql.end({ timeout: 1 }) })
  await createBusinessSchema(sql)
  // Set so that only what the plugin raises for itself survives a crash (C7).
  await sql.unsafe('alter database postgres set synchronous_commit = off')
  const app = await startApp(t, { database: url })
  const stop = new AbortController()
  const acknowledged: string[][] = [[], [], []]
  const troubles = new Set<number>()
  const devices = acknowledged.map(async (done, d) => {
    const phone = caller(app, d === 2 ? 'bob' : 'alice', `device ${d}`)
    for (let n = 1; !stop.signal.aborted; n++) {
      const pk = uuid(10_000 * (d + 1) + n)
      const body = JSON.stringify({ changes: [put(2 * n, 'users', pk, john()), put(2 * n + 1, 'posts', pk, { title: 't', author_id: pk })] })
      const reply = await waitFor('an answer other than 503', async () => {
        const reply = await phone.uploadText(body)
        if (reply.statusCode !== 200) troubles.add(reply.statusCode)
        return reply.statusCode === 200 ? JSON.parse(reply.body) : null
      })
      t.strictSame(verdicts(reply), [`${2 * n} applied v1`, `${2 * n + 1} applied v1`])
      done.push(pk)
    }
  })
  for (const round of [1, 2]) {
    const before = acknowledged.map(({ length }) => length)
    await waitFor(`round ${round}: every device is at work`, () => acknowledged.every(({ length }, d) => length > (before[d] as number) + 5))
    await crash()
  }
  const before = acknowledged.map(({ length }) => length)
  await waitFor('every device goes on', () => acknowledged.every(({ length }, d) => length > (before[d] as number) + 5))
  stop.abort()
  await Promise.all(devices)
  t.strictSame([...troubles], [503], 'what devices heard meanwhile')
  const rows = await waitFor('the test\'s own connection is back', async () => await sql<Array<{ id: string }>>`select id from business.users order by id`)
  t.strictSame(rows.map(({ id }) => id), acknowledged.flat().sort(), 'each acknowledged row, and no other')
  t.equal((await log(sql, 'alice')).length, 2 * ((acknowledged[0]?.length ?? 0) + (acknowledged[1]?.length ?? 0)))
  await assertSound(t, sql, 'alice')
  await assertSound(t, sql, 'bob')
})
