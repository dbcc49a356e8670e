import type { InjectOptions } from 'fastify'
import t from 'tap'
import { assertSound, buildApp, put, read, uuid } from '../helpers/app.js'
import { contractProblems } from '../helpers/contract.js'

/*
 * Requests that are valid, nearly valid and garbage. Whatever comes in, the reply is one that the document has, never a 500,
 * and the stream stays sound (H1 to H23). FUZZ=<n> sends more; SEED=<n> other ones.
 */
const REQUESTS = Number(process.env['FUZZ'] ?? 20_000)
const SEED = Number(process.env['SEED'] ?? 1)
const USERS = 4

let state = SEED >>> 0
function random (): number {
  state = state + 0x6D2B79F5 >>> 0
  let mixed = Math.imul(state ^ state >>> 15, state | 1)
  mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
  return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
}
const below = (n: number): number => Math.floor(random() * n)
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T
const chance = (p: number): boolean => random() < p

const ODD_NUMBERS = ['0', '-1', '-0', '1.5', '1e3', '1E400', '9007199254740991', '9007199254740992', '9223372036854775807', '9223372036854775808', '-9223372036854775809', '5e-324', '0.1', '123456789012345678901234567890.123456789']
const ODD_TEXTS = ['""', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\u{1F600}"', '"é"', '"e\\u0301"', '"\'; drop table business.users; --"', '"\\"; drop schema sync"', '"null"', '"2024-02-30"', '"infinity"', '"NaN"', '"\\u202e"', `"${'x'.repeat(2000)}"`, '"AAEC"', '"====" ', '"{}"']
const ODD_VALUES = [...ODD_NUMBERS, ...ODD_TEXTS, 'null', 'true', 'false', '[]', '{}', '[[[[]]]]', '{"a":{"b":[1,{"c":null}]}}', `${'['.repeat(70)}${']'.repeat(70)}`]
const ODD_KEYS = ['__proto__', 'constructor', 'toString', 'id', 'ID', 'i\\u0064', 'name', 'nope', '', 'a b', '\\u0000', 'oversync key', '"quoted\\"'.replace('"', '')]

const key = (): string => !chance(oddness) ? uuid(1 + below(40)) : pick(['', ' ', 'x', uuid(1).toUpperCase(), `{${uuid(2)}}`, `urn:uuid:${uuid(3)}`, uuid(4).replaceAll('-', ''), 'AAAAAAAAAAAAAAAAAAAAAA==', '0'.repeat(2000)])
/** How odd the request at hand is: many odd values at once are refused at the door. */
let oddness = 0
const value = (normal: string): string => chance(oddness) ? pick(ODD_VALUES) : normal

function payload (table: string, pk: string): string {
  const fields: Array<[string, string]> = table === 'users'
    ? [['id', `"${pk}"`], ['name', '"n"'], ['email', '"e"'], ['created_at', '1700000000']]
    : table === 'posts'
      ? [['id', `"${pk}"`], ['title', '"t"'], ['author_id', chance(0.5) ? 'null' : `"${uuid(1 + below(40))}"`]]
      : [['id', `"${pk}"`], ['big', '7'], ['dec', '1.10'], ['flag', 'true'], ['ratio', '0.5'], ['doc', '{"a":1}'], ['note', '"n"'], ['blob', '"AAEC"']]
  const members = fields.filter(() => !chance(oddness)).map(([name, normal]) => `"${name}":${value(normal)}`)
  if (chance(0.05)) members.push(`"${pick(ODD_KEYS)}":${pick(ODD_VALUES)}`)
  if (chance(0.03) && members.length > 0) members.push(pick(members))
  return `{${members.join(',')}}`
}

let lastId = 0

function change (): string {
  const table = pick(['users', 'posts', 'typed_rows'])
  const pk = key()
  const op = chance(0.95) ? pick(['INSERT', 'UPDATE', 'DELETE']) : pick(['insert', ' delete ', 'UPSERT', '', 'DROP'])
  const fields: Array<[string, string]> = [
    ['source_change_id', value(String(chance(0.9) ? ++lastId : 1 + below(lastId)))], ['schema', value(chance(0.9) ? '"business"' : pick(['"public"', '"BUSINESS "', '"sync"', '"pg_catalog"']))],
    ['table', value(chance(0.95) ? `"${table}"` : pick(['"meta"', '"Users"', '"users;"', '"change_log"']))], ['op', value(`"${op}"`)],
    ['pk', value(`"${pk}"`)], ['server_version', value(String(below(4)))]
  ]
  if (op.trim().toUpperCase() !== 'DELETE' || chance(0.05)) fields.push(['payload', value(payload(table, pk))])
  return `{${fields.filter(() => !chance(oddness / 10)).map(([name, text]) => `"${name}":${text}`).join(',')}}`
}

function body (): string {
  const changes = Array.from({ length: below(6) }, change)
  const fields = [`"changes":${chance(0.97) ? `[${changes.join(',')}]` : pick(ODD_VALUES)}`]
  if (chance(0.3)) fields.push(`"last_server_seq_seen":${value('1')}`)
  if (chance(0.05)) fields.push(`"epoch":${pick(ODD_TEXTS)}`)
  if (chance(0.05)) fields.push(`"${pick(ODD_KEYS)}":${pick(ODD_VALUES)}`)
  return `{${fields.join(',')}}`
}

/** One to four bytes changed, inserted, removed, or the rest cut off. */
function mutate (text: string): Buffer {
  let bytes = Buffer.from(text)
  for (let n = 1 + below(4); n > 0 && bytes.length > 0; n--) {
    const at = below(bytes.length)
    const insert = Buffer.from([below(256)])
    switch (below(4)) {
      case 0: bytes[at] = below(256); break
      case 1: bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at)]); break
      case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]); break
      default: bytes = Buffer.from(bytes.subarray(0, at))
    }
  }
  return bytes
}

function query (): string {
  const odd = ['', '-1', '1.5', '1e3', '0x10', ' 1', '+1', '9007199254740992', '99999999999999999999', 'abc', '%00', '%ff', '[]', 'true']
  const parameters: string[] = []
  for (const name of ['after', 'limit', 'until', 'floor', 'include_self', 'schema', 'epoch', 'nope']) {
    if (chance(0.4)) parameters.push(`${name}=${chance(0.7) ? (name === 'schema' ? 'business' : name === 'epoch' ? 'x' : String(below(2000))) : pick(odd)}`)
  }
  if (chance(0.05) && parameters.length > 0) parameters.push(pick(parameters))
  return parameters.join('&')
}

function request (): InjectOptions & { method: 'GET' | 'POST', url: string } {
  oddness = pick([0, 0, 0.01, 0.03, 0.2])
  const headers = { 'x-user': `user ${below(USERS)}`, 'x-device': pick(['phone', 'tablet']) }
  const kind = random()
  if (kind < 0.55) return { method: 'POST', url: '/sync/upload', headers: { ...headers, 'content-type': 'application/json' }, payload: body() }
  if (kind < 0.75) return { method: 'POST', url: '/sync/upload', headers: { ...headers, 'content-type': 'application/json' }, payload: mutate(body()) }
  if (kind < 0.78) return { method: 'POST', url: '/sync/upload', headers: { ...headers, 'content-type': pick(['text/plain', 'application/xml', 'application/json; charset=utf-16', 'multipart/form-data', 'x']) }, payload: mutate(body()) }
  if (kind < 0.98) return { method: 'GET', url: `/sync/download?${query()}`, headers }
  return { method: 'GET', url: pick(['/sync/status', '/sync/schema-version']), headers: chance(0.5) ? headers : {} }
}

t.test('H1-H23: whatever is sent, the reply is a documented one, and the stream stays sound', { timeout: 600_000 }, async t => {
  const { app, sql, user } = await buildApp(t)
  const problems: string[] = []
  const statuses = new Map<number, number>()
  const judged = new Map<string, number>()
  const count = <K>(map: Map<K, number>, name: K) => map.set(name, (map.get(name) ?? 0) + 1)
  for (let i = 0; i < REQUESTS; i++) {
    const sent = request()
    const reply = await app.inject(sent)
    count(statuses, reply.statusCode)
    const found = contractProblems(sent.method, sent.url, reply)
    if (reply.statusCode >= 500) found.push(`answered ${reply.statusCode}`)
    if (found.length > 0) problems.push(`request ${i} of seed ${SEED}: ${found.join('; ')}\n${sent.method} ${sent.url}\n${String(sent.payload ?? '').slice(0, 2000)}\n${reply.body.slice(0, 500)}`)
    if (reply.statusCode === 200 && sent.url === '/sync/upload') for (const { status } of JSON.parse(reply.body).statuses) count(judged, status)
    if (problems.length > 5) break
  }
  t.strictSame(problems, [], `${REQUESTS} requests`)
  t.comment(JSON.stringify({ statuses: Object.fromEntries(statuses), judged: Object.fromEntries(judged) }))
  // A fuzzer whose requests are all refused at the door tests the door.
  for (const verdict of ['applied', 'conflict', 'invalid']) t.ok((judged.get(verdict) ?? 0) > REQUESTS / 100, `${verdict} came up: ${judged.get(verdict) ?? 0}`)
  for (let n = 0; n < USERS; n++) {
    await assertSound(t, sql, `user ${n}`)
    const live = await sql`
      select r.table_name, r.pk from sync.rows r where r.scope = ${`user ${n}`} and not r.deleted
      and not exists (select from business.users u where r.table_name = 'users' and u.id::text = r.pk)
      and not exists (select from business.posts p where r.table_name = 'posts' and p.id::text = r.pk)
      and not exists (select from business.typed_rows y where r.table_name = 'typed_rows' and y.id::text = r.pk)`
    t.strictSame([...live], [], 'every live row is in its business table')
  }
  const [{ strays }] = await sql`
    select count(*)::int as strays from (select id::text from business.users union all select id::text from business.posts union all select id::text from business.typed_rows) b
    where not exists (select from sync.rows r where r.pk = b.id and not r.deleted)` as unknown as [{ strays: number }]
  t.equal(strays, 0, 'no business row is without a live row in a stream')
  t.equal(read<{ accepted: boolean }>(await user('somebody new').uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(1000), { name: 'n', email: 'e' })] }))).accepted, true, 'the server works as before')
})
