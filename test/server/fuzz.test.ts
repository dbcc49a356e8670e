import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Sql } from 'postgres'
import t from 'tap'
import { assertSound, buildApp, put, read, uuid } from '../helpers/app.js'
import { contractProblems, requestProblems, type Reply } from '../helpers/contract.js'
import { canonical, parseExact, Scope, uuidOf, type Exact } from '../helpers/fuzz-model.js'
import { FuzzRequests, type FuzzRequest } from '../helpers/fuzz-requests.js'
import { exchange, repliesIn, requestBytes } from '../helpers/raw-http.js'

/*
 * Requests that are valid, nearly valid and garbage. Whatever comes in, the reply is one that the document has and an
 * independent model expects, never a 500; a request that is refused changes nothing; in the end stream and tables are what
 * the model says (H1 to H23). FUZZ=<n> sends more; SEED=<n> other ones.
 */
const REQUESTS = Number(process.env['FUZZ'] ?? 20_000)
const SEED = Number(process.env['SEED'] ?? 1)
const USERS = ['user 0', 'user 1', 'user 2', 'user 3']
/** Every so many requests go over a real socket; after every so many without a body the heads are looked at, and all rows after so many of any kind. */
const SOCKET_EVERY = 10
const TRACES_EVERY = 4
const COMPARE_EVERY = 200

t.test('whatever is sent, the reply is a documented one, the model agrees, and what is refused leaves no trace (H23)', { timeout: 3_600_000 }, async t => {
  const { app, sql, user } = await buildApp(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const scopes: Map<string, Scope> = new Map(USERS.map(name => [name, new Scope(name, () => [...scopes.values()].filter(other => other.name !== name))]))
  const epochs = new Map<string, string>()
  for (const name of USERS) epochs.set(name, await user(name).epoch())
  const requests = new FuzzRequests(SEED, { users: USERS, epochs, version: (name, table, pk) => (scopes.get(name) as Scope).version(table, pk) })
  const problems: string[] = []
  const counts = new Map<string, number>()
  const count = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1)

  for (let i = 0; i < REQUESTS && problems.length < 5; i++) {
    const sent = requests.next()
    // inject() puts a path in order first, as a browser would.
    const isSocket = i % SOCKET_EVERY === 0 || !INJECTABLE.has(sent.method) || (sent.kind === 'odd' && !ROUTES.has(pathOf(sent)))
    const reply = isSocket ? await overSocket(port, sent) : await overInject(app, sent)
    count(`${reply.statusCode}`)
    const found = reply.statusCode >= 500 ? [`answered ${reply.statusCode}`] : wellAnswered(sent, reply)
    const scope = scopes.get(sent.user) as Scope
    const epoch = epochs.get(sent.user) as string
    if (sent.kind === 'upload') found.push(...uploadProblems(sent, reply, epoch, scope))
    if (sent.kind === 'download') found.push(...downloadProblems(sent, reply, epoch, scope))
    if (sent.kind === 'odd' && sent.method === 'POST' && reply.statusCode === 200) found.push(...scope.follow(sent.device, (sent.body as Buffer).toString(), reply.body))
    if (sent.method === 'POST' && reply.statusCode === 200) for (const { status } of JSON.parse(reply.body).statuses) count(status)
    else if (sent.body !== undefined || i % TRACES_EVERY === 0) found.push(...await traces(sql, [...scopes.values()]))
    if (i % COMPARE_EVERY === 0) found.push(...await stateProblems(sql, scope))
    if (found.length > 0) problems.push(`request ${i} of SEED=${SEED} ${isSocket ? 'over a socket' : 'injected'}: ${found.join('; ')}\n${sent.method} ${sent.url} ${JSON.stringify(sent.headers)}\n${sent.body?.toString() ?? ''}\nbase64 ${sent.body?.toString('base64') ?? ''}\n${reply.statusCode} ${reply.body.slice(0, 3000)}`)
  }
  t.strictSame(problems, [], `${REQUESTS} requests of SEED=${SEED}`)
  t.comment(JSON.stringify(Object.fromEntries(counts)))
  // A fuzzer whose requests are all refused at the door tests the door.
  for (const verdict of ['applied', 'conflict', 'invalid']) t.ok((counts.get(verdict) ?? 0) > REQUESTS / 20, `${verdict} came up: ${counts.get(verdict) ?? 0}`)
  for (const scope of scopes.values()) {
    await assertSound(t, sql, scope.name)
    t.strictSame(await stateProblems(sql, scope), [], `${scope.name}: rows`)
    t.strictSame(await logProblems(sql, scope), [], `${scope.name}: stream`)
  }
  t.strictSame(await businessProblems(sql, [...scopes.values()]), [], 'business tables')
  t.equal(read<{ accepted: boolean }>(await user('somebody new').uploadText(JSON.stringify({ changes: [put(1, 'users', uuid(100_000), { name: 'n', email: 'e' })] }))).accepted, true, 'the server works as before')
})

const ROUTES = new Set(['/sync/upload', '/sync/download', '/sync/status', '/sync/schema-version'])
const INJECTABLE = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'])

function pathOf ({ url }: { url: string }): string {
  // An escape of what needs none is the same path.
  return url.replace(/[?#].*$/s, '').replace('%64', 'd')
}

async function overInject (app: FastifyInstance, { method, url, headers, body }: FuzzRequest): Promise<Reply> {
  return await app.inject({ method: method as 'GET', url, headers, ...(body === undefined ? {} : { payload: body }) })
}

async function overSocket (port: number, sent: FuzzRequest): Promise<Reply> {
  const replies = repliesIn(await exchange(port, requestBytes(sent)))
  if (replies.length !== 1) throw new Error(`${replies.length} replies to one request: ${sent.method} ${sent.url}`)
  return replies[0] as Reply
}

/** The document knows the reply; of what never reaches the plugin's routes, it is one of the app's or of Node.js. */
function wellAnswered ({ kind, method, url }: FuzzRequest, reply: Reply): string[] {
  if (kind !== 'odd') return contractProblems(method, url, reply)
  // HEAD has no body to look at, but where Node.js could not read so far.
  if (method === 'HEAD') return [200, 400, 401, 404, 405, 409].includes(reply.statusCode) && (reply.body === '' || reply.statusCode === 400) ? [] : [`${reply.statusCode} for HEAD`]
  const path = pathOf({ url })
  if (ROUTES.has(path)) return contractProblems(method, path, reply)
  if (![200, 400, 404, 405, 414].includes(reply.statusCode)) return [`${reply.statusCode} for an odd path`]
  if (reply.statusCode === 200) return ['an odd path that leads somewhere']
  const body = JSON.parse(reply.body) as Record<string, unknown>
  return typeof body['error'] === 'string' && typeof body['message'] === 'string' ? [] : ['an error without error and message']
}

function uploadProblems ({ device, body }: FuzzRequest, reply: Reply, epoch: string, scope: Scope): string[] {
  const bytes = body as Buffer
  let request: unknown
  try {
    request = JSON.parse(new TextDecoder('utf8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return reply.statusCode === 400 ? [] : [`${reply.statusCode} for what is no JSON`]
  }
  const reasons = requestProblems('POST', '/sync/upload', request)
  if (reasons.length > 0) return reply.statusCode === 400 ? [] : [`${reply.statusCode} for what the document forbids: ${reasons.join('; ')}`]
  const { epoch: given } = request as { epoch?: string }
  if (given !== undefined && given !== epoch) return reply.statusCode === 409 ? [] : [`${reply.statusCode} for another epoch`]
  return reply.statusCode === 200 ? scope.follow(device, bytes.toString(), reply.body) : [`${reply.statusCode} for what the document allows`]
}

const INTEGERS: Record<string, number> = { after: 0, until: 0, floor: 0, limit: 1 }

function downloadProblems ({ url, device }: FuzzRequest, reply: Reply, epoch: string, scope: Scope): string[] {
  const search = url.slice(url.indexOf('?') + 1)
  // How odd escapes are read is the router's affair; that they do no harm has been seen already.
  if (/%(?![0-9a-f]{2})|%(00|ff)/i.test(search)) return []
  const given = new URLSearchParams(search)
  const named = ['after', 'limit', 'until', 'floor', 'include_self', 'schema', 'epoch']
  const isBad = named.some(name => given.getAll(name).length > 1) ||
    Object.entries(INTEGERS).some(([name, minimum]) => given.has(name) && !(/^\d{1,16}$/.test(given.get(name) as string) && Number(given.get(name)) >= minimum && Number(given.get(name)) <= (name === 'limit' ? 1000 : Number.MAX_SAFE_INTEGER))) ||
    (given.has('schema') && !/^[a-z0-9_]+$/.test(given.get('schema') as string))
  const after = Number(given.get('after') ?? 0)
  const expected = isBad ? 400 : given.has('epoch') && (given.get('epoch') !== epoch || after > scope.head) ? 409 : 200
  if (reply.statusCode !== expected) return [`${reply.statusCode}, not ${expected}`]
  if (expected !== 200) return []
  const limit = Number(given.get('limit') ?? 100)
  const until = Number(given.get('until') ?? 0)
  const page = JSON.parse(reply.body) as { changes: Array<{ server_id: number, source_id: string, schema: string }>, has_more: boolean, next_after: number, window_until: number, next_source_change_id: number }
  const ids = page.changes.map(change => change.server_id)
  const window = Math.max(after, Math.min(until === 0 ? scope.head : until, scope.head))
  const isSelf = given.get('include_self') === 'true'
  const problems: string[] = []
  const expect = (what: string, holds: boolean) => { if (!holds) problems.push(what) }
  expect(`window_until ${page.window_until}, not ${window}`, page.window_until === window)
  expect('changes in order, inside the window', ids.every((id, i) => id > (ids[i - 1] ?? after) && id <= window))
  expect('changes within the limit', ids.length <= limit)
  expect('changes of others only', isSelf || page.changes.every(change => change.source_id !== device))
  expect('next_after', page.has_more ? page.next_after === ids.at(-1) && ids.length === limit && page.next_after < window : page.next_after === window)
  if (isSelf && (given.get('schema') ?? 'business') === 'business') expect('every position of the page', ids.every((id, i) => id === after + i + 1) && ids.length === Math.min(limit, Math.max(0, window - after)))
  if (given.get('schema') === 'public') expect('nothing of another schema', ids.length === 0)
  expect('the next number', page.next_source_change_id === (scope.devices.get(device)?.max ?? 0) + 1)
  return problems
}

/** Whatever an upload writes shows in these few numbers, which must still be those of the model. */
async function traces (sql: Sql, scopes: Scope[]): Promise<string[]> {
  const [row] = await sql`
    select (select json_object_agg(sc.name, st.head) from sync.stream st join sync.scope sc using (scope_id)) as heads,
      (select json_object_agg(sc.name || ' ' || so.source_id, so.max_change_id) from sync.source so join sync.scope sc using (scope_id) where so.max_change_id > 0) as sources,
      (select count(*)::int from sync.row_state) as rows,
      ((select count(*) from business.users) + (select count(*) from business.posts) + (select count(*) from business.typed_rows))::int as live` as [Record<string, unknown>]
  const should = {
    heads: Object.fromEntries(scopes.map(({ name, head }) => [name, head])),
    sources: Object.fromEntries(scopes.flatMap(({ name, devices }) => [...devices].map(([device, { max }]) => [`${name} ${device}`, max]).filter(([, max]) => max !== 0))),
    rows: scopes.reduce((sum, { rows }) => sum + rows.size, 0),
    live: scopes.reduce((sum, { rows }) => sum + [...rows.values()].filter(({ deleted }) => !deleted).length, 0)
  }
  const is = { heads: row['heads'] ?? {}, sources: row['sources'] ?? {}, rows: row['rows'], live: row['live'] }
  return Object.entries(should).filter(([name, value]) => canonical(value as Exact) !== canonical(is[name as 'rows'] as Exact)).map(([name]) => `a trace of a request that was refused: ${name} ${JSON.stringify(is[name as 'rows'])}`)
}

async function stateProblems (sql: Sql, { name, rows }: Scope): Promise<string[]> {
  const found = await sql`select table_name, pk, version::int, deleted, payload::text from sync.rows where scope = ${name}`
  const line = (row: string, version: number, deleted: boolean, payload: string) => `${row} v${version}${deleted ? ' deleted' : ` ${payload}`}`
  const is = found.map(row => line(`${row['table_name']} ${row['pk']}`, row['version'], row['deleted'], row['payload'] === null ? '' : canonical(parseExact(row['payload']))))
  return differences(is, [...rows].map(([row, { version, deleted, payload }]) => line(row, version, deleted, canonical(payload))))
}

async function logProblems (sql: Sql, { name, log }: Scope): Promise<string[]> {
  const found = await sql`select server_id::int, table_name, pk, op, version::int, source_id, source_change_id::float8, payload::text from sync.changes where scope = ${name}`
  const line = (row: string, version: number, deletes: boolean, device: string, number: number | null, payload: Exact) => `${row} v${version} ${device} ${number ?? 'none'}${deletes ? ' deleted' : ` ${canonical(payload)}`}`
  const ranges = new Map(log.map(({ row, version, from, to }) => [`${row} v${version}`, [from, to] as const]))
  const misplaced = found.filter(row => {
    const [from, to] = ranges.get(`${row['table_name']} ${row['pk']} v${row['version']}`) ?? [Infinity, 0]
    return row['server_id'] < from || row['server_id'] > to
  }).map(row => `position ${row['server_id']} is not of its batch`)
  const is = found.map(row => line(`${row['table_name']} ${row['pk']}`, row['version'], row['op'].startsWith('D'), row['source_id'], row['source_change_id'] > 0 ? row['source_change_id'] : null, row['payload'] === null ? {} : parseExact(row['payload'])))
  return [...misplaced, ...differences(is, log.map(({ row, version, deletes, device, number, payload }) => line(row, version, deletes, device, number, payload)))]
}

/** Live rows of all scopes and no others, with the texts that the model knows. */
async function businessProblems (sql: Sql, scopes: Scope[]): Promise<string[]> {
  const found = await sql`
    select 'users ' || id as row, name as text, null as parent from business.users
    union all select 'posts ' || id, title, author_id::text from business.posts union all select 'typed_rows ' || id, note, null from business.typed_rows`
  const text = (value: Exact | undefined) => typeof value === 'string' ? value.replace(/^\ue000/, '') : value === undefined || value === null ? null : JSON.stringify(value).replaceAll('"\ue000', '').replaceAll('"', '')
  const loose = (value: string | null) => value?.replace(/[\s"]/g, '') ?? null
  const should = scopes.flatMap(({ rows }) => [...rows].filter(([, { deleted }]) => !deleted).map(([row, { payload }]) =>
    JSON.stringify([row, loose(text(row.startsWith('users ') ? payload['name'] : row.startsWith('posts ') ? payload['title'] : payload['note'])), row.startsWith('posts ') && typeof payload['author_id'] === 'string' ? uuidOf(payload['author_id']) : null])))
  return differences(found.map(row => JSON.stringify([row['row'], loose(row['text']), row['parent']])), should)
}

function differences (is: string[], should: string[]): string[] {
  const [left, right] = [new Set(is), new Set(should)]
  return [...is.filter(line => !right.has(line)).map(line => `is ${line}`), ...should.filter(line => !left.has(line)).map(line => `should be ${line}`)].slice(0, 6)
}
