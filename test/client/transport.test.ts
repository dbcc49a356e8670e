// B4, B11, B14, B15, B17, B20, E4: what the network may answer.
import t from 'tap'
import { refuseUnloadable } from '../../client/drivers/better-sqlite3.js'
import { CLIENT_ERRORS, DriverError, SyncClientError, type SyncClientOptions } from '../../client/index.js'
import { retryAfter } from '../../client/http/reply-error.js'
import { createDevice, id } from './device.js'
import { FakeServer, reply } from './fake-server.js'

const html = (status: number): Response => new Response('<html>Sign in</html>', { status, headers: { 'content-type': 'text/html' } })

t.test('no reply but a JSON reply of ours counts as one (B4, B14, B15)', async t => {
  const answers: Array<[string, () => Response, object?]> = [
    ['not_json', () => html(200)],
    ['not_json', () => reply(200, '{"accepted":true,"statu')],
    ['not_json', () => reply(200, '')],
    ['protocol_error', () => reply(200, '{}')],
    ['protocol_error', () => reply(204 + 2, '{}')],
    ['redirected', () => new Response(null, { status: 302, headers: { location: 'https://login' } })],
    ['authentication_failed', () => html(401), { status: 401 }],
    ['authentication_failed', () => reply(401, '{"error":"authentication_failed","message":"Who are you?"}'), { message: 'Who are you?' }],
    ['forbidden', () => html(403)],
    ['not_found', () => html(404)],
    ['unavailable', () => html(502)],
    ['unavailable', () => new Response('x', { status: 504, headers: { 'retry-after': '7' } }), { retryAfterSeconds: 7 }],
    ['unavailable', () => reply(503, '{"error":"unavailable","message":"Later."}', { 'retry-after': '3' }), { retryAfterSeconds: 3 }],
    ['too_many_requests', () => reply(429, '{}', { 'retry-after': '1' }), { retryAfterSeconds: 1, retry: true }],
    ['server_error', () => reply(500, '{"error":"internal_error","message":"Oops."}')],
    ['server_error', () => html(599)],
    ['upgrade_required', () => reply(426, '{"error":"upgrade_required","message":"Too old."}')],
    ['protocol_error', () => html(409)],
    ['history_changed', () => reply(409, '{"error":"history_changed","message":"Restored."}'), { retry: false }],
    ['network', () => { throw new TypeError('fetch failed') }, { cause: { message: 'fetch failed' } }]
  ]
  for (const [code, answer, details] of answers) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
    await device.client.syncOnce()
    device.db.exec("update authors set name = 'two'")
    server.onRequest = answer
    await t.rejects(device.client.uploadOnce(), { name: 'SyncClientError', code, ...details }, code)
    t.match(device.client.status(), { outbox: 1, pending: 0, cursor: 1, lastError: { code } })
    await t.rejects(device.client.downloadOnce(), { code })
    t.same(device.all('select name from authors'), [{ name: 'two' }])
    server.onRequest = (_, answer) => answer()
    await device.client.syncOnce()
    t.equal(server.payload('authors', id(1))?.['name'], 'two')
    t.equal(server.log.length, 2)
    t.equal(device.client.status().lastError, null)
  }
})

t.test('a server that never answers, or stops in the middle, ends in a timeout (B11)', async t => {
  for (const stop of ['before', 'within'] as const) {
    const device = createDevice(t, {
      timeoutMs: 20,
      fetch: async () => stop === 'before'
        ? new Promise<Response>(() => {})
        : new Response(new ReadableStream({ start (controller) { controller.enqueue(new TextEncoder().encode('{"accepted"')) } }), { headers: { 'content-type': 'application/json' } })
    })
    await t.rejects(device.client.syncOnce(), { code: 'timeout', retry: true }, stop)
  }
})

t.test('the caller\'s signal ends a call, before, during, and while the token is asked for', async t => {
  const cases: Array<[string, Partial<SyncClientOptions>]> = [
    ['fetch', { fetch: async () => new Promise<Response>(() => {}) }],
    ['token', { getToken: async () => new Promise<string>(() => {}) }]
  ]
  for (const [name, options] of cases) {
    const device = createDevice(t, options)
    const controller = new AbortController()
    const call = device.client.syncOnce({ signal: controller.signal })
    controller.abort(new Error('enough'))
    await t.rejects(call, { code: 'aborted' }, name)
    await t.rejects(device.client.syncOnce({ signal: controller.signal }), { code: 'aborted' })
  }
})

t.test('an abort after the server committed is learned by the next sync (B20)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  const controller = new AbortController()
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes('"payload"') === true) controller.abort()
    return response
  }
  await t.rejects(device.client.syncOnce({ signal: controller.signal }), { code: 'aborted' })
  t.equal(server.log.length, 1)
  server.onRequest = (_, answer) => answer()
  t.match(await device.client.syncOnce(), { upload: { applied: 1 } })
  t.equal(server.log.length, 1)
})

t.test('an endless reply is cut off (B17)', async t => {
  const chunk = new Uint8Array(1 << 22).fill(32)
  let isCancelled = false
  const device = createDevice(t, {
    fetch: async () => new Response(new ReadableStream({ pull (controller) { controller.enqueue(chunk) }, cancel () { isCancelled = true } }), { headers: { 'content-type': 'application/json' } })
  })
  await t.rejects(device.client.syncOnce(), { code: 'protocol_error', message: /longer/ })
  t.equal(isCancelled, true)
})

t.test('headers, token and addresses', async t => {
  const server = new FakeServer()
  const seen: Headers[] = []
  const urls: string[] = []
  const asked: unknown[] = []
  server.onRequest = ({ headers }, answer) => {
    seen.push(headers)
    return answer()
  }
  const device = createDevice(t, {
    server,
    deviceId: 'phone',
    url: 'http://server.test/base/sync/',
    headers: { 'x-app': 'mine' },
    getToken: about => { asked.push(about); return `token-${asked.length}` },
    fetch: async (url, init) => {
      urls.push(url)
      t.equal(init.redirect, 'manual')
      return server.fetch(url, init)
    }
  })
  await device.client.syncOnce()
  t.same(asked, [{ deviceId: 'phone', refresh: false }, { deviceId: 'phone', refresh: false }])
  t.same(seen.map(headers => headers.get('authorization')), ['Bearer token-1', 'Bearer token-2'])
  t.ok(seen.every(headers => headers.get('oversync-source-id') === 'phone' && headers.get('x-app') === 'mine'))
  t.equal(urls[0], 'http://server.test/base/sync/upload')
  t.match(urls[1], /^http:\/\/server\.test\/base\/sync\/download\?after=0&limit=1000&schema=business&include_self=false&epoch=epoch-1$/)
})

t.test('getToken that throws', async t => {
  const device = createDevice(t, { getToken: () => { throw new Error('signed out') } })
  await t.rejects(device.client.syncOnce(), { code: 'token_unavailable', cause: { message: 'signed out' } })
})

t.test('Retry-After as seconds or date, never negative, never for ever (B15, E4)', async t => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  t.equal(retryAfter('120', now), 120)
  t.equal(retryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now), 30)
  t.equal(retryAfter('Thu, 01 Jan 2015 00:00:30 GMT', now), 0)
  t.equal(retryAfter('99999999999', now), 86_400)
  t.equal(retryAfter('soon', now), undefined)
  t.equal(retryAfter(null, now), undefined)
})

t.test('options are checked by name', async t => {
  const wrong: Array<[Partial<SyncClientOptions>, RegExp]> = [
    [{ url: '/sync' }, /url/], [{ userId: '' }, /userId/], [{ deviceId: '' }, /deviceId/], [{ deviceId: 'oversync:x' }, /deviceId/], [{ schema: 'a b' }, /schema/],
    [{ tables: [] }, /tables/], [{ tables: ['authors', 'Authors'] }, /authors twice/], [{ tables: [{ table: 'authors', conflict: 'x' as 'serverWins' }] }, /conflict/],
    [{ timeoutMs: 0 }, /timeoutMs/], [{ uploadBatchSize: 1.5 }, /uploadBatchSize/], [{ downloadLimit: 2 ** 31 }, /downloadLimit/]
  ]
  for (const [options, message] of wrong) t.throws(() => createDevice(t, options), { code: 'invalid_option', message })
})

t.test('every error code says whether to try again and what to do', async t => {
  for (const [code, { retry, advice }] of Object.entries(CLIENT_ERRORS)) {
    t.equal(new SyncClientError(code as keyof typeof CLIENT_ERRORS, 'm').retry, retry)
    t.match(advice, /\.$/)
  }
})

t.test('better-sqlite3 13 is refused where Node would crash on it', async t => {
  t.throws(() => refuseUnloadable('13.2.0', 9), { code: 'unsupported', message: /13\.2\.0.*Node-API/ })
  t.ok(new DriverError('other', 'm') instanceof Error)
  for (const [version, napi] of [['12.11.1', 9], ['13.2.0', 10], [undefined, 9]] as const) t.equal(refuseUnloadable(version, napi), undefined)
})
