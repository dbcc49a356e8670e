import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyServerOptions } from 'fastify'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import oversync, { SyncError } from '../../src/index.js'
import { loggable } from '../../src/service/loggable-error.js'
import { VERSION } from '../../src/version.js'
import { buildApp, john, put, startApp, uuid, verdicts, type AppOptions } from '../helpers/app.js'

interface Line {
  level: number
  msg: string
  oversync?: Record<string, unknown>
  err?: Record<string, unknown>
  [field: string]: unknown
}

const [DEBUG, INFO, WARN, ERROR] = [20, 30, 40, 50]
/** In no log above debug. */
const SECRET = 'Secret-of-Alice'

interface Log {
  fastify: FastifyServerOptions
  /** The lines of the plugin since the last call, Fastify's own left out. */
  take: () => Line[]
  text: () => string
}

function keepLog (level: string, options: FastifyServerOptions = {}): Log {
  let text = ''
  let taken = 0
  return {
    fastify: { requestTimeout: 120_000, connectionTimeout: 60_000, ...options, logger: { level, stream: { write: (line: string) => { text += line } } } },
    take: () => {
      const lines = text.slice(taken).split('\n').filter(line => line !== '').map((line): Line => JSON.parse(line))
      taken = text.length
      return lines.filter(({ msg }) => msg !== 'incoming request' && msg !== 'request completed')
    },
    text: () => text
  }
}

async function loggedWorld (t: Test, level = 'info', options: AppOptions = {}) {
  const log = keepLog(level)
  const world = await buildApp(t, { fastify: log.fastify, ...options })
  log.take()
  return { log, ...world }
}

t.test('an upload is one line and a download one, with counts and times and nothing of the user (H21)', async t => {
  const { log, user } = await loggedWorld(t)
  const device = user(SECRET, `${SECRET}-phone`, { scope: `${SECRET}-scope` })
  const epoch = await device.epoch()
  t.match(log.take(), [{ level: INFO, msg: 'sync upload', oversync: { applied: 0, bytes: 2 } }], 'the handshake is an upload too')
  const body = JSON.stringify({
    epoch,
    changes: [
      put(1, 'users', uuid(1), john(SECRET)),
      put(1, 'users', uuid(1), john(SECRET)),
      put(2, 'users', uuid(1), john(SECRET)),
      put(3, 'users', SECRET, john()),
      put(4, 'typed_rows', uuid(4), { big: SECRET }),
      put(5, 'posts', uuid(5), { title: null, content: SECRET })
    ]
  })
  t.equal((await device.uploadText(body)).statusCode, 200)
  const [upload, ...more] = log.take()
  t.strictSame(more, [])
  const { durationMs, waitedMs, workedMs, ...counts } = upload?.oversync ?? {}
  t.strictSame({ level: upload?.level, msg: upload?.msg, counts }, {
    level: INFO,
    msg: 'sync upload',
    counts: { applied: 1, replayed: 1, conflict: 1, invalid: 3, reasons: { bad_payload: 2, constraint_violation: 1 }, bytes: body.length }
  })
  t.ok([durationMs, waitedMs, workedMs].every(Number.isSafeInteger), 'times are whole milliseconds')
  const page = await device.download({ include_self: true })
  t.match(page.text, SECRET)
  t.match(log.take(), [{ level: INFO, msg: 'sync download', oversync: { changes: 1, bytes: page.text.length, durationMs: Number } }])
  await device.request({ url: '/status' })
  await device.request({ url: '/schema-version' })
  t.strictSame(log.take(), [], 'the other routes are quiet')
  t.notMatch(log.text(), SECRET)
})

t.test('bytes are bytes, of a body in pieces too', async t => {
  const { log, app } = await loggedWorld(t)
  const body = JSON.stringify({ changes: [put(1, 'users', uuid(1), john('Zoë 🙂'))] })
  await app.oversync.upload({ userId: 'alice', deviceId: 'phone' }, body)
  t.strictSame(log.take(), [], 'work that did not come by HTTP is the app\'s to log')
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  log.take()
  const pieces = new ReadableStream({
    start (controller) {
      for (const byte of Buffer.from(body)) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    }
  })
  const headers = { 'x-user': 'alice', 'x-device': 'phone', 'content-type': 'application/json' }
  const reply = await fetch(`${address}/sync/upload`, { method: 'POST', headers, body: pieces, duplex: 'half' } as RequestInit)
  t.equal(reply.status, 200)
  t.match(log.take(), [{ oversync: { replayed: 1, bytes: Buffer.byteLength(body) } }])
  const page = await (await fetch(`${address}/sync/download?include_self=true`, { headers })).arrayBuffer()
  t.match(log.take(), [{ oversync: { bytes: page.byteLength } }])
})

t.test('a refused request is one line with its code (H21)', async t => {
  const { log, app, user } = await loggedWorld(t, 'info', { maxBodyBytes: 10_000 })
  const device = user(SECRET)
  const line = (operation: string | undefined, code: string) => ({ level: INFO, msg: 'sync request refused', oversync: { ...(operation === undefined ? {} : { operation }), code, reason: String, durationMs: Number } })
  const cases: Array<[() => Promise<unknown>, ReturnType<typeof line>]> = [
    [async () => await device.uploadText(`{"changes": [${SECRET}`), line('upload', 'invalid_request')],
    [async () => await device.uploadText(`{"changes": ["${SECRET}"]}`), line('upload', 'invalid_request')],
    [async () => await device.uploadText(`{"changes": [{"source_change_id": "${SECRET}"}]}`), line('upload', 'invalid_request')],
    [async () => await device.uploadText(`{"epoch": "${SECRET}"}`), line('upload', 'history_changed')],
    [async () => await device.uploadText(SECRET.repeat(1_000)), line('upload', 'body_too_large')],
    [async () => await device.uploadText(SECRET, { 'content-type': 'text/plain' }), line('upload', 'unsupported_media_type')],
    [async () => await device.request({ url: '/status', headers: { 'oversync-source-id': SECRET } }), line('getStatus', 'invalid_request')],
    [async () => await app.inject({ url: '/sync/download' }), line('download', 'authentication_failed')],
    [async () => await device.request({ url: '/download?after=x' }), line('download', 'invalid_request')],
    [async () => await device.request({ url: '/nowhere' }), line(undefined, 'not_found')],
    [async () => await device.request({ method: 'PUT', url: '/upload', payload: SECRET }), line(undefined, 'method_not_allowed')]
  ]
  for (const [request, expected] of cases) {
    await request()
    const lines = log.take()
    t.equal(lines.length, 1, `${expected.oversync.code}: one line`)
    t.match(lines[0], expected)
  }
  t.notMatch(log.text(), SECRET)
})

/** Ways in which the database can put a row into its error, none of them a verdict about the row: the log is ours, not the app's. */
const LEAKS: Record<string, { ddl: string, err: Record<string, unknown> }> = {
  'unique violation': {
    ddl: 'create unique index once on sync.change_log ((payload::text))',
    err: { message: 'duplicate key value violates unique constraint "once"', sqlstate: '23505', constraint: 'once', table: 'change_log', schema: 'sync' }
  },
  'check violation': {
    ddl: `alter table sync.change_log add constraint clean check (payload::text not like '%${SECRET}%')`,
    err: { message: 'new row for relation "change_log" violates check constraint "clean"', sqlstate: '23514', constraint: 'clean' }
  },
  'value that cannot be read': {
    ddl: 'create index on sync.change_log (((payload->>\'name\')::int))',
    err: { message: 'PostgreSQL error 22P02; its message may hold values of rows and is logged at debug.', sqlstate: '22P02' }
  },
  'exception in a trigger': {
    ddl: `create function sync.tell() returns trigger language plpgsql as $$ begin raise exception 'no room for %', new.payload using errcode = 'XX000', detail = new.payload::text, hint = new.payload::text; end $$;
      create trigger tell before insert on sync.change_log for each row execute function sync.tell()`,
    err: { message: 'PostgreSQL error XX000; its message may hold values of rows and is logged at debug.', sqlstate: 'XX000' }
  },
  'statement made of values': {
    ddl: `create function sync.tell() returns trigger language plpgsql as $$ begin execute format('select %I', new.payload->>'name'); return new; end $$;
      create trigger tell before insert on sync.change_log for each row execute function sync.tell()`,
    err: { message: 'PostgreSQL error 42703; its message may hold values of rows and is logged at debug.', sqlstate: '42703' }
  },
  'missing table': {
    ddl: 'alter table sync.change_log rename to away',
    err: { message: 'relation "sync.change_log" does not exist', sqlstate: '42P01' }
  }
}
for (const [what, { ddl, err }] of Object.entries(LEAKS)) {
  t.test(`a failure is one line with its cause and no value of a row: ${what} (H21)`, async t => {
    for (const level of ['info', 'debug']) {
      const log = keepLog(level)
      const { url, sql } = await buildApp(t)
      // With `debug` postgres.js shows the parameters of a statement that failed.
      const client = postgres(url, { max: 1, onnotice: () => {}, debug: () => {} })
      t.teardown(async () => { await client.end({ timeout: 1 }) })
      const app = await startApp(t, { database: client, fastify: log.fastify })
      await sql.unsafe(ddl)
      const body = { changes: [put(1, 'users', uuid(1), { name: SECRET, email: 'x' }), put(2, 'users', uuid(1), { name: SECRET, email: 'x' }, 1)] }
      log.take()
      const reply = await app.inject({ method: 'POST', url: '/sync/upload', headers: { 'x-user': 'alice', 'x-device': 'phone' }, payload: body })
      t.equal(reply.statusCode, 500)
      t.strictSame(JSON.parse(reply.body), { error: 'internal_error', message: 'The server could not handle the request.' })
      const lines = log.take()
      t.match(lines.filter(line => line.level >= INFO), [{ level: ERROR, msg: 'The server could not handle the request.', oversync: { operation: 'upload', code: 'internal_error' }, err }], level)
      t.match(String(lines.find(line => line.level === ERROR)?.err?.['stack']), /^PostgresError: .*\n +at /, 'with its place in the code')
      t.equal(lines.filter(line => line.level >= INFO).length, 1)
      if (level === 'info') t.notMatch(log.text(), SECRET)
      else if (what !== 'missing table') t.match(JSON.stringify(lines.find(({ msg }) => msg === 'the same error in full')?.err), SECRET, 'debug has it all')
    }
  })
}

t.test('what an error says is kept where it names no values, its causes too', async t => {
  const shown = (error: unknown) => {
    const { name, message, cause, ...facts } = loggable(error) as Error
    return { name, message, facts, cause: cause instanceof Error ? cause.message : cause }
  }
  const database = (fields: object) => Object.assign(new Error('deadlock detected'), { name: 'PostgresError', severity: 'ERROR', routine: 'DeadLockReport', ...fields })
  const refused = Object.assign(new AggregateError([new Error('connect ECONNREFUSED ::1:5432'), new Error('connect ECONNREFUSED 127.0.0.1:5432')]), { code: 'ECONNREFUSED' })
  t.match(shown(database({ code: '40P01', where: 'while updating tuple (0,7) in relation "users"' })), { name: 'PostgresError', message: 'deadlock detected', facts: { sqlstate: '40P01', routine: 'DeadLockReport' } })
  t.match(shown(database({ code: '40P01', where: 'PL/pgSQL function tell() line 1 at RAISE' })), { message: /^PostgreSQL error 40P01;/ })
  t.match(shown(database({ code: 'P0001' })), { message: /^PostgreSQL error P0001;/ })
  t.match(shown(database({ code: '22001', table_name: 'users', column_name: 'name' })), { message: /^PostgreSQL error 22001;/, facts: { table: 'users', column: 'name' } })
  t.match(shown(refused), { name: 'AggregateError', message: 'connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432', facts: { code: 'ECONNREFUSED' } })
  t.match(shown(new TypeError('x is undefined', { cause: new RangeError('too deep') })), { name: 'TypeError', message: 'x is undefined', cause: 'too deep' })
  t.match(shown(Object.assign(new Error('outer'), { parameters: [SECRET], cause: database({ code: '22001', detail: SECRET }) })), { message: 'outer', facts: { parameters: undefined }, cause: /^PostgreSQL error 22001;/ })
  t.notMatch(shown(Object.assign(new Error('outer'), { parameters: [SECRET] })), { facts: { parameters: [SECRET] } })
  let unreadable: unknown
  try { JSON.parse(`{"name": ${SECRET}}`) } catch (error) { unreadable = error }
  t.match((unreadable as Error).message, SECRET.slice(0, 5), 'JSON.parse quotes what it reads')
  t.notMatch((loggable(unreadable) as Error).stack, SECRET.slice(0, 5))
  for (const thrown of [SECRET, null, undefined, 7, { message: SECRET }]) t.equal((loggable(thrown) as Error).message, 'Something that is no Error was thrown.')
  t.match(shown(runInNewContext('new TypeError("of another realm")')), { name: 'TypeError', message: 'of another realm' })
  const circular = new Error('round')
  circular.cause = circular
  t.equal((loggable(circular) as Error).message, 'round')
})

t.test('user, device and scope are told at debug, and there alone', async t => {
  for (const level of ['debug', 'info']) {
    const { log, user } = await loggedWorld(t, level)
    await user(SECRET, 'phone', { scope: 'workspace' }).upload([put(1, 'users', uuid(1), john())])
    const lines = log.take()
    t.strictSame(lines.filter(line => line.level > DEBUG).map(({ msg }) => msg), ['sync upload', 'sync upload'])
    t.match(lines.filter(line => line.level === DEBUG), level === 'info' ? [] : [{ msg: 'sync caller', oversync: { user: SECRET, device: 'phone', scope: 'workspace' } }, {}])
    t.equal(lines.length, level === 'info' ? 2 : 4)
  }
})

t.test('line breaks and colours in what devices send make no lines of their own (H22)', async t => {
  const forged = '\r\n{"level":60,"msg":"forged"}\n\u001b[31mred\u2028\u0085'
  const log = keepLog('debug')
  const { url } = await buildApp(t)
  const app = await startApp(t, { database: url, fastify: log.fastify, getIdentity: () => ({ userId: forged, deviceId: `phone${forged}`, scope: `scope${forged}` }) })
  log.take()
  const changes = [
    { ...put(1, 'users', uuid(1), john(forged)), pk: forged },
    { ...put(2, 'users', uuid(2), john(forged)), table: `users${forged}` },
    { ...put(3, 'users', uuid(3), john(forged)), op: forged },
    put(4, 'users', uuid(4), { ...john(forged), [forged]: forged })
  ]
  const reply = await app.inject({ method: 'POST', url: '/sync/upload', payload: { changes } })
  t.strictSame(verdicts(JSON.parse(reply.body)).map(verdict => verdict.split(' ')[1]), ['invalid', 'invalid', 'invalid', 'applied'])
  await app.inject({ url: `/sync/download?schema=${encodeURIComponent(forged)}&after=${encodeURIComponent(forged)}` })
  await app.inject({ url: `/sync/${encodeURIComponent(forged)}` })
  await app.inject({ url: '/sync/status', headers: { 'oversync-source-id': '\u001b[31mred' } })
  const lines = log.take()
  t.strictSame(lines.filter(({ level }) => level > DEBUG).map(({ msg }) => msg), ['sync upload', 'sync request refused', 'sync request refused', 'sync request refused'])
  t.match(lines[0], { msg: 'sync caller', oversync: { user: forged } }, 'debug has the text as it is')
  for (const control of ['\u001b', '\r', '\n{"level":60']) t.notOk(log.text().includes(control), `${JSON.stringify(control)} is escaped`)
})

t.test('start and close are one line each, with what was found (C7)', async t => {
  const { url, sql } = await buildApp(t)
  const [{ version }] = await sql<[{ version: string }]>`select current_setting('server_version') as version`
  const name = new URL(url).pathname.slice(1)
  for (const [setting, raised] of [['off', 'on'], ['local', 'on'], ['remote_write', 'on'], ['on', 'on'], ['remote_apply', 'remote_apply']]) {
    await sql.unsafe(`alter database ${name} set synchronous_commit = '${setting}'`)
    const log = keepLog('info')
    const app = await startApp(t, { database: url, schema: 'sync', prefix: '/v1/sync', fastify: log.fastify })
    t.match(log.take(), [{
      level: INFO,
      msg: 'sync started',
      oversync: { version: VERSION, prefix: '/v1/sync', schema: 'sync', tables: ['business.users', 'business.posts', 'business.files', 'business.file_reviews', 'business.typed_rows'], postgresql: version, synchronousCommit: setting, synchronousCommitOfUploads: raised, fsync: /^o(n|ff)$/, preparedStatements: true }
    }])
    await app.close()
    t.match(log.take(), [{ level: INFO, msg: 'sync closed', oversync: { prefix: '/v1/sync' } }])
    t.notMatch(log.text(), new URL(url).password === '' ? /postgres:\/\// : new URL(url).password)
  }
})

t.test('an app without timeouts for slow clients is warned once, with advice (B9)', async t => {
  const { url } = await buildApp(t)
  for (const [requestTimeout, connectionTimeout, warned] of [[0, 0, true], [120_000, 0, true], [0, 60_000, true], [120_000, 60_000, false]] as const) {
    const log = keepLog('warn', { requestTimeout, connectionTimeout })
    await startApp(t, { database: url, fastify: log.fastify })
    t.match(log.take(), warned ? [{ level: WARN, requestTimeout, connectionTimeout, msg: /requestTimeout: 120_000, connectionTimeout: 60_000/ }] : [], `${requestTimeout} ${connectionTimeout}`)
    t.equal(log.text().split('\n').length - 1, warned ? 1 : 0)
  }
  const { requestTimeout: _request, connectionTimeout: _connection, ...defaults } = keepLog('warn').fastify
  const log = keepLog('warn')
  await startApp(t, { database: url, fastify: { ...defaults, logger: (log.fastify as { logger: object }).logger } as FastifyServerOptions })
  t.match(log.take(), [{ requestTimeout: 0, connectionTimeout: 0 }], 'Fastify\'s defaults')
})

t.test('a getIdentity that throws is one line, louder where it did not mean to refuse (C23)', async t => {
  const { url } = await buildApp(t)
  let thrown: unknown
  const log = keepLog('info')
  const app = await startApp(t, { database: url, fastify: log.fastify, getIdentity: () => { throw thrown } })
  log.take()
  const database = Object.assign(new Error('duplicate key'), { code: '22001', severity: 'ERROR', detail: SECRET })
  const cases: Array<[unknown, number, object]> = [
    [Object.assign(new Error(SECRET), { statusCode: 401 }), 401, { level: INFO, oversync: { code: 'authentication_failed' } }],
    [Object.assign(new Error(SECRET), { statusCode: 403 }), 403, { level: INFO, oversync: { code: 'forbidden' } }],
    [new SyncError('authentication_failed', 'Sign in first.'), 401, { level: INFO, oversync: { reason: 'Sign in first.' } }],
    [new TypeError('x is undefined'), 401, { level: WARN, msg: /getIdentity threw/, oversync: { operation: 'download' }, err: { message: 'x is undefined', stack: /at / } }],
    [database, 401, { level: WARN, err: { sqlstate: '22001', message: /^PostgreSQL error 22001/ } }],
    [undefined, 401, { level: WARN, err: { message: 'Nothing was thrown.' } }],
    [SECRET, 401, { level: WARN, err: { message: 'Something that is no Error was thrown.' } }],
    [Object.assign(new Error('sessions are away'), { statusCode: 503 }), 503, { level: ERROR, oversync: { code: 'unavailable' }, err: { message: 'sessions are away' } }]
  ]
  for (const [error, status, line] of cases) {
    thrown = error
    t.equal((await app.inject('/sync/download')).statusCode, status)
    const lines = log.take()
    t.match(lines, [line])
    t.equal(lines.length, 1)
  }
  t.notMatch(log.text(), SECRET)
})

t.test('what the app\'s own hooks refuse keeps its meaning and its Retry-After, and is no 500 (P19)', async t => {
  const { url } = await buildApp(t)
  const log = keepLog('info')
  const app = Fastify(log.fastify)
  t.teardown(() => app.close())
  app.addHook('onRequest', async ({ headers }, reply) => {
    if (headers['x-retry'] !== undefined) reply.header('retry-after', headers['x-retry'])
    if (headers['x-status'] !== undefined) throw Object.assign(new Error('refused by a hook'), { statusCode: Number(headers['x-status']) })
  })
  await app.register(oversync, { database: url, tables: ['business.users'], getIdentity: () => ({ userId: 'alice', deviceId: 'phone' }) })
  await app.ready()
  log.take()
  const ask = async (status: number, headers = {}) => {
    const reply = await app.inject({ method: 'POST', url: '/sync/upload', headers: { 'x-status': String(status), ...headers }, payload: {} })
    return [reply.statusCode, JSON.parse(reply.body).error, reply.headers['retry-after']]
  }
  t.strictSame(await ask(429, { 'x-retry': '17' }), [429, 'too_many_requests', '17'])
  t.strictSame(await ask(429), [429, 'too_many_requests', '1'])
  t.strictSame(await ask(401), [401, 'authentication_failed', undefined])
  t.strictSame(await ask(403), [403, 'forbidden', undefined])
  t.strictSame(await ask(402), [403, 'forbidden', undefined])
  t.strictSame(await ask(503), [503, 'unavailable', '1'])
  t.strictSame(await ask(500), [500, 'internal_error', undefined])
  t.strictSame(await ask(302), [500, 'internal_error', undefined])
  t.strictSame(log.take().map(({ level }) => level), [INFO, INFO, INFO, INFO, INFO, ERROR, ERROR, ERROR])
})
