import { setImmediate } from 'node:timers/promises'
import Fastify from 'fastify'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { SYNCED_TABLES } from '../../examples/server/business-schema.js'
import type { Identity, OversyncOptions } from '../../src/index.js'
import { resolveOptions } from '../../src/options.js'
import { syncRoutes } from '../../src/routes/routes.js'
import { OversyncService } from '../../src/service/sync-service.js'
import { buildApp, caller, john, put, uuid, verdicts } from '../helpers/app.js'

const TIMEOUT_MS = 200
const BODY = JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] })

/** An app whose getIdentity is the test's, with less patience than the plugin's. */
async function appWith (t: Test, getIdentity: OversyncOptions['getIdentity']) {
  const { url, sql } = await buildApp(t)
  const options = resolveOptions({ database: `${url}?application_name=judged`, tables: SYNCED_TABLES, getIdentity })
  const service = await OversyncService.open(options)
  const app = Fastify()
  t.teardown(async () => { await app.close(); await service.close() })
  await app.register(syncRoutes, { prefix: '/sync', service, getIdentity, maxBodyBytes: options.maxBodyBytes, identityTimeoutMs: TIMEOUT_MS })
  return { phone: caller(app, 'alice'), sql, app }
}

async function assertIdle (t: Test, sql: Sql): Promise<void> {
  t.equal((await sql`select from pg_stat_activity where application_name = 'judged' and state <> 'idle'`).length, 0, 'no connection is held')
  t.equal((await sql`select from pg_locks l join pg_stat_activity a using (pid) where a.application_name = 'judged'`).length, 0, 'no lock is held')
  t.equal((await sql`select from sync.scope`).length, 0, 'nobody was made')
}

t.test('a getIdentity that fails in any way costs its request alone (C23, I1, H21)', async t => {
  const answers: Array<Promise<Identity>> = []
  const late = async (answer: Promise<Identity>) => {
    answers.push(answer)
    return await answer
  }
  const failures: Array<[string, OversyncOptions['getIdentity'], string]> = [
    ['throws', () => { throw new Error('secret of the app') }, '401 authentication_failed'],
    ['throws what is no error', () => { throw 'text' }, '401 authentication_failed'], // eslint-disable-line no-throw-literal
    ['throws null', () => { throw null }, '401 authentication_failed'], // eslint-disable-line no-throw-literal
    ['rejects', async () => await Promise.reject(new Error('secret of the app')), '401 authentication_failed'],
    ['rejects late', async () => await new Promise((_resolve, reject) => { setTimeout(reject, 20, new Error('secret of the app')) }), '401 authentication_failed'],
    ['says 403', async () => await Promise.reject(Object.assign(new Error('secret of the app'), { statusCode: 403 })), '403 forbidden'],
    ['says 503', () => { throw Object.assign(new Error('secret of the app'), { statusCode: 503 }) }, '503 unavailable'],
    ['gives nothing', () => undefined, '401 authentication_failed'],
    ['gives a number', () => 7 as never, '401 authentication_failed'],
    ['gives a thenable that never calls back', () => ({ then () {} }) as never, '503 unavailable'],
    ['never resolves', async () => await new Promise(() => {}), '503 unavailable'],
    ['resolves too late', async () => await late(new Promise(resolve => { setTimeout(resolve, 3 * TIMEOUT_MS, { userId: 'alice', deviceId: 'phone' }) })), '503 unavailable'],
    ['rejects too late', async () => await late(new Promise((_resolve, reject) => { setTimeout(reject, 2 * TIMEOUT_MS, new Error('secret of the app')) })), '503 unavailable']
  ]
  let ask: OversyncOptions['getIdentity'] = () => null
  const { phone, sql } = await appWith(t, request => ask(request))
  const unhandled: unknown[] = []
  const note = (reason: unknown) => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  for (const [what, getIdentity, expected] of failures) {
    ask = getIdentity
    for (const reply of await Promise.all([phone.uploadText(BODY), phone.request({ url: '/download' }), phone.request({ url: '/status' })])) {
      t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, expected, what)
      t.notMatch(reply.body, /secret/, `${what}: nothing of it shows`)
      if (reply.statusCode === 503) t.match(reply.headers['retry-after'], /^[1-9]\d*$/, `${what}: Retry-After`)
    }
  }
  await Promise.allSettled(answers)
  await setImmediate()
  t.strictSame(unhandled, [], 'no rejection is left over')
  await assertIdle(t, sql)
  ask = () => ({ userId: 'alice', deviceId: 'phone' })
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'], 'and all is well afterwards')
})

t.test('callers that wait for a sign-in do not wait for each other, nor does anybody else (C23)', async t => {
  let isStuck = true
  const { phone, sql } = await appWith(t, async ({ headers }) => {
    if (isStuck && headers['x-user'] === 'alice') await new Promise(() => {})
    return { userId: String(headers['x-user']), deviceId: 'phone' }
  })
  const started = performance.now()
  const stuck = Array.from({ length: 200 }, async () => (await phone.uploadText(BODY)).statusCode)
  const other = await phone.request({ url: '/status', headers: { 'x-user': 'bob' } })
  t.equal(other.statusCode, 200)
  t.strictSame(new Set(await Promise.all(stuck)), new Set([503]))
  t.ok(performance.now() - started < 100 * TIMEOUT_MS, 'all at once, not in line')
  await sql`delete from sync.stream`
  await sql`delete from sync.scope`
  await assertIdle(t, sql)
  isStuck = false
  t.equal((await phone.uploadText(BODY)).statusCode, 200)
})

t.test('a token that ends between two batches: 401, nothing of the batch is stored, and the next sign-in goes on (I2, E3)', async t => {
  let valid = true
  const { phone, sql } = await appWith(t, () => {
    if (!valid) throw Object.assign(new Error('expired'), { statusCode: 401 })
    return { userId: 'alice', deviceId: 'phone' }
  })
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  valid = false
  const refused = await phone.uploadText(JSON.stringify({ changes: [put(2, 'users', uuid(2), john())] }))
  t.equal(refused.statusCode, 401)
  t.equal((await sql`select from sync.change_log`).length, 1)
  valid = true
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(2), john())])), ['2 applied v1'])
})

t.test('a token whose scope changes moves its device to another stream, with numbers of its own (I3, I4)', async t => {
  let scope = 'family'
  const { phone } = await appWith(t, () => ({ userId: 'alice', deviceId: 'phone', scope }))
  t.equal((await phone.upload([put(1, 'files', uuid(1), { name: 'f' })])).next_source_change_id, 2)
  scope = 'work'
  const reply = await phone.uploadText(JSON.stringify({ changes: [] }))
  t.match(JSON.parse(reply.body), { next_source_change_id: 1, highest_server_seq: 0 })
  const mixed = await phone.uploadText(JSON.stringify({ epoch: await phone.epoch(), changes: [put(2, 'files', uuid(2), { name: 'g' })] }))
  t.equal(mixed.statusCode, 409, 'what belongs to the one is not mixed into the other')
})
