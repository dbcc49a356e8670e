import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { chaosProxy } from '../helpers/chaos-proxy.js'
import { contractProblems, requestProblems } from '../helpers/contract.js'
import { checkEveryReply } from '../helpers/every-reply.js'
import { waitFor } from '../helpers/wait-for.js'

t.test('chaos proxy', async t => {
  t.test('passes everything on while no rule is set', async t => {
    const { proxy, requests } = await setup(t)
    t.equal(await (await fetch(proxy.url, { method: 'POST', body: 'x'.repeat(100_000) })).text(), '100000')
    t.strictSame([requests(), proxy.accepted()], [1, 1])
  })

  t.test('cutAfterBytes loses a reply to a request that arrived', async t => {
    const { proxy, requests } = await setup(t)
    for (const cutAfterBytes of [0, 1, 40]) {
      proxy.rule.cutAfterBytes = cutAfterBytes
      const before = requests()
      await t.rejects(fetch(proxy.url).then(reply => reply.text()), `after ${cutAfterBytes} bytes`)
      t.equal(requests(), before + 1, 'the server got the request')
      proxy.cut()
    }
    proxy.rule.cutAfterBytes = Infinity
    t.equal((await fetch(proxy.url)).status, 200, 'and then all is well again')
  })

  t.test('delayMs delays request and reply', async t => {
    const { proxy } = await setup(t)
    proxy.rule.delayMs = 100
    const start = performance.now()
    await (await fetch(proxy.url)).text()
    t.ok(performance.now() - start >= 190)
  })

  t.test('blackHole keeps the caller waiting', async t => {
    const { proxy, requests } = await setup(t)
    proxy.rule.blackHole = true
    await t.rejects(fetch(proxy.url, { signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' })
    t.equal(requests(), 0)
  })

  t.test('refuse resets new connections', async t => {
    const { proxy } = await setup(t)
    proxy.rule.refuse = true
    await t.rejects(fetch(proxy.url))
    proxy.rule.refuse = false
    t.equal((await fetch(proxy.url)).status, 200)
  })

  t.test('cut() resets the open connections', async t => {
    const { proxy } = await setup(t)
    proxy.rule.blackHole = true
    const waiting = t.rejects(fetch(proxy.url))
    await waitFor('a connection', () => proxy.accepted() === 1)
    proxy.cut()
    await waiting
  })
})

t.test('contract check', async t => {
  const good = { statusCode: 200, headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' }, body: '{"schema_version":1}' }
  const check = (reply: Partial<typeof good>, path = '/sync/schema-version') => contractProblems('GET', path, { ...good, ...reply })
  t.strictSame(check({}), [])
  t.strictSame(check({}, '/sync/schema-version?a=1'), [], 'the query is no part of the path')
  t.match(check({}, '/sync/nothing'), [/GET \/sync\/nothing is not in openapi.json/])
  t.match(check({ statusCode: 418 }), [/status 418 is not/])
  t.match(check({ body: '{}' }), [/must have required property 'schema_version'/])
  t.match(check({ body: '{"schema_version":"1"}' }), [/schema_version must be integer/])
  t.match(check({ body: '{"schema_version":1,"secret":2}' }), [/must NOT have additional properties.*secret/], 'a field that is not documented')
  t.match(check({ body: 'oops' }), [/not JSON/])
  t.match(check({ headers: { ...good.headers, 'content-type': 'text/html' } }), [/content type "text\/html"/])
  t.match(check({ headers: { ...good.headers, 'cache-control': 'private' } }), [/no-store is missing/])
  t.match(check({ statusCode: 503, body: '{"error":"unavailable","message":"x"}' }), [/header Retry-After is missing/])
  t.match(check({ statusCode: 400, body: '{"error":"forbidden","message":"x"}' }), [/forbidden is not a code of 400/])
  t.strictSame(check({ statusCode: 404, body: '{"error":"not_found","message":"x"}' }, '/sync/nothing'), [])
  t.match(check({ statusCode: 404, body: '{"error":"Not Found","message":"x","statusCode":404}' }, '/sync/nothing'), [/statusCode/, /equal to one of/, /another code/])
  t.match(check({ statusCode: 405, body: '{"error":"method_not_allowed","message":"x"}' }), [/Allow is missing/])
  t.match(contractProblems('GET', '/sync/download', { ...good, statusCode: 409, body: '{"error":"upgrade_required","message":"x"}' }), [/upgrade_required is not a code of 409/])
})

t.test('request check', async t => {
  const change = { source_change_id: 1, table: 't', op: 'INSERT', pk: 'k', server_version: 0 }
  t.strictSame(requestProblems('POST', '/sync/upload', { changes: [change], unknown: 1 }), [])
  t.match(requestProblems('POST', '/sync/upload', { changes: [{ ...change, pk: 7 }] }), [/pk must be string/])
  t.match(requestProblems('POST', '/sync/upload', null), [/must be object/])
  t.strictSame(requestProblems('GET', '/sync/download?after=7&limit=1&schema=a&include_self=true&unknown=x'), [])
  t.match(requestProblems('GET', '/sync/download?after=-1&limit=1e3&schema=A'), [/after.*>= 0/, /limit.*integer/, /schema.*pattern/])
  t.match(requestProblems('GET', '/sync/nothing'), [/is not in openapi.json/])
})

t.test('the check of every reply sees the plugin\'s routes, and no others', async t => {
  const failures: string[] = []
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  checkEveryReply({ fail: (message: string, { problems }: { problems: string[] }) => { failures.push(`${message}: ${problems.join('; ')}`) } } as never, app, '/api/sync')
  let answer = '{"schema_version":1}'
  app.get('/api/sync/schema-version', async (_request, reply) => await reply.header('cache-control', 'no-store').type('application/json').send(answer))
  app.get('/else', async () => 'anything')
  await app.inject('/else')
  await app.inject('/api/sync/schema-version')
  t.strictSame(failures, [])
  answer = '{"schema_version":"1"}'
  await app.inject('/api/sync/schema-version?x=1')
  await app.inject({ method: 'HEAD', url: '/api/sync/schema-version' })
  await app.inject('/api/sync/nothing')
  t.match(failures, [/^GET .*schema_version must be integer/, /^HEAD .*schema_version must be integer/, /nothing 404 .*no-store is missing/])
})

/** A proxy before a server that answers with the length of the request. */
async function setup (t: Test) {
  let requests = 0
  const server = http.createServer((request, reply) => {
    requests++
    let length = 0
    request.on('data', (data: Buffer) => { length += data.length }).on('end', () => reply.end(String(length)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => new Promise(resolve => { server.close(resolve); server.closeAllConnections() }))
  const proxy = await chaosProxy(t, (server.address() as AddressInfo).port)
  return { proxy, requests: () => requests }
}
