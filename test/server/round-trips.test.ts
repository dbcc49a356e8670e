// What an upload and a page cost, counted and not timed: round trips to the database, statements, and rows that are looked at.
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { OversyncOptions } from '../../src/index.js'
import { MAX_SCANNED_POSITIONS } from '../../src/limits.js'
import { caller, del, john, put, startApp, uuid, verdicts, type Caller } from '../helpers/app.js'
import { countTrips, type Counted } from '../helpers/count-trips.js'
import { freshDb } from '../helpers/db.js'

interface World extends Counted {
  phone: Caller
  tablet: Caller
}

async function build (t: Test, options: Partial<OversyncOptions> = {}, instance: { prepare?: boolean } = {}): Promise<World> {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const counted = countTrips(t, url, instance)
  const app = await startApp(t, { database: counted.client, ...options })
  const [phone, tablet] = [caller(app, 'ann', 'phone'), caller(app, 'ann', 'tablet')]
  // The stream, the source and the epochs are there.
  await phone.upload([put(1, 'users', uuid(1), john())])
  await tablet.download({ epoch: await tablet.epoch() })
  return { ...counted, phone, tablet }
}

/** Inserts of users from a number on. */
function users (count: number, from: number): UploadChange[] {
  return Array.from({ length: count }, (_, i) => put(from + i, 'users', uuid(from + i), john()))
}

t.test('an upload of new rows waits for the database once, however many they are', async t => {
  const { count, phone } = await build(t)
  for (const [size, from] of [[1, 100], [10, 200], [500, 300]] as const) {
    const { trips, statements } = await count(async () => { await phone.upload(users(size, from)) })
    t.equal(trips, 1, `${size} rows`)
    t.equal(statements.length, 6, `one statement each: ${statements.map(text => text.slice(0, 40)).join(' | ')}`)
  }
})

t.test('each further table, verb or set of columns of a batch costs a statement more and no trip; what is not as was assumed costs trips', async t => {
  const { count, phone } = await build(t)
  const costs = async (changes: UploadChange[], expected: string[]): Promise<{ trips: number, statements: number }> => {
    let answer: string[] = []
    const { trips, statements } = await count(async () => { answer = verdicts(await phone.upload(changes)) })
    t.strictSame(answer, expected)
    return { trips, statements: statements.length }
  }
  const family = [put(2, 'users', uuid(2), john()), put(3, 'posts', uuid(3), { title: 't', author_id: uuid(2) })]
  t.strictSame(await costs(family, ['2 applied v1', '3 applied v1']), { trips: 1, statements: 8 }, 'two tables')
  t.strictSame(await costs([put(4, 'users', uuid(2), john('Jane'), 1), put(5, 'users', uuid(4), john())], ['4 applied v2', '5 applied v1']), { trips: 1, statements: 8 }, 'an edit and a new row')
  t.strictSame(await costs([put(6, 'users', uuid(4), john('A'), 1), put(7, 'users', uuid(4), john('B'), 2)], ['6 applied v2', '7 applied v3']), { trips: 1, statements: 8 }, 'two changes of a row')
  t.strictSame(await costs([del(8, 'posts', uuid(3), 1)], ['8 applied v2']), { trips: 1, statements: 6 }, 'a deletion')
  t.strictSame(await costs([put(8, 'users', uuid(4), john('C'), 1), put(9, 'users', uuid(4), john('C'), 1)], ['8 invalid source_change_id_reused', '9 conflict v3']), { trips: 4, statements: 7 }, 'a used number and a conflict')
  const taken = await count(async () => { t.strictSame(verdicts(await phone.upload([put(10, 'users', uuid(1), john('D'))])), ['10 conflict v1']) })
  t.equal(taken.trips, 4, 'a new row that is there')
  t.notOk(taken.statements.some(text => /savepoint/i.test(text)), 'is no error of the database')
  t.strictSame(await costs(family, ['2 applied v1 row v2', '3 applied v1 row v2 deleted']), { trips: 5, statements: 15 }, 'replays of what has moved on')
})

t.test('a handshake, a page and a poll at the head are few statements, each in one round trip', async t => {
  const { count, phone, tablet } = await build(t)
  await phone.upload(users(300, 10))
  const handshake = await count(async () => { await phone.uploadText('{}') })
  t.strictSame([handshake.trips, handshake.statements.length], [2, 2], 'handshake')
  const page = await count(async () => { t.equal((await tablet.download({ limit: 300 })).changes.length, 300) })
  t.strictSame([page.trips, page.statements.length], [1, 1], 'page')
  const later = await count(async () => { t.equal((await tablet.download({ after: 100, until: 301, limit: 300 })).changes.length, 201) })
  t.strictSame([later.trips, later.statements.length], [1, 1], 'a later page of the window')
  const poll = await count(async () => { t.equal((await tablet.download({ after: 301 })).changes.length, 0) })
  t.strictSame([poll.trips, poll.statements.length], [1, 1], 'poll')
  t.ok((poll.statements[0] ?? '').length < 500 && !/change_log/.test(poll.statements[0] ?? ''), 'which is short and does not look at the log')
  const found = await count(async () => { t.equal((await tablet.download({ after: 300 })).changes.length, 1) })
  t.strictSame([found.trips, found.statements.length], [2, 2], 'a poll that finds something')
})

t.test('a page looks twice at as many log entries as it sends, by the index; one of own rows at a bounded number', async t => {
  const { client, count, phone, tablet } = await build(t)
  await phone.upload(users(3_000, 10))
  await client.unsafe(`
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
    select scope_id, server_id + g * 3001, source_no, source_change_id + g * 10000, table_id, op, pk || g, version, payload, payload_bytes from sync.change_log, generate_series(1, 3) g;
    update sync.stream set head = 12004`)
  // Among many streams the planner takes a range of one for shorter than it is.
  await client.unsafe(`
    insert into sync.scope (name) select 'user ' || g from generate_series(1, 20) g;
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
    select s.scope_id, l.server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes from sync.change_log l, sync.scope s where s.name like 'user %' and l.server_id <= 10000 order by s.scope_id, l.server_id`)
  await client.unsafe('vacuum analyze sync.change_log')
  const scanned = async (reader: Caller, query: Record<string, number | boolean>): Promise<number[]> => logScans((await explain(client, await lastOf(count, async () => { await reader.download(query) }))).Plan)
  // Where it ends, and its text.
  t.strictSame(await scanned(tablet, { limit: 1_000 }), [1_000, 1_000])
  t.strictSame(await scanned(tablet, { limit: 1_000, include_self: true }), [1_000, 1_000])
  t.strictSame(await scanned(tablet, { limit: 10, after: 11_000 }), [10, 10])
  t.strictSame(await scanned(tablet, { after: 12_004, until: 12_004 }), [0, 0])
  t.strictSame(await scanned(tablet, { after: 100, until: 120, limit: 1_000 }), [20, 20], 'a window that was frozen')
  t.strictSame(await scanned(phone, {}), [MAX_SCANNED_POSITIONS, 0], 'own rows')
})

t.test('PostgreSQL never believes a page to be so much work that it would compile the statement, nor asks each row for its device or table', async t => {
  const { client, count, phone, tablet } = await build(t)
  const plan = async (query: Record<string, number | string> = {}): Promise<Explained> => await explain(client, await lastOf(count, async () => { await tablet.download({ limit: 1_000, ...query }) }))
  const [row] = await client.unsafe("select current_setting('jit_above_cost')::float8 as cost")
  const small = async (name: string): Promise<void> => {
    for (const query of [{}, { schema: 'business' }]) t.ok((await plan(query)).Plan['Total Cost'] < (row?.['cost'] as number) / 4, `${name} ${JSON.stringify(query)}`)
  }
  await small('tables that were never analyzed')
  await phone.upload(users(1_000, 10))
  const { Plan: page } = await plan()
  t.strictSame(loops(page, ['synced_table']), [0, 0], 'tables are known; once for the first change, once for all others')
  t.strictSame(loops(page, ['source']), [1, 1, 1, 0, 0], 'of the caller, of the first numbers, and of those beyond them; likewise')
  await client.unsafe(`
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
    select scope_id, server_id + g * 1001, source_no + g % 5, source_change_id + g * 10000, table_id, op, pk || g, version, payload, payload_bytes from sync.change_log, generate_series(1, 150) g;
    insert into sync.source (scope_id, source_no, user_id, source_id) select scope_id, n, 'ann', 'device ' || n from sync.stream, generate_series(10, 5000) n;
    update sync.stream set head = 151151;
    analyze`)
  await small('one stream that is all there is')
})

t.test('among many streams an upload finds its own by the index', async t => {
  const { client, count, phone } = await build(t, { preparedStatements: true })
  await client.unsafe(`
    insert into sync.scope (name) select 'a user ' || g from generate_series(1, 5000) g;
    insert into sync.stream (scope_id) select scope_id from sync.scope where name like 'a user %';
    insert into sync.source (scope_id, source_no, user_id, source_id) select scope_id, 1, name, 'phone' from sync.scope where name like 'a user %';
    analyze sync.scope, sync.stream, sync.source`)
  const { statements, parameters } = await count(async () => { await phone.upload(users(1, 100)) })
  const at = statements.findIndex(text => text.includes('oversync.as_assumed'))
  for (const mode of ['force_generic_plan', 'force_custom_plan']) {
    await client.unsafe(`set plan_cache_mode = ${mode}`)
    const { Plan: plan } = await explain(client, { text: statements[at] as string, values: parameters[at] as unknown[] })
    for (const table of ['scope', 'stream', 'source']) t.strictSame([...new Set(scansOf(plan, table))].filter(kind => !/^Index|^ModifyTable$/.test(kind)), [], `${table}, ${mode}`)
  }
})

t.test('PostgreSQL plans what an upload runs once, and never believes it to be so much work that it would compile it', async t => {
  const { client, count, phone } = await build(t, { preparedStatements: true })
  const [row] = await client.unsafe("select current_setting('jit_above_cost')::float8 as cost")
  const appended = async (changes: UploadChange[]): Promise<{ text: string, values: unknown[] }> => {
    const { statements, parameters } = await count(async () => { await phone.upload(changes) })
    const at = statements.findIndex(text => text.includes('oversync.as_assumed'))
    return { text: statements[at] as string, values: parameters[at] as unknown[] }
  }
  for (let i = 0; i < 20; i++) await phone.upload([put(100 + i, 'posts', uuid(100 + i), { title: 't', content: 'c', author_id: uuid(1), created_at: 1, updated_at: 1 })])
  const plans = await client.unsafe("select generic_plans::int as reused, custom_plans::int as anew from pg_prepared_statements where statement not like '%pg_catalog.pg_type%' and generic_plans + custom_plans > 10")
  t.strictSame(plans.map(({ anew }) => anew as number), [5, 5, 5], 'the lock, the log and the rows: five times by their parameters, as PostgreSQL does, and then no more')
  for (const analyzed of ['', 'analyze']) {
    await client.unsafe(analyzed)
    for (const size of [1, 1_000]) {
      const statement = await appended(users(size, 1_000 * (size + analyzed.length)))
      for (const mode of ['force_generic_plan', 'force_custom_plan']) {
        await client.unsafe(`set plan_cache_mode = ${mode}`)
        const { Plan: plan } = await explain(client, statement)
        t.ok(plan['Total Cost'] < (row?.['cost'] as number) / 4, `${size} rows, ${mode} ${analyzed}: ${plan['Total Cost']}`)
        t.strictSame(scansOf(plan, 'row_state').filter(kind => kind !== 'Index Scan' && kind !== 'ModifyTable'), [], 'row states by the index')
      }
      await client.unsafe('reset plan_cache_mode')
    }
  }
})

/** How a plan gets at a table. */
function scansOf (plan: Plan, table: string): string[] {
  return [...(plan['Relation Name'] === table ? [plan['Node Type']] : []), ...(plan.Plans ?? []).flatMap(below => scansOf(below, table))]
}

type Explained = { Plan: Plan }

/** The text and the parameters of the last statement of some work. */
async function lastOf (count: Counted['count'], work: () => Promise<unknown>): Promise<{ text: string, values: unknown[] }> {
  const { statements, parameters } = await count(work)
  return { text: statements.at(-1) ?? '', values: parameters.at(-1) ?? [] }
}

async function explain (client: Counted['client'], { text, values }: { text: string, values: unknown[] }): Promise<Explained> {
  const [row] = await client.unsafe(`explain (analyze, format json) ${text}`, values as never[])
  return (row as unknown as { 'QUERY PLAN': [Explained] })['QUERY PLAN'][0]
}

/** How often each place of a plan that reads some tables was run. */
function loops (plan: Plan, tables: string[]): number[] {
  return [...(tables.includes(plan['Relation Name'] ?? '') ? [plan['Actual Loops']] : []), ...(plan.Plans ?? []).flatMap(below => loops(below, tables))]
}

interface Plan { 'Node Type': string, 'Total Cost': number, 'Relation Name'?: string, 'Actual Rows': number, 'Actual Loops': number, 'Rows Removed by Filter'?: number, Plans?: Plan[] }

/** Entries that each scan of the log looked at. Throws where one does not go by the index. */
function logScans (plan: Plan): number[] {
  const below = (plan.Plans ?? []).flatMap(logScans)
  if (plan['Relation Name'] !== 'change_log') return below
  if (plan['Node Type'] !== 'Index Scan') throw new Error(`The log is read by a ${plan['Node Type']}.`)
  return [...below, (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops']]
}

t.test('statements have names where the option says so and the instance allows it, and only those of every request', async t => {
  for (const [preparedStatements, prepare, expected] of [[true, true, 4], [false, true, 0], [true, false, 0]] as const) {
    const { client, count, phone, tablet } = await build(t, { preparedStatements }, { prepare })
    for (const round of [1, 2]) {
      const { trips } = await count(async () => { await phone.upload(users(20, round * 100)) })
      t.equal(trips, 1)
      const page = await count(async () => { t.equal((await tablet.download({ after: (round - 1) * 20 })).changes.length, 21) })
      t.equal(page.trips, round)
    }
    const [row] = await client.unsafe("select count(*)::int as n from pg_prepared_statements where statement not like '%pg_catalog.pg_type%'")
    t.equal(row?.['n'], expected, `preparedStatements ${String(preparedStatements)}, prepare ${String(prepare)}`)
  }
})

t.test('statements of the app\'s own code take parameters of any kind', async t => {
  const seen: unknown[] = []
  const { phone } = await build(t, {
    beforeApply: async ({ trx }) => {
      const { rows } = await trx.executeQuery({
        sql: 'select $1::json as document, $2::timestamptz as at, $3::int[] as list, $4::bytea as bytes',
        parameters: [{ a: 1 }, new Date(0), [1, 2], new Uint8Array([7])],
        query: { kind: 'RawNode' } as never,
        queryId: { queryId: 'kinds' } as never
      })
      seen.push(rows[0])
    }
  })
  t.strictSame(verdicts(await phone.upload(users(1, 50))), ['50 applied v1'])
  t.match(seen.at(-1), { document: { a: 1 }, at: new Date(0) })
  t.equal(Buffer.from((seen.at(-1) as { bytes: Buffer }).bytes).toString('hex'), '07')
})
