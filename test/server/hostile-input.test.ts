import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import zlib from 'node:zlib'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { SYNCED_TABLES } from '../../examples/server/business-schema.js'
import oversync from '../../src/index.js'
import type { UploadResponse } from '../../src/contract/upload-response.js'
import { MAX_BODY_BYTES, MAX_JSON_CONTAINERS, MAX_PAYLOAD_BYTES } from '../../src/limits.js'
import { buildApp, john, log, put, read, uuid, verdicts } from '../helpers/app.js'
import { checkEveryReply } from '../helpers/every-reply.js'
import { exchange, repliesIn, requestBytes } from '../helpers/raw-http.js'

const good = (n = 1) => JSON.stringify({ changes: [put(n, 'users', uuid(n), john())] })
const SIGNED_IN = { 'x-user': 'alice', 'x-device': 'phone', 'content-type': 'application/json' }

async function listening (t: Test, options?: Parameters<typeof buildApp>[1]) {
  const world = await buildApp(t, options)
  await world.app.listen({ port: 0, host: '127.0.0.1' })
  return { ...world, port: (world.app.server.address() as AddressInfo).port }
}

t.test('odd paths and methods over a socket lead nowhere and are answered as JSON (H17)', async t => {
  const { sql, port } = await listening(t)
  // What begins with the prefix is the plugin's to answer; the rest is the app's, or no HTTP at all.
  const cases: Array<[string, number, string]> = [
    ...['/sync/nothing', '/sync/', '/sync//upload', '/sync/./upload', '/sync/../sync/upload', '/sync/%2e%2e/sync/upload', '/sync/..%2fupload', '/sync/upload/', '/sync/Upload', '/sync/upload%00', '/sync/upload%20', '/sync/upload;a=1', '/sync/upload%3Fa=1', `/sync/${'x'.repeat(5000)}`, '/sync', '/%73ync/../upload']
      .map((path): [string, number, string] => [path, 404, 'not_found']),
    ...['//sync/upload', '/', '/SYNC/upload', '*', '/..%2fsync/upload'].map((path): [string, number, string] => [path, 404, 'Not Found']),
    ...['/sync/%', '/sync/%zz', '/sync/%c0%ae'].map((path): [string, number, string] => [path, 400, 'Bad Request']),
    ...['/sync/upload x', '/sync/é', 'sync/upload', '/sync/\u0000'].map((path): [string, number, string] => [path, 400, 'Bad Request'])
  ]
  for (const [url, status, error] of cases) {
    const [reply, ...more] = repliesIn(await exchange(port, requestBytes({ method: 'POST', url, headers: SIGNED_IN, body: good() })))
    t.equal(more.length, 0)
    t.equal(`${reply?.statusCode} ${JSON.parse(reply?.body as string).error as string}`, `${status} ${error}`, url.slice(0, 40))
    t.type(JSON.parse(reply?.body as string).message, 'string')
  }
  for (const method of ['PUT', 'PATCH', 'DELETE', 'GET', 'HEAD', 'TRACE', 'PROPFIND', 'SEARCH', 'OPTIONS']) {
    const [reply] = repliesIn(await exchange(port, requestBytes({ method, url: '/sync/upload', headers: SIGNED_IN, ...(method === 'HEAD' ? {} : { body: good() }) })))
    t.equal(reply?.statusCode, ['TRACE', 'PROPFIND', 'SEARCH', 'OPTIONS'].includes(method) ? 404 : 405, method)
  }
  for (const method of ['BREW', 'post', 'POST\t', '']) {
    const [reply] = repliesIn(await exchange(port, requestBytes({ method, url: '/sync/upload', headers: SIGNED_IN, body: good() })))
    t.equal(reply?.statusCode, 400, JSON.stringify(method))
  }
  t.strictSame(await log(sql, 'alice'), [], 'no upload came through')
})

t.test('bytes that no client would send: one meaning or none, and no effect beside it (B18, B3)', async t => {
  const { sql, port, user } = await listening(t)
  const smuggled = requestBytes({ method: 'POST', url: '/sync/upload', headers: SIGNED_IN, body: good(7) }).toString()
  const head = (lines: string, method = 'POST') => `${method} /sync/upload HTTP/1.1\r\nhost: server\r\nx-user: alice\r\nx-device: phone\r\ncontent-type: application/json\r\n${lines}\r\n`
  const size = Buffer.byteLength(good())
  const bad: Array<[string, string | Buffer]> = [
    ['CL and TE', head('content-length: 4\r\ntransfer-encoding: chunked\r\n') + `0\r\n\r\n${smuggled}`], ['TE and CL', head(`transfer-encoding: chunked\r\ncontent-length: ${size}\r\n`) + good()],
    ['two lengths', head(`content-length: ${size}\r\ncontent-length: 0\r\n`) + good() + smuggled], ['two equal lengths', head(`content-length: ${size}\r\ncontent-length: ${size}\r\n`) + good()],
    ['a list of lengths', head(`content-length: ${size}, ${size}\r\n`) + good()], ['a length that is negative', head('content-length: -1\r\n') + good()], ['a length with a sign', head(`content-length: +${size}\r\n`) + good()],
    ['a length in hex', head('content-length: 0x10\r\n') + good()], ['a length beyond 2^64', head('content-length: 99999999999999999999\r\n') + good()],
    ['TE twice', head('transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n') + `0\r\n\r\n${smuggled}`], ['TE of another kind', head('transfer-encoding: xchunked\r\n') + `0\r\n\r\n${smuggled}`],
    ['TE with a tab before the colon', head('transfer-encoding\t: chunked\r\n') + `0\r\n\r\n${smuggled}`], ['a chunk size that is none', head('transfer-encoding: chunked\r\n') + `zz\r\n${good()}\r\n0\r\n\r\n`],
    ['a chunk that is too short', head('transfer-encoding: chunked\r\n') + `${(size + 3).toString(16)}\r\n${good()}\r\n0\r\n\r\n`], ['a chunk size beyond 2^64', head('transfer-encoding: chunked\r\n') + `fffffffffffffffff\r\n${good()}`],
    ['a header without a colon', head('nonsense\r\n') + good()], ['a folded header', head(`x: a\r\n content-length: ${size}\r\n`) + good()], ['NUL in a header', head('x: a\0b\r\n') + good()], ['no host', `POST /sync/upload HTTP/1.1\r\ncontent-length: ${size}\r\n\r\n${good()}`],
    ['headers without end', head(`x: ${'x'.repeat(100_000)}\r\n`) + good()], ['HTTP/3', head('').replace('HTTP/1.1', 'HTTP/3.7')], ['bare line feeds', head(`content-length: ${size}\r\n`).replaceAll('\r\n', '\n') + good()],
    ['TLS', Buffer.from('16030100a5010000a10303', 'hex')], ['garbage', Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 89) % 256))], ['JSON alone', good()], ['nothing', ''],
    ['a body cut short', head(`content-length: ${size}\r\n`) + good().slice(0, -5)], ['a head cut short', head('').slice(0, -10)]
  ]
  for (const [what, bytes] of bad) {
    const replies = repliesIn(await exchange(port, bytes, { ends: true }))
    t.ok(replies.every(({ statusCode }) => statusCode >= 400 && statusCode < 500), `${what}: ${replies.map(({ statusCode }) => statusCode).join()}`)
    t.strictSame(await log(sql, 'alice'), [], `${what}: no effect`)
  }
  const pipelined = [good(1), good(2), good(1), '{}', good(3)].map(body => requestBytes({ method: 'POST', url: '/sync/upload', headers: { ...SIGNED_IN, connection: 'keep-alive' }, body }))
  const last = requestBytes({ method: 'GET', url: '/sync/download?include_self=true', headers: SIGNED_IN })
  const replies = repliesIn(await exchange(port, Buffer.concat([...pipelined, last])))
  t.strictSame(replies.map(({ statusCode }) => statusCode), [200, 200, 200, 200, 200, 200], 'pipelined requests are answered in order')
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 2 I v1', '3 users 3 I v1'], 'and applied once each')
  const chunked = head('transfer-encoding: chunked\r\nconnection: close\r\n') + [...good(4)].map(character => `1\r\n${character}\r\n`).join('') + '0\r\n\r\n'
  t.match(repliesIn(await exchange(port, chunked))[0]?.body, '"applied"', 'a body in chunks of one byte')
  t.equal((await user('alice').download({ include_self: true })).changes.length, 4)
})

t.test('a body with Content-Encoding is refused unread, whatever is in it (H20, B17)', async t => {
  const { sql, user, port } = await listening(t)
  const bomb = zlib.gzipSync(Buffer.alloc(200 * 1024 * 1024, 'x'))
  const bodies: Array<[string, string, Buffer]> = [
    ['gzip', 'gzip', zlib.gzipSync(good())], ['GZIP', 'GZIP', zlib.gzipSync(good())], ['br', 'br', zlib.brotliCompressSync(good())], ['deflate', 'deflate', zlib.deflateSync(good())], ['an unknown one', 'x-none', Buffer.from(good())],
    ['two', 'gzip, br', Buffer.from(good())], ['gzip that is none', 'gzip', Buffer.from(good())], ['gzip cut short', 'gzip', zlib.gzipSync(good()).subarray(0, 20)], ['a bomb', 'gzip', bomb]
  ]
  const before = process.memoryUsage().rss
  for (const [what, encoding, body] of bodies) {
    const reply = await user('alice').uploadText(body, { 'content-encoding': encoding })
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '415 unsupported_media_type', what)
    const [overSocket] = repliesIn(await exchange(port, requestBytes({ method: 'POST', url: '/sync/upload', headers: { ...SIGNED_IN, 'content-encoding': encoding }, body })))
    t.equal(overSocket?.statusCode, 415, `${what}, over a socket`)
  }
  t.ok(process.memoryUsage().rss - before < 150 * 1024 * 1024, 'nothing was unpacked')
  t.strictSame(await log(sql, 'alice'), [])
  t.match((await user('alice').uploadText(good(), { 'content-encoding': 'identity' })).body, '"applied"', 'identity is no encoding')
})

t.test('an app that unpacks bodies itself may: what it hands on counts, within the limit (H20, B17)', async t => {
  const { url, sql } = await buildApp(t)
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  checkEveryReply(t, app)
  // What @fastify/compress does: a hook of the route, before its others, that pipes the body through zlib.
  app.addHook('onRoute', route => {
    const others = route.preParsing === undefined ? [] : [route.preParsing].flat()
    route.preParsing = [async (request, _reply, payload) => {
      if (request.headers['content-encoding'] !== 'gzip') return payload
      const unpacked = Object.assign(payload.pipe(zlib.createGunzip()), { receivedEncodedLength: 0 })
      payload.on('data', (data: Buffer) => { unpacked.receivedEncodedLength += data.length })
      return unpacked
    }, ...others]
  })
  await app.register(oversync, { database: url, tables: SYNCED_TABLES, maxBodyBytes: 100_000, getIdentity: () => ({ userId: 'alice', deviceId: 'phone' }) })
  const upload = async (body: Buffer, encoding: string) => await app.inject({ method: 'POST', url: '/sync/upload', headers: { 'content-type': 'application/json', 'content-encoding': encoding }, payload: body })
  t.match((await upload(zlib.gzipSync(good()), 'gzip')).body, '"applied"')
  t.equal((await upload(zlib.gzipSync(Buffer.alloc(50 * 1024 * 1024, ' ')), 'gzip')).statusCode, 413, 'a bomb is cut off at the limit')
  t.equal((await upload(zlib.brotliCompressSync(good(2)), 'br')).statusCode, 415)
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'])
})

t.test('a path that is not there is 404 before its body is read, whoever asks (H17, H19)', async t => {
  const { app } = await buildApp(t)
  for (const body of ['{', '[]', 'x'.repeat(5_000_000)]) {
    for (const url of ['/sync/nothing', '/sync/upload/x']) {
      const reply = await app.inject({ method: 'POST', url, headers: { 'content-type': 'application/json' }, payload: body })
      t.equal(`${reply.statusCode} ${reply.json().error as string}`, '404 not_found', `${url} ${body.slice(0, 5)}`)
    }
  }
})

t.test('texts that look alike are as different as their bytes (H14)', async t => {
  const { sql, user, app } = await buildApp(t)
  const texts = ['é', 'e\u0301', 'Å', '\u212b', 'ﬁ', 'fi', 'а', 'a', 'a ', ' a', 'a\u00a0', 'a\u200b', '\u202eabc', 'abc', '\ufeffabc', '\uffff', '\u{10ffff}', '\uff5e', '\u{10000}', 'ß', 'SS', 'İ', 'i̇', '\r\n', '\n', '\t', '']
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload(texts.map((name, i) => put(i + 1, 'users', uuid(i + 1), { name, email: 'e' })))), texts.map((_, i) => `${i + 1} applied v1`))
  t.strictSame((await user('alice', 'pad').download()).changes.map(({ payload }) => payload?.['name']), texts, 'at the peers')
  t.strictSame((await sql`select name from business.users order by id`).map(row => row['name'] as string), texts, 'in the table')
  const swapped = texts.map((name, i) => put(i + 1, 'users', uuid(i + 1), { name: texts[i % 2 === 0 ? i + 1 : i - 1] ?? 'other', email: 'e' }))
  t.ok(verdicts(await phone.upload(swapped)).every(line => line.endsWith('invalid source_change_id_reused')), 'a replay with a look-alike is none')
  const escaped = texts.map((name, i) => put(i + 1, 'users', uuid(i + 1), { name, email: 'e' }))
  const ascii = JSON.stringify({ epoch: await phone.epoch(), changes: escaped }).replace(/[^\0-\x7f]/g, character => '\\u' + character.charCodeAt(0).toString(16).padStart(4, '0'))
  t.strictSame(verdicts(read<UploadResponse>(await phone.uploadText(ascii))), texts.map((_, i) => `${i + 1} applied v1`), 'escapes mean the characters')
  // Users and devices too; blanks at the ends of a header would be HTTP's.
  for (const [i, userId] of ['é', 'e\u0301', 'E\u0301', 'a', 'a ', '\u202ea'].entries()) {
    const { json } = await app.oversync.upload({ userId, deviceId: 'phone' }, { changes: [put(1, 'users', uuid(500 + i), john())] })
    t.match(JSON.parse(json), { highest_server_seq: 1, statuses: [{ status: 'applied' }] }, JSON.stringify(userId))
    t.match(JSON.parse((await app.oversync.upload({ userId, deviceId: 'phone ' }, { changes: [put(1, 'users', uuid(600 + i), john())] })).json), { highest_server_seq: 2, next_source_change_id: 2 })
  }
})

t.test('a batch of 100,000 changes is refused as a whole, quickly, and no larger body gets so far (G3)', async t => {
  const { sql, user } = await buildApp(t)
  const changes = Array.from({ length: 100_000 }, (_, i) => put(i + 1, 'users', uuid(i + 1), john()))
  const reply = await user('alice').upload(changes)
  t.strictSame([reply.accepted, reply.highest_server_seq, reply.next_source_change_id], [false, 0, 1])
  t.equal(reply.statuses.length, 100_000)
  t.ok(verdicts(reply).every((line, i) => line === `${i + 1} invalid batch_too_large`))
  t.strictSame(await log(sql, 'alice'), [])
  t.equal((await sql`select from business.users limit 1`).length, 0)
  t.equal((await user('alice').uploadText(JSON.stringify({ changes: [...changes, ...changes, ...changes] }))).statusCode, 413)
})

t.test('a payload of exactly 10 MiB passes there and back, one byte more is refused, in bytes and not in characters (G4)', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('alice')
  const sized = (n: number, character: string, bytes: number): string => {
    const frame = JSON.stringify({ id: uuid(n), doc: '' })
    const room = bytes - Buffer.byteLength(frame)
    const text = character.repeat(Math.floor(room / Buffer.byteLength(character)))
    return JSON.stringify({ id: uuid(n), doc: text + 'y'.repeat(room - Buffer.byteLength(text)) })
  }
  const upload = async (n: number, payload: string) => verdicts(read<UploadResponse>(await phone.uploadText(`{"changes":[{"source_change_id":${n},"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(n)}","server_version":0,"payload":${payload}}]}`)))
  let n = 0
  for (const character of ['x', 'é', '\u{1F600}']) {
    const fits = sized(++n, character, MAX_PAYLOAD_BYTES)
    t.equal(Buffer.byteLength(fits), MAX_PAYLOAD_BYTES)
    t.strictSame(await upload(n, fits), [`${n} applied v1`], `${character} at the limit`)
    t.ok((await user('alice', 'pad').download({ after: (n - 1) / 2, limit: 1 })).text.includes(fits), 'and comes back to the last byte')
    t.strictSame(await upload(++n, sized(n, character, MAX_PAYLOAD_BYTES + 1)), [`${n} invalid bad_payload`], `${character} one byte more`)
  }
  t.equal((await sql`select from business.typed_rows`).length, 3)
})

t.test('what is large costs in proportion to its size: no pattern, scan or sort is worse (H19)', { timeout: 600_000 }, async t => {
  const { user } = await buildApp(t, {
    schemaSql: 'create table public.odd (id uuid primary key, tz timestamptz, ts timestamp, d date, t time, dec numeric(20,2), wide numeric, ratio float8, small float4, ref uuid, doc jsonb, flag boolean, big bigint, name varchar(20), raw bytea)',
    tables: ['public.odd']
  })
  const repeat = (text: string, size: number) => text.repeat(Math.ceil(size / text.length))
  const numbered = (size: number, member: (i: number) => string) => Array.from({ length: Math.ceil(size / member(1e5).length) }, (_, i) => member(i)).join()
  const payload = (text: string) => `{"changes":[{"source_change_id":1,"table":"odd","op":"INSERT","pk":"${uuid(1)}","server_version":0,"payload":{${text}}}]}`
  const change = (text: string) => `{"changes":[{"source_change_id":1,"table":"odd","op":"INSERT","pk":"${uuid(1)}","server_version":0,"payload":{},${text}}]}`
  const cases: Array<[string, (size: number) => string]> = [
    ['a payload of keys', size => payload(numbered(size, i => `"k${i}":1`))], ['a payload of keys that look like numbers', size => payload(numbered(size, i => `"${i * 4096}":1`))], ['a document of keys', size => payload(`"doc":{${numbered(size, i => `"k${i}":1`)}}`)],
    ['escaped keys', size => payload(`"doc":{${numbered(size, i => `"\\u006b${i}":1`)}}`)], ['one key again and again', size => payload(numbered(size, () => '"a":1'))],
    ['quotes and backslashes', size => payload(`"doc":"${repeat('\\\\\\"', size)}"`)], ['backslashes', size => payload(`"doc":"${repeat('\\\\', size)}"`)], ['NULs', size => payload(`"doc":"${repeat('\\u0000', size)}"`)], ['escaped halves', size => payload(`"doc":"${repeat('\\ud83d\\ude00', size)}"`)],
    ['nested arrays', size => payload(`"doc":${'['.repeat(size / 3)}${']'.repeat(size / 3)}`)], ['nested arrays where nobody looks', size => `{"x":${'['.repeat(size / 3)}${']'.repeat(size / 3)}}`], ['white space', size => payload(repeat(' \n\t', size))],
    ['a long key', size => change(`"pk":"${repeat('0', size)}"`)], ['a key of prefixes', size => change(`"pk":"${repeat('urn:uuid:', size)}"`)], ['a key of braces', size => change(`"pk":"${repeat('{', size)}"`)],
    ['a long table', size => change(`"table":"${repeat('a', size)}!"`)], ['a table of blanks', size => change(`"table":"${repeat(' ', size)}x"`)], ['a long op', size => change(`"op":"${repeat(' ', size)}INSERT${repeat(' ', size)}"`)], ['a long number', size => change(`"source_change_id":${repeat('9', size)}`)],
    ...['tz', 'ts', 'd', 't'].flatMap((column): Array<[string, (size: number) => string]> => [
      [`${column} of digits`, size => payload(`"${column}":"2${repeat('0', size)}"`)], [`${column} of a fraction`, size => payload(`"${column}":"2024-01-01 10:00:00.${repeat('1', size)}x"`)], [`${column} of blanks`, size => payload(`"${column}":"2${repeat(' ', size)}x"`)], [`${column} of dots`, size => payload(`"${column}":"2${repeat('.123456', size)}"`)]
    ]),
    ...['ref', 'raw'].flatMap((column): Array<[string, (size: number) => string]> => [[`${column} of base64`, size => payload(`"${column}":"${repeat('A', size)}=="`)], [`${column} of dashes`, size => payload(`"${column}":"${repeat('-', size)}"`)]]),
    ...['flag', 'big', 'name'].map((column): [string, (size: number) => string] => [`${column} of text`, size => payload(`"${column}":"${repeat('1', size)}"`)])
  ]
  const [small, factor] = [200_000, 10]
  for (const [what, make] of cases) {
    const [short, long] = [make(small), make(small * factor)]
    const [one, ten] = [await quickest(short), await quickest(long)]
    // Ten times the size in forty times the time would still be no power of it; 100 ms are for what costs the same at any size.
    t.ok(ten.ms < 4 * factor * one.ms + 100, `${what}: ${Math.round(one.ms)} ms for ${short.length} bytes, ${Math.round(ten.ms)} ms for ${long.length}`)
  }

  async function quickest (body: string): Promise<{ ms: number }> {
    let ms = Infinity
    for (let i = 0; i < 2; i++) {
      const started = performance.now()
      const { statusCode } = await user(`user ${Math.random()}`).uploadText(body)
      ms = Math.min(ms, performance.now() - started)
      if (statusCode !== 200 && statusCode !== 400) throw new Error(`answered ${statusCode}`)
    }
    return { ms }
  }
})

t.test('a body whose parse would be many times its size is refused before it is parsed (G1, H19, P19)', async t => {
  const { sql, user } = await buildApp(t)
  const size = MAX_BODY_BYTES - 1000
  const payload = (text: string) => `{"changes":[{"source_change_id":1,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(1)}","server_version":0,"payload":${text}}]}`
  const before = process.memoryUsage().rss
  for (const [what, body] of [
    ['arrays in arrays', `{"x":${'['.repeat(size / 2)}${']'.repeat(size / 2)}}`], ['empty arrays', `{"x":[${'[],'.repeat(size / 3)}0]}`], ['empty objects in a payload', payload(`{"doc":[${'{},'.repeat(size / 3)}0]}`)], ['brackets that never close', '['.repeat(size)]
  ] as const) {
    const reply = await user('alice').uploadText(body)
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '413 body_too_large', what)
  }
  t.match((await user('alice').uploadText(payload(`{${'"":0,'.repeat(size / 5)}"a":0}`))).body, '"bad_payload"', 'one key, millions of times')
  t.ok(process.memoryUsage().rss - before < 700 * 1024 * 1024, `${Math.round((process.memoryUsage().rss - before) / 1e6)} MB for all of them`)
  t.equal((await user('alice').uploadText(`{"x":${JSON.stringify('['.repeat(2_000_000))},"y":[${'[],'.repeat(MAX_JSON_CONTAINERS - 2)}0]}`)).statusCode, 200, 'brackets in a text are none, and the limit itself passes')
  t.equal((await user('alice').uploadText(`{"y":[${'[],'.repeat(MAX_JSON_CONTAINERS - 1)}0]}`)).statusCode, 413, 'one more')
  t.equal((await user('alice').uploadText(`{"x":"${'['.repeat(2_000_000)}`)).statusCode, 400, 'a text that never ends')
  t.strictSame(await log(sql, 'alice'), [])
})

t.test('digits without end are refused or kept, and never hold the database (H8, H19)', { timeout: 120_000 }, async t => {
  const { user } = await buildApp(t)
  for (const [column, literal] of [['dec', '9'.repeat(100_000)], ['dec', '9'.repeat(2_000_000)], ['dec', '1e131071'], ['dec', '1e9999999'], ['ratio', `0.${'1'.repeat(2_000_000)}`], ['ratio', '1e999999999999'], ['big', '1'.repeat(2_000_000)], ['doc', `[${'1e131071,'.repeat(50)}1]`]] as const) {
    const started = performance.now()
    const reply = await user(`${column} ${literal.length}`).uploadText(`{"changes":[{"source_change_id":1,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${uuid(literal.length)}","server_version":0,"payload":{"${column}":${literal}}}]}`)
    t.equal(reply.statusCode, 200)
    t.match(reply.body, /"status":"(applied|invalid)"/, `${column} of ${literal.length} characters in ${Math.round(performance.now() - started)} ms`)
  }
})

t.test('what a caller sends cannot forge a line of the log (H22)', async t => {
  const { url } = await buildApp(t)
  const lines: string[] = []
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { lines.push(...chunk.toString().split('\n').filter(line => line !== '')); done() } })
  const app = Fastify({ logger: { level: 'trace', stream } })
  t.teardown(async () => { await app.close() })
  await app.register(oversync, { database: url, tables: SYNCED_TABLES, getIdentity: () => ({ userId: 'evil\n{"level":60}', deviceId: '\u001b[31m\r\nphone' }) })
  const forged = '\r\n{"level":60,"msg":"forged"}\u001b[2J'
  await app.inject({ method: 'POST', url: '/sync/upload', headers: { 'content-type': 'application/json' }, payload: JSON.stringify({ changes: [{ ...put(1, 'users', forged, {}), table: forged }, { ...put(2, 'users', uuid(1), { name: null }), op: forged }, put(3, 'users', uuid(2), { name: null, email: forged })] }) })
  await app.inject({ url: `/sync/download?after=${encodeURIComponent(forged)}` })
  await app.inject({ url: `/sync/${encodeURIComponent(forged)}` })
  await app.inject({ method: 'POST', url: '/sync/upload', headers: { 'content-type': 'application/json' }, payload: `{"changes":[{"${JSON.stringify(forged).slice(1, -1)}":1}]}` })
  t.ok(lines.length > 6, `${lines.length} lines`)
  for (const line of lines) t.ok(JSON.parse(line).level < 60 && !line.includes('\u001b'), line.slice(0, 120))
})

t.test('a client that hangs up in the middle of its body leaves nothing behind (B3)', async t => {
  const { sql, app, port, user } = await listening(t)
  const text = good()
  const bytes = requestBytes({ method: 'POST', url: '/sync/upload', headers: SIGNED_IN, body: text })
  for (let cut = bytes.length - text.length; cut < bytes.length; cut += 7) {
    const arrived = once(app.server, 'request')
    await exchange(port, bytes.subarray(0, cut), { ends: true })
    await arrived
  }
  t.strictSame(await log(sql, 'alice'), [])
  t.strictSame(verdicts(read<UploadResponse>(await user('alice').uploadText(text))), ['1 applied v1'])
})
