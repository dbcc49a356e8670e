import Fastify from 'fastify'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { MAX_QUEUED_UPLOADS } from '../../src/limits.js'
import oversync, { type Metrics } from '../../src/index.js'
import { buildApp, caller, del, john, put, startApp, uuid, verdicts, type AppOptions } from '../helpers/app.js'
import { recordMetrics } from '../helpers/record-metrics.js'
import { waitFor } from '../helpers/wait-for.js'

async function meteredWorld (t: Test, options: AppOptions = {}) {
  const metrics = recordMetrics()
  return { metrics, ...await buildApp(t, { metrics, ...options }) }
}

t.test('every change is counted once, by verdict and the invalid ones by reason', async t => {
  const { metrics, user } = await meteredWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john())])
  const reply = await phone.upload([
    put(1, 'users', uuid(1), john()),
    put(3, 'users', uuid(1), john('Stale')),
    put(4, 'posts', uuid(4), { title: 't', author_id: uuid(99) }),
    put(5, 'posts', uuid(5), { title: null, author_id: uuid(1) }),
    put(6, 'no_such_table', uuid(6), {}),
    put(7, 'users', 'no uuid', john()),
    put(2, 'users', uuid(3), john()),
    del(8, 'users', uuid(8), 0)
  ])
  t.strictSame(verdicts(reply), [
    '1 applied v1', '3 conflict v1', '4 invalid fk_missing', '5 invalid constraint_violation', '6 invalid unregistered_table', '7 invalid bad_payload',
    '2 invalid source_change_id_reused', '8 applied'
  ])
  await user('bob').upload([put(1, 'users', uuid(1), john())])
  t.strictSame(metrics.totals('oversync_changes_total', 'oversync_invalid_changes_total'), {
    'oversync_changes_total applied': 3,
    'oversync_changes_total conflict': 1,
    'oversync_changes_total invalid': 6,
    'oversync_changes_total replayed': 1,
    'oversync_invalid_changes_total bad_payload': 1,
    'oversync_invalid_changes_total constraint_violation': 1,
    'oversync_invalid_changes_total fk_missing': 1,
    'oversync_invalid_changes_total not_owner': 1,
    'oversync_invalid_changes_total source_change_id_reused': 1,
    'oversync_invalid_changes_total unregistered_table': 1
  })
})

t.test('a batch that is too large counts with all its changes, and what is refused as a whole with none', async t => {
  const { metrics, user } = await meteredWorld(t, { maxUploadBatchSize: 2 })
  const phone = user('alice')
  await phone.upload([1, 2, 3].map(n => put(n, 'users', uuid(n), john())))
  t.equal((await phone.uploadText(JSON.stringify({ epoch: 'another', changes: [put(1, 'users', uuid(1), john())] }))).statusCode, 409)
  t.strictSame(metrics.totals('oversync_changes_total', 'oversync_invalid_changes_total'), {
    'oversync_changes_total invalid': 3, 'oversync_invalid_changes_total batch_too_large': 3
  })
})

t.test('replies are counted by status and refusals by code, whatever the request holds', async t => {
  const { app, metrics, user } = await meteredWorld(t, { maxBodyBytes: 10_000 })
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  await phone.download()
  await phone.download({ after: 1 })
  await phone.request({ url: '/status' })
  await phone.uploadText('{')
  await phone.uploadText('"oversync_errors_total"', { 'content-type': 'text/oversync' })
  await phone.uploadText(JSON.stringify({ changes: [], padding: 'x'.repeat(10_000) }))
  await phone.request({ url: '/download?after=-1' })
  await phone.request({ url: '/download?after=7&epoch=another' })
  await phone.request({ url: '/no-such-route-alice' })
  await phone.request({ method: 'DELETE', url: '/upload' })
  await app.inject({ url: '/sync/download' })
  await app.inject({ method: 'POST', url: '/sync/upload' })
  t.strictSame(metrics.totals('oversync_uploads_total', 'oversync_downloads_total', 'oversync_errors_total', 'oversync_pages_total', 'oversync_page_changes_total'), {
    'oversync_downloads_total 200': 2,
    'oversync_downloads_total 400': 1,
    'oversync_downloads_total 401': 1,
    'oversync_downloads_total 409': 1,
    'oversync_errors_total authentication_failed': 2,
    'oversync_errors_total body_too_large': 1,
    'oversync_errors_total history_changed': 1,
    'oversync_errors_total invalid_request': 2,
    'oversync_errors_total method_not_allowed': 1,
    'oversync_errors_total not_found': 1,
    'oversync_errors_total unsupported_media_type': 1,
    oversync_pages_total: 2,
    'oversync_uploads_total 200': 2,
    'oversync_uploads_total 400': 1,
    'oversync_uploads_total 401': 1,
    'oversync_uploads_total 413': 1,
    'oversync_uploads_total 415': 1
  })
  await user('alice', 'laptop').download()
  t.strictSame(metrics.totals('oversync_page_changes_total'), { oversync_page_changes_total: 1 }, 'what another device made is sent to this one')
})

t.test('times and rounds are noted once for each upload and download', async t => {
  const { metrics, user } = await meteredWorld(t)
  const phone = user('alice')
  await phone.epoch() // an upload without changes needs no transaction
  await phone.upload([put(1, 'users', uuid(1), john())])
  await phone.upload([put(2, 'users', uuid(2), john()), put(3, 'posts', uuid(3), { title: null })])
  await phone.download()
  t.strictSame(metrics.values('oversync_upload_rounds'), [1, 2], 'a row that the database refuses costs a round')
  t.equal(metrics.values('oversync_upload_duration_seconds').length, 3)
  t.equal(metrics.values('oversync_upload_wait_seconds').length, 3)
  t.equal(metrics.values('oversync_begin_wait_seconds').length, 3, 'and a transaction')
  t.equal(metrics.values('oversync_download_duration_seconds').length, 1)
  const whole = metrics.values('oversync_upload_duration_seconds')
  t.ok(metrics.values('oversync_upload_wait_seconds').every((waited, i) => waited <= (whole[i] as number)), 'an upload takes at least as long as it waits')
  t.ok(whole.every(seconds => seconds > 0 && seconds < 60), 'in seconds')
})

t.test('who waits for a connection of the pool is seen (C12)', async t => {
  const { url } = await buildApp(t)
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const metrics = recordMetrics()
  const app = await startApp(t, { database: client, metrics })
  let upload: Promise<unknown> | undefined
  await client.begin(async sql => {
    upload = app.oversync.upload({ userId: 'alice', deviceId: 'phone' }, { changes: [put(1, 'users', uuid(1), john())] })
    await waitFor('the upload is at work', () => metrics.totals('oversync_uploads_at_work')['oversync_uploads_at_work'] === 1)
    await sql`select pg_sleep(0.3)`
  })
  await upload
  const [waited, ...more] = metrics.values('oversync_begin_wait_seconds')
  t.ok(more.every(seconds => seconds < 0.25), 'the others found it free: of a new user nothing is as an upload assumes')
  t.ok(waited !== undefined && waited >= 0.25, `${waited} s`)
  t.ok((metrics.values('oversync_upload_wait_seconds')[0] as number) < (waited as number), 'the queue is not what it waited for')
})

t.test('the queue shows while it is there: who waits, who works, who is sent away (A16)', async t => {
  const { url } = await buildApp(t)
  const client = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const metrics = recordMetrics()
  const phone = caller(await startApp(t, { database: client, metrics }), 'alice')
  let replies: Array<Promise<number>> = []
  // While the pool's only connection is taken the first upload stays at work, and the others behind it.
  await client.begin(async () => {
    replies = Array.from({ length: MAX_QUEUED_UPLOADS + 2 }, async (_, i) => (await phone.uploadText(JSON.stringify({ changes: [put(1 + i, 'users', uuid(1 + i), john())] }))).statusCode)
    await waitFor('two uploads are sent away', () => metrics.totals('oversync_uploads_total')['oversync_uploads_total 429'] === 2)
    t.strictSame(metrics.totals('oversync_queued_uploads', 'oversync_uploads_at_work', 'oversync_errors_total'), {
      'oversync_errors_total too_many_requests': 2, oversync_queued_uploads: MAX_QUEUED_UPLOADS - 1, oversync_uploads_at_work: 1
    })
  })
  const statuses = await Promise.all(replies)
  t.strictSame([200, 429].map(status => statuses.filter(one => one === status).length), [MAX_QUEUED_UPLOADS, 2])
  t.strictSame(metrics.totals('oversync_queued_uploads', 'oversync_uploads_at_work', 'oversync_uploads_total', 'oversync_changes_total'), {
    'oversync_changes_total applied': MAX_QUEUED_UPLOADS, 'oversync_uploads_total 200': MAX_QUEUED_UPLOADS, 'oversync_uploads_total 429': 2
  }, 'the gauges are back at zero')
  t.equal(metrics.highest('oversync_uploads_at_work'), 1, 'one of a scope at a time')
  const waits = metrics.values('oversync_upload_wait_seconds')
  t.equal(waits.length, MAX_QUEUED_UPLOADS, 'those who were sent away did not wait')
  t.ok(Math.max(...waits) > (waits[0] as number), 'the first went through at once, the others after it')
})

t.test('retries are counted by why PostgreSQL undid the transaction, and changes of the last attempt only (A11)', async t => {
  const { metrics, user } = await meteredWorld(t, {
    schemaSql: `create sequence business.attempts;
      create function business.fail_first() returns trigger language plpgsql as $$ begin
        case nextval('business.attempts')
          when 1 then raise exception 'victim' using errcode = '40001';
          when 2 then raise exception 'victim' using errcode = '40P01';
          when 4 then raise exception 'victim' using errcode = '55P03';
          else return new;
        end case; end $$;
      create trigger fail_first before insert on business.users for each row execute function business.fail_first()`
  })
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  t.strictSame(metrics.totals('oversync_transaction_retries_total', 'oversync_changes_total'), {
    'oversync_changes_total applied': 1, 'oversync_transaction_retries_total deadlock': 1, 'oversync_transaction_retries_total serialization': 1
  })
  t.equal(metrics.values('oversync_begin_wait_seconds').length, 3, 'each attempt asked for a connection')
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(2), john())])), ['2 applied v1'])
  t.match(metrics.totals('oversync_transaction_retries_total'), { 'oversync_transaction_retries_total lock_timeout': 1 })
})

t.test('trouble of the database is counted, and the gauges come back', async t => {
  const { metrics, sql, user } = await meteredWorld(t)
  const phone = user('alice')
  await phone.epoch()
  await sql.unsafe('alter table sync.change_log rename to change_log_away')
  t.equal((await phone.uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] }))).statusCode, 500)
  t.equal((await phone.request({ url: '/download' })).statusCode, 500)
  t.strictSame(metrics.totals('oversync_errors_total', 'oversync_queued_uploads', 'oversync_uploads_at_work', 'oversync_changes_total', 'oversync_pages_total'), { 'oversync_errors_total internal_error': 2 })
  t.equal(metrics.values('oversync_upload_duration_seconds').length, 2, 'what failed took time too')
  t.equal(metrics.values('oversync_download_duration_seconds').length, 1)
})

t.test('without HTTP the work is counted too', async t => {
  const { app, metrics } = await meteredWorld(t)
  const { counts, waitedMs, workedMs } = await app.oversync.upload({ userId: 'alice', deviceId: 'phone' }, { changes: [put(1, 'users', uuid(1), john())] })
  t.match(counts, { applied: 1, invalid: 0, reasons: {} })
  t.ok(waitedMs >= 0 && workedMs > 0)
  await app.oversync.download({ userId: 'alice', deviceId: 'laptop' })
  t.strictSame(metrics.totals('oversync_changes_total', 'oversync_page_changes_total', 'oversync_uploads_total'), {
    'oversync_changes_total applied': 1, oversync_page_changes_total: 1
  })
})

const BROKEN_SINKS: Record<string, () => void> = {
  throws: () => { throw new Error('the sink is full') },
  rejects: async () => { throw new Error('the sink is full') }
}
for (const [what, broken] of Object.entries(BROKEN_SINKS)) {
  t.test(`a sink that ${what} fails no request and is told of once (C23)`, async t => {
    const lines: string[] = []
    const { user } = await buildApp(t, {
      metrics: { add: broken, observe: broken },
      fastify: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }
    })
    const phone = user('alice')
    t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
    t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
    t.equal((await user('alice', 'laptop').download()).changes.length, 1)
    t.equal((await phone.uploadText('{')).statusCode, 400)
    t.strictSame(lines.map(line => JSON.parse(line)).map(({ msg, err }) => [msg, err.message]), [
      ['The option metrics threw an exception. Requests go on; it is not told again.', 'the sink is full']
    ])
  })
}

t.test('a sink that is none is refused at start, and two processes count for themselves', async t => {
  const { url, metrics, user } = await meteredWorld(t)
  for (const wrong of [null, {}, { add: () => {} }, { observe: () => {} }, { add: 1, observe: 1 }, () => {}]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => { await app.register(oversync, { database: url, tables: ['business.users'], getIdentity: () => null, metrics: wrong as unknown as Metrics }) }, {
      name: 'ConfigurationError', message: 'Option metrics must have the functions add(name, by, labels) and observe(name, value, labels).'
    })
  }
  const others = recordMetrics()
  const second = await startApp(t, { database: url, metrics: others })
  await user('alice').upload([put(1, 'users', uuid(1), john())])
  await caller(second, 'alice').upload([put(1, 'users', uuid(1), john())])
  t.strictSame([metrics, others].map(({ totals }) => totals('oversync_changes_total')), [{ 'oversync_changes_total applied': 1 }, { 'oversync_changes_total replayed': 1 }])
})

t.test('a wrong name, label or value of a label does not compile', async t => {
  const { add, observe }: Metrics = recordMetrics()
  add('oversync_changes_total', 1, { verdict: 'applied' })
  add('oversync_pages_total', 1, {})
  observe('oversync_upload_rounds', 1, {})
  // The compiler fails where one of these would be right.
  // @ts-expect-error There is no such metric.
  add('oversync_change_total', 1, { verdict: 'applied' })
  // @ts-expect-error There is no such label.
  add('oversync_changes_total', 1, { user: 'alice' })
  // @ts-expect-error There is no such value.
  add('oversync_changes_total', 1, { verdict: 'maybe' })
  // @ts-expect-error The label is missing.
  add('oversync_changes_total', 1, {})
  // @ts-expect-error There are no labels.
  add('oversync_pages_total', 1, { scope: 'alice' })
  // @ts-expect-error A counter is not observed.
  observe('oversync_pages_total', 1, {})
  // @ts-expect-error A histogram is not added to.
  add('oversync_upload_rounds', 1, {})
  const recorder = recordMetrics()
  recorder.add('oversync_changes_total', 1, { verdict: 'alice' as 'applied' })
  t.throws(() => recorder.totals('oversync_changes_total'), /oversync_changes_total 1 \{"verdict":"alice"\}/, 'and the tests would notice at run time')
})
