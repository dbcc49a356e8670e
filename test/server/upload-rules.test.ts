import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { MAX_JSON_DEPTH, MAX_KEY_BYTES, MAX_PAYLOAD_KEYS } from '../../src/limits.js'
import { buildApp, del, john, log, put, read, uuid, verdicts } from '../helpers/app.js'
import { parseTable } from '../helpers/parse-table.js'
import type { UploadResponse } from '../../src/index.js'

const KEY = 'abcdef01-2345-6789-abcd-ef0123456789'

/** A body with one change; `fields` replace or add members of the change, as JSON text. */
function body (fields = '', change = `"source_change_id":1,"schema":"business","table":"users","op":"INSERT","pk":"${KEY}","server_version":0,"payload":{"name":"n","email":"e"}`): string {
  return `{"changes":[{${change}${fields === '' ? '' : ',' + fields}}]}`
}

t.test('names, operations and keys are normalised, and what cannot be is refused (H2, H3, H12)', async t => {
  const { user, sql } = await buildApp(t, {
    schemaSql: 'create table public.loose (id uuid primary key, name text, email text); create table public."order" (id uuid primary key, name text, email text)',
    tables: ['loose', 'public.order']
  })
  // A member given twice: the last one counts, so that each line replaces what the body has.
  const cases = parseTable(`
what                         fields                                        verdict
as it is                     "op":"INSERT"                                 applied v1
schema in capitals           "schema":" Business\\t"                       applied v1
no schema means public       "schema":"public","table":"loose"             applied v1
a reserved word              "schema":"public","table":"Order"             applied v1
table in capitals            "table":" USERS\\t"                            applied v1
op in small letters          "op":" update\\n"                             applied v1
op mixed                     "op":"InSeRt"                                 applied v1
unknown op                   "op":"UPSERT"                                 invalid bad_payload
empty op                     "op":""                                       invalid bad_payload
two ops                      "op":"INSERT UPDATE"                          invalid bad_payload
empty schema                 "schema":""                                   invalid bad_payload
schema with a dash           "schema":"busi-ness"                          invalid bad_payload
schema with a dot            "schema":"business.users"                     invalid bad_payload
empty table                  "table":" "                                   invalid bad_payload
table with quotes            "table":"users\\"; drop table x"              invalid bad_payload
table with a blank inside    "table":"us ers"                              invalid bad_payload
a table that is not there    "table":"nothing"                             invalid unregistered_table
a table that does not sync   "schema":"sync","table":"change_log"          invalid unregistered_table
a table of another schema    "schema":"public"                             invalid unregistered_table
a name of JavaScript         "table":"constructor"                         invalid unregistered_table
another name of JavaScript   "table":"__proto__"                           invalid unregistered_table
key in capitals              "pk":"${KEY.toUpperCase()}"                   applied v1
key of 32 digits             "pk":"${KEY.replaceAll('-', '')}"             applied v1
key in braces                "pk":"{${KEY}}"                               applied v1
key as URN                   "pk":"URN:uuid:${KEY}"                        applied v1
key of another version       "pk":"00000000-0000-0000-0000-000000000000"   applied v1
empty key                    "pk":""                                       invalid bad_payload
key with blanks              "pk":" ${KEY} "                               invalid bad_payload
key cut short                "pk":"${KEY.slice(1)}"                        invalid bad_payload
key with dashes elsewhere    "pk":"abcdef012345-6789-abcd-ef0123456789"    invalid bad_payload
key in one brace             "pk":"{${KEY}"                                invalid bad_payload
key in braces of 32 digits   "pk":"{${KEY.replaceAll('-', '')}}"           applied v1
key with a letter too far    "pk":"gbcdef01-2345-6789-abcd-ef0123456789"   invalid bad_payload
key with NUL                 "pk":"${KEY}\\u0000"                          invalid bad_payload
key as number text           "pk":"1"                                      invalid bad_payload
key as SQL                   "pk":"'; drop table business.users; --"       invalid bad_payload
base 2^53-1                  "server_version":9007199254740991             invalid internal_error
negative base                "server_version":-1                           invalid bad_payload
base 2^53                    "server_version":9007199254740992             invalid bad_payload
base 2^63-1                  "server_version":9223372036854775807          invalid bad_payload
base -0                      "server_version":-0                           applied v1
number 2^53-2                "source_change_id":9007199254740990           applied v1
number 0                     "source_change_id":0                          invalid bad_payload
negative number              "source_change_id":-1                         invalid bad_payload
number 2^53                  "source_change_id":9007199254740992           invalid bad_payload
no payload                   "payload":null                                invalid bad_payload
DELETE with payload          "op":"DELETE"                                 invalid bad_payload
DELETE with empty payload    "op":"DELETE","payload":{}                    invalid bad_payload
DELETE with null             "op":"delete","payload":null                  applied
members that are ours alone  "server_id":7,"user_id":"bob","deleted":true  applied v1
`)
  for (const [i, { what, fields, verdict }] of cases.entries()) {
    await sql`truncate business.users, loose, "order" cascade`
    const reply = read<UploadResponse>(await user(`rules ${i}`).uploadText(body(fields)))
    t.strictSame(verdicts(reply).map(line => line.slice(line.indexOf(' ') + 1)), [verdict], what as string)
    t.equal(reply.accepted, verdict !== 'invalid unregistered_table', `${what as string}: accepted`)
    const [entry] = await sql`select schema_name, table_name, pk, op from sync.changes where scope = ${`rules ${i}`}`
    if (verdict === 'applied v1') t.match(entry?.['pk'], what === 'key of another version' ? /^0{8}-/ : KEY, `${what as string}: stored normalised`)
    else t.equal(entry, undefined, `${what as string}: no trace`)
    t.equal(reply.highest_server_seq, entry === undefined ? 0 : 1)
  }
})

t.test('a payload is checked for its key, and kept as it was sent (H5, H15, F3)', async t => {
  const { user, sql } = await buildApp(t, { maxPayloadBytes: 3000 })
  const nested = (depth: number) => '{"doc":'.repeat(depth) + '1' + '}'.repeat(depth)
  const many = (n: number) => `{${Array.from({ length: n }, (_, i) => `"k${i}":0`).join()}}`
  const cases: Array<[string, string, string]> = [
    ['no key column', '{"note":"a"}', 'applied v1'],
    ['the key in another spelling', `{"id":"{${KEY.toUpperCase()}}","note":"a"}`, 'applied v1'],
    ['the key as base64 of its bytes', `{"id":"${Buffer.from(KEY.replaceAll('-', ''), 'hex').toString('base64')}"}`, 'applied v1'],
    ['another key', `{"id":"${uuid(1)}"}`, 'invalid bad_payload'],
    ['a key that is null', '{"id":null}', 'invalid bad_payload'],
    ['a key that is a number', '{"id":1}', 'invalid bad_payload'],
    ['a key with blanks', `{"id":" ${KEY}"}`, 'invalid bad_payload'],
    ['unknown keys', '{"unknown":{"x":[1.50]},"":"empty","ID":7,"NOTE":"other"}', 'applied v1'],
    ['names of JavaScript', '{"toString":1,"constructor":2,"hasOwnProperty":null}', 'applied v1'],
    ['an empty payload', '{}', 'applied v1'],
    ['a key twice', '{"note":"a","note":"a"}', 'invalid bad_payload'],
    ['a key twice, once escaped', '{"note":"a","n\\u006fte":"b"}', 'invalid bad_payload'],
    ['an unknown key twice', '{"x":1,"x":2}', 'invalid bad_payload'],
    ['NUL in a text', '{"note":"a\\u0000b"}', 'invalid bad_payload'],
    ['NUL in an unknown key\'s text', '{"unknown":"\\u0000"}', 'invalid bad_payload'],
    ['NUL in a key', '{"a\\u0000":1}', 'invalid bad_payload'],
    ['NUL deep inside', '{"doc":[{"x":["\\u0000"]}]}', 'invalid bad_payload'],
    ['an escaped backslash before u0000', '{"note":"\\\\u0000"}', 'applied v1'],
    ['half of a surrogate pair', '{"note":"\\ud83d"}', 'invalid bad_payload'],
    ['the other half', '{"note":"\\uDE00x"}', 'invalid bad_payload'],
    ['half of a pair as key', '{"\\ud83d":1}', 'invalid bad_payload'],
    ['halves the wrong way round', '{"note":"\\ude00\\ud83d"}', 'invalid bad_payload'],
    ['a whole pair', '{"note":"\\ud83d\\ude00"}', 'applied v1'],
    ['a pair as it is', '{"note":"😀"}', 'applied v1'],
    ['nested as deep as allowed', nested(MAX_JSON_DEPTH), 'applied v1'],
    ['nested deeper', nested(MAX_JSON_DEPTH + 1), 'invalid bad_payload'],
    ['as long as allowed', `{"note":"${'x'.repeat(989)}"${' '.repeat(2000)}}`, 'applied v1'],
    ['a byte longer', `{"note":"${'x'.repeat(989)}"${' '.repeat(2001)}}`, 'invalid bad_payload'],
    ['long in bytes, not in characters', `{"x":"${'€'.repeat(1000)}"}`, 'invalid bad_payload'],
    ['SQL in a key', '{"note\\" = \'x\'; drop table business.users; --":1}', 'applied v1'],
    ['more keys than a table has columns', many(100), 'applied v1']
  ]
  for (const [i, [what, payload, verdict]] of cases.entries()) {
    await sql`truncate business.typed_rows`
    const scope = `payload ${i}`
    const reply = read<UploadResponse>(await user(scope).uploadText(body('"table":"typed_rows","payload":' + payload)))
    t.strictSame(verdicts(reply), [`1 ${verdict}`], what)
    const page = await user(scope, 'pad').download()
    if (verdict !== 'applied v1') t.equal(page.changes.length, 0, `${what}: no trace`)
    // Only the spelling of the key is changed on the way.
    else t.ok(page.text.includes(`"payload":${payload.replace(/("id":)"[^"]*"/, `$1"${KEY}"`)}}],"has_more":`), `${what}: text as sent`)
  }
  const { user: generous } = await buildApp(t)
  t.strictSame(verdicts(read<UploadResponse>(await generous('a').uploadText(body('"table":"typed_rows","payload":' + many(MAX_PAYLOAD_KEYS))))), ['1 applied v1'], 'as many keys as allowed')
  t.strictSame(verdicts(read<UploadResponse>(await generous('b').uploadText(body(`"table":"typed_rows","pk":"${uuid(1)}","payload":` + many(MAX_PAYLOAD_KEYS + 1))))), ['1 invalid bad_payload'], 'one more')
  t.strictSame(verdicts(read<UploadResponse>(await generous('b').uploadText(body(`"pk":"${'x'.repeat(MAX_KEY_BYTES + 1)}"`)))), ['1 invalid bad_payload'], 'a key that is too long')
})

t.test('wrong JSON types refuse the whole request, and nothing is stored (G2, H10)', async t => {
  const { user, sql } = await buildApp(t)
  const good = JSON.stringify(put(1, 'users', uuid(1), john()))
  const change = (fields: string) => `{"changes":[${good},${body(fields).slice('{"changes":['.length, -2)}]}`
  const without = (field: string) => {
    const { [field]: _, ...rest } = put(2, 'users', uuid(2), john()) as unknown as Record<string, unknown>
    return `{"changes":[${good},${JSON.stringify(rest)}]}`
  }
  const wrong = [
    ...['"7"', '1.5', 'null', 'true', '[]', '{}', '1e400'].map(value => `"source_change_id":${value}`),
    ...['"0"', '0.5', 'null', 'false', '[]'].map(value => `"server_version":${value}`),
    ...['schema', 'table', 'op', 'pk'].flatMap(name => ['1', 'null', 'true', '[]', '{}'].map(value => `"${name}":${value}`)),
    ...['"{}"', '1', '[]', 'true'].map(value => `"payload":${value}`)
  ].map(change)
  const bodies = [
    ...wrong, ...['source_change_id', 'table', 'op', 'pk', 'server_version'].map(without),
    ...['null', '"x"', '7', '[{}]', 'true'].map(value => `{"changes":[${good},${value}]}`),
    ...['{}', '"[]"', '1', 'true', `{"0":${good}}`].map(value => `{"changes":${value}}`),
    ...['"42"', '1.5', 'null', '[]'].map(value => `{"last_server_seq_seen":${value},"changes":[${good}]}`),
    ...['"1"', '1.5', 'null'].map(value => `{"schema_version":${value},"changes":[${good}]}`),
    ...['1', 'null', '{}'].map(value => `{"epoch":${value},"changes":[${good}]}`),
    '[]', 'null', '"x"', '1', 'true', `[${good}]`
  ]
  for (const text of bodies) {
    const reply = await user('alice').uploadText(text)
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '400 invalid_request', text.replace(good, 'good'))
  }
  t.strictSame(await log(sql, 'alice'), [])
  t.equal((await sql`select from business.users`).length, 0)
})

t.test('a body that is no JSON is refused, whatever it is (H1, H2)', async t => {
  const { user, sql } = await buildApp(t)
  const good = JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] })
  const bodies: Array<[string, string | Buffer, number, Record<string, string>?]> = [
    ['nothing', '', 400], ['blanks', '  \n', 400], ['cut short', good.slice(0, -3), 400], ['trailing bytes', good + 'x', 400], ['two documents', good + good, 400],
    ['a byte order mark', '\uFEFF' + good, 400], ['UTF-16', Buffer.from(good, 'utf16le'), 400], ['Latin-1', Buffer.from(good.replace('John', 'Jöhn'), 'latin1'), 400],
    ['half of a surrogate pair as UTF-8', Buffer.concat([Buffer.from(good.slice(0, -3)), Buffer.from([0xed, 0xa0, 0x80])]), 400],
    ['NUL', good.replace('John', 'Jo\0hn'), 400], ['single quotes', good.replaceAll('"', '\''), 400], ['a comment', good.replace('{', '{/* */'), 400], ['NaN', good.replace('"John"', 'NaN'), 400],
    ['a leading zero', good.replace('"server_version":0', '"server_version":00'), 400],
    ['__proto__ in the payload', good.replace('"name":', '"__proto__":{"polluted":1},"name":'), 200], ['__proto__ escaped', good.replace('"name":', '"__pr\\u006fto__":{"polluted":1},"name":'), 200],
    ['__proto__ on top', good.replace('{', '{"__proto__":{"polluted":1},'), 200], ['constructor.prototype', good.replace('"John"', '{"constructor":{"prototype":{"polluted":1}}}'), 200],
    ['deep in a field nobody reads', good.replace('{', `{"x":${'['.repeat(200_000)}${']'.repeat(200_000)},`), 200],
    ['another type', good, 415, { 'content-type': 'text/plain' }], ['a form', 'changes=1', 415, { 'content-type': 'application/x-www-form-urlencoded' }],
    ['XML', '<changes/>', 415, { 'content-type': 'application/xml' }], ['no type', good, 415, { 'content-type': '' }],
    ['a charset', good, 200, { 'content-type': 'application/json; charset=utf-8' }], ['a type in capitals', good, 200, { 'content-type': 'Application/JSON' }]
  ]
  for (const [what, text, status, headers] of bodies) {
    await sql`truncate business.users cascade`
    const scope = `body ${what}`
    const reply = await user(scope).uploadText(text, headers)
    t.equal(reply.statusCode, status, what)
    t.equal((await log(sql, scope)).length, status === 200 ? 1 : 0, `${what}: effect`)
    if (status !== 200) t.equal(JSON.parse(reply.body).error, status === 415 ? 'unsupported_media_type' : 'invalid_request')
  }
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('a body over the limit is refused unread (G1)', async t => {
  const { user, sql } = await buildApp(t, { maxBodyBytes: 1000 })
  const fill = (bytes: number) => {
    const text = JSON.stringify({ changes: [put(1, 'users', uuid(1), john())] })
    return text + ' '.repeat(bytes - text.length)
  }
  const tooLong = await user('alice').uploadText(fill(1001))
  t.equal(`${tooLong.statusCode} ${JSON.parse(tooLong.body).error as string}`, '413 body_too_large')
  t.strictSame(await log(sql, 'alice'), [])
  t.equal((await user('alice').uploadText(fill(1000))).statusCode, 200, 'at the limit')
})

t.test('a batch over the limit is judged nowhere (G3)', async t => {
  const { user, sql } = await buildApp(t, { maxUploadBatchSize: 3 })
  const changes = [1, 2, 3, 4].map(n => put(n, 'users', uuid(n), john()))
  const { accepted, statuses, highest_server_seq: head, next_source_change_id: next } = await user('alice').upload(changes)
  t.strictSame(verdicts({ statuses }), [1, 2, 3, 4].map(n => `${n} invalid batch_too_large`))
  t.strictSame([accepted, head, next], [false, 0, 1])
  t.strictSame(await log(sql, 'alice'), [])
  t.strictSame(verdicts(await user('alice').upload(changes.slice(0, 3))), ['1 applied v1', '2 applied v1', '3 applied v1'], 'at the limit')
})

t.test('an unregistered table is said in accepted, and the rest of the batch counts (F1)', async t => {
  const { user, sql } = await buildApp(t)
  const reply = await user('alice').upload([put(1, 'business.nothing', uuid(1), {}), put(2, 'users', uuid(2), john())])
  t.equal(reply.accepted, false)
  t.strictSame(verdicts(reply), ['1 invalid unregistered_table', '2 applied v1'])
  t.strictSame(await log(sql, 'alice'), ['1 users 2 I v1'])
  t.equal((await user('alice').upload([{ ...put(3, 'users', uuid(3), john()), op: 'NO' }])).accepted, true, 'other refusals leave it true')
})

t.test('a handshake stores nothing and tells epoch, source and next number (L4)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  const epochs = new Set<string>()
  for (const text of ['{}', '{"changes":[]}', '{"changes":null}', '{"last_server_seq_seen":42,"changes":[],"anything":1}']) {
    const { text: _, epoch, ...reply } = read<UploadResponse>(await phone.uploadText(text))
    t.strictSame(reply, { accepted: true, highest_server_seq: 0, statuses: [], source_id: 'phone', next_source_change_id: 1 }, text)
    epochs.add(epoch)
  }
  t.equal(epochs.size, 1)
  t.equal((await sql`select from sync.source`).length, 0, 'a device is registered by its first change')
  await phone.upload([put(7, 'users', uuid(1), john()), put(3, 'users', uuid(2), john()), put(9, 'users', uuid(1), john())])
  const steps: Array<[string, Parameters<typeof phone.upload>[0], number]> = [
    ['the highest that was applied, whatever the order', [], 8],
    ['a replay uses none', [put(7, 'users', uuid(1), john())], 8],
    ['a refused change uses none', [put(20, 'users', uuid(1), john())], 8],
    ['a deletion of nothing uses its own', [del(12, 'users', uuid(9), 0)], 13],
    ['a lower one does not lower it', [put(1, 'users', uuid(4), john())], 13]
  ]
  for (const [what, changes, next] of steps) {
    t.equal((await phone.upload(changes)).next_source_change_id, next, what)
    t.equal((await phone.download()).next_source_change_id, next, `${what}: download`)
    t.equal(JSON.parse((await phone.request({ url: '/status' })).body).next_source_change_id, next, `${what}: status`)
  }
  t.equal((await user('alice', 'pad').upload([])).next_source_change_id, 1, 'another device has its own')
})

t.test('another history is refused before anything is judged (L2, L9)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  const epoch = await phone.epoch()
  for (const wrong of ['', 'x', epoch + ' ', epoch.toUpperCase() + 'X', await user('bob').epoch()]) {
    for (const changes of [[], [put(1, 'users', uuid(1), john())]]) {
      const reply = await phone.uploadText(JSON.stringify({ epoch: wrong, changes }))
      t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '409 history_changed', `${wrong}, ${changes.length} changes`)
    }
  }
  t.strictSame(await log(sql, 'alice'), [])
  await sql`update sync.meta set epoch = 'renewed'`
  t.equal((await phone.uploadText(JSON.stringify({ epoch, changes: [put(1, 'users', uuid(1), john())] }))).statusCode, 409, 'after a restore, without a restart')
  t.strictSame(verdicts(await user('alice', 'phone', { older: true }).upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'], 'a client that sends none is not asked')
})

t.test('a device below the minimal schema version is asked to upgrade (F7)', async t => {
  const { user, sql } = await buildApp(t, { schemaVersion: 5, minSchemaVersion: 3 })
  const phone = user('alice')
  for (const [version, status] of [[2, 426], [0, 426], [-1, 426], [3, 200], [4, 200], [6, 200]] as const) {
    const reply = await phone.uploadText(JSON.stringify({ schema_version: version, changes: [] }))
    t.equal(reply.statusCode, status, `version ${version}`)
  }
  const refused = await phone.uploadText(JSON.stringify({ schema_version: 2, changes: [put(1, 'users', uuid(1), john())] }))
  t.equal(JSON.parse(refused.body).error, 'upgrade_required')
  t.strictSame(await log(sql, 'alice'), [])
  t.equal((await phone.uploadText('{}')).statusCode, 200, 'one that names none is let in')
  t.strictSame(JSON.parse((await phone.request({ url: '/schema-version' })).body), { schema_version: 5 })
})

t.test('status tells what this server offers', async t => {
  const { user } = await buildApp(t, { appName: 'my app', maxUploadBatchSize: 7, maxPayloadBytes: 8, maxBodyBytes: 900, maxDownloadLimit: 10 })
  const { statusCode, body, headers } = await user('alice').request({ url: '/status' })
  t.equal(statusCode, 200)
  t.equal(headers['cache-control'], 'no-store')
  t.match(JSON.parse(body), {
    status: 'healthy',
    app_name: 'my app',
    registered_tables: ['business.users', 'business.posts', 'business.files', 'business.file_reviews', 'business.typed_rows'],
    limits: { max_upload_batch_size: 7, max_payload_bytes: 8, max_body_bytes: 900, max_download_limit: 10 },
    epoch: await user('alice').epoch(),
    source_id: 'phone',
    next_source_change_id: 1
  })
})

t.test('other methods and paths are 405 and 404, and never 500 (H17)', async t => {
  const { user, app } = await buildApp(t)
  const answer = async (method: string, url: string) => {
    const { statusCode, body, headers } = await (app as FastifyInstance).inject({ method: method as never, url, headers: { 'x-user': 'alice', 'x-device': 'phone' } })
    return [statusCode, body === '' ? '' : JSON.parse(body).error, headers['allow']].filter(part => part !== undefined && part !== '').join(' ')
  }
  const routes: Array<[string, string]> = [['/sync/upload', 'POST'], ['/sync/download', 'GET'], ['/sync/schema-version', 'GET'], ['/sync/status', 'GET']]
  for (const [url, allowed] of routes) {
    const allow = allowed === 'GET' ? 'GET, HEAD' : allowed
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) if (method !== allowed) t.equal(await answer(method, url), `405 method_not_allowed ${allow}`, `${method} ${url}`)
    t.equal(await answer('HEAD', url), allowed === 'GET' ? '200' : '405 POST', `HEAD ${url}`)
    t.equal(await answer('OPTIONS', url), '404 not_found', `OPTIONS ${url} is the app's, for CORS`)
  }
  for (const url of ['/sync/nothing', '/sync/', '/sync/upload/x', '/sync/Upload']) t.equal(await answer('GET', url), '404 not_found', url)
  for (const url of ['/sync//download', '/sync/..%2fdownload', '/sync/download%00', `/sync/${'x'.repeat(5000)}`]) t.match(await answer('GET', url), /^(400|404|414)/, url.slice(0, 40))
  t.equal((await app.inject({ method: 'GET', url: '/sync/nothing' })).headers['cache-control'], 'no-store')
  t.equal((await app.inject({ method: 'HEAD', url: '/sync/download', headers: { 'x-user': 'alice', 'x-device': 'phone' } })).statusCode, 200)
  t.equal((await user('alice').request({ method: 'PUT', url: '/upload', body: '{not json', headers: { 'content-type': 'application/json' } })).statusCode, 405, 'before the body is read')
})

t.test('the service takes the same input without HTTP, and says the same of it', async t => {
  const { app, sql } = await buildApp(t)
  const identity = { userId: 'alice', deviceId: 'phone' }
  const text = `{"changes":[{"source_change_id":1,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${KEY}","server_version":0,"payload":{"big":9223372036854775807}}]}`
  t.match(JSON.parse((await app.oversync.upload(identity, text)).json), { statuses: [{ status: 'applied' }] })
  t.match(JSON.parse((await app.oversync.upload(identity, { changes: [put(2, 'users', uuid(2), john())] })).json), { statuses: [{ status: 'applied' }] })
  t.strictSame((await sql`select big from business.typed_rows`).map(row => row['big'] as string), ['9223372036854775807'])
  t.match((await app.oversync.download(identity, { include_self: true })).json, '9223372036854775807')
  const refused: Array<[string, () => Promise<unknown>, string]> = [
    ['a body that is no JSON', async () => await app.oversync.upload(identity, '{'), 'invalid_request'],
    ['a text that is no Unicode', async () => await app.oversync.upload(identity, text.replace('"big":9223372036854775807', '"note":"\ud83d"')), 'invalid_request'],
    ['a body of wrong types', async () => await app.oversync.upload(identity, { changes: 7 } as never), 'invalid_request'],
    ['no device', async () => await app.oversync.upload({ userId: 'alice', deviceId: '' }, '{}'), 'authentication_failed'],
    ['a cursor that is none', async () => await app.oversync.download(identity, { after: -1 }), 'invalid_request'],
    ['a limit that is none', async () => await app.oversync.download(identity, { limit: 1.5 }), 'invalid_request'],
    ['a schema that is none', async () => await app.oversync.download(identity, { schema: 'A' }), 'invalid_request']
  ]
  for (const [what, call, code] of refused) await t.rejects(call(), { name: 'SyncError', code }, what)
})
