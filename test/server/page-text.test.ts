// The text of a page, whatever makes it: against the same made change by change from the view sync.changes.
import t from 'tap'
import { MAX_PAGE_BYTES } from '../../src/limits.js'
import { SYNCED_TABLES } from '../../examples/server/business-schema.js'
import { buildApp, caller, john, put, startApp, uuid, type World } from '../helpers/app.js'

const DEVICES = 150

/** A stream of `entries` entries in which everything varies: devices, tables, verbs, times, keys, and gaps between positions. */
async function fill ({ sql, user }: Pick<World, 'sql' | 'user'>, entries: number): Promise<void> {
  await user('ann').upload([put(1, 'users', uuid(1), john())])
  await sql`insert into sync.source (scope_id, source_no, user_id, source_id) select 1, n, 'ann', 'device "' || n || '"\t\\é' from generate_series(2, ${DEVICES}) n`
  await sql`
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes, ts)
    select 1, 1 + n * 3, (n * 7) % (${DEVICES + 1}::int), case when (n * 7) % (${DEVICES + 1}::int) = 0 then -n else n + 1 end, 1 + n % 3,
      (array['I', 'U', 'D'])[1 + n % 3]::"char", 'key "' || n || E'"\\\\\n\u0001é', n, case when n % 3 <> 2 then ('{ "n": ' || n || '.10, "\\u0041":"é" }')::json end, 20,
      '2026-03-01 12:00:00.5+00'::timestamptz + (n / 40) * interval '1 minute 0.000001 seconds'
    from generate_series(1, ${entries}::int) n`
  await sql`update sync.stream set head = ${1 + entries * 3} where scope_id = 1`
}

/** The entries behind a position that a device sees, as the contract has them. */
async function expected ({ sql }: Pick<World, 'sql'>, after: number, limit: number, notOf = ''): Promise<string> {
  const rows = await sql<Array<Record<'op' | 'schema' | 'table' | 'pk' | 'source' | 'ts' | 'payload', string> & Record<'at' | 'version' | 'change', string>>>`
    select server_id as at, schema_name as schema, table_name as table, op, pk, payload::text as payload, version, coalesce(source_id, 'oversync:server') as source,
      case when source_change_id > 0 then source_change_id else server_id end as change, to_json(ts)::text as ts
    from sync.changes where scope = 'ann' and server_id > ${after} and source_id is distinct from ${notOf} order by server_id limit ${limit}`
  const text = (value: string): string => JSON.stringify(value)
  return rows.map(row => `{"server_id":${row.at},"schema":${text(row.schema)},"table":${text(row.table)},"op":"${row.op}","deleted":${row.op === 'DELETE'},"pk":${text(row.pk)},` +
    `"server_version":${row.version},"source_id":${text(row.source)},"source_change_id":${row.change},"ts":${row.ts}${row.payload === null ? '' : `,"payload":${row.payload}`}}`).join()
}

const changesOf = (text: string): string => text.slice('{"changes":['.length, text.lastIndexOf('],"has_more":'))

t.test('every change is told exactly, of whichever device, table, verb and time it is, in the order of positions (P10)', async t => {
  const world = await buildApp(t)
  await fill(world, 1_000)
  const tablet = world.user('ann', 'tablet')
  for (const [after, limit] of [[0, 1_000], [0, 100], [0, 1], [0, 2], [4, 1], [4, 2], [1, 1_000], [375, 100], [2_900, 1_000], [3_000, 1_000]] as const) {
    const page = await tablet.download({ after, limit })
    t.equal(changesOf(page.text), await expected(world, after, limit), `${limit} behind ${after}`)
  }
  const own = 'device "3"\t\\é'
  t.equal(changesOf((await caller(world.app, 'ann', 'phone').download({ limit: 900 })).text), await expected(world, 0, 900, 'phone'), 'without the first change')
  t.not(await expected(world, 0, 900, own), await expected(world, 0, 900))
})

t.test('a device whose number comes after a gap is named like any other', async t => {
  const world = await buildApp(t)
  await fill(world, 300)
  await world.sql`delete from sync.source where source_no in (5, 70)`
  const page = await world.user('ann', 'tablet').download({ limit: 1_000 })
  t.equal(changesOf(page.text), await expected(world, 0, 1_000))
  t.match(page.text, /"source_id":"device \\"6\\"/)
})

t.test('changes of a table that only another process knows are told with its name', async t => {
  const world = await buildApp(t, { schemaSql: 'create table business.later (id uuid primary key, body text)' })
  await world.user('ann').upload([put(1, 'users', uuid(1), john())])
  const other = await startApp(t, { database: world.url, alone: true, tables: [...SYNCED_TABLES, 'business.later'] })
  await caller(other, 'ann').upload([put(2, 'later', uuid(2), { body: 'x' })])
  const { text, changes } = await world.user('ann', 'tablet').download()
  t.strictSame(changes.map(({ table }) => table), ['users', 'later'])
  t.equal(changesOf(text), await expected(world, 0, 10))
  t.strictSame((await world.user('ann', 'tablet').download({ schema: 'business' })).changes.length, 2)
})

t.test('a page that its bytes end is exact too, and goes on where it stopped', async t => {
  const world = await buildApp(t)
  await fill(world, 600)
  await world.sql`update sync.change_log set payload_bytes = ${MAX_PAGE_BYTES / 256} where scope_id = 1`
  const tablet = world.user('ann', 'tablet')
  let [after, count] = [0, 0]
  for (const size of [256, 256, 89]) {
    const page = await tablet.download({ after, until: 1_801, limit: 1_000 })
    t.equal(changesOf(page.text), await expected(world, after, size))
    ;[after, count] = [page.next_after, count + page.changes.length]
  }
  t.strictSame([after, count], [1_801, 601])
})

t.test('a reply is whole whatever the length of the device\'s id, read in pieces and side by side', async t => {
  const world = await buildApp(t)
  await fill(world, 300)
  const devices = ['x', 'é'.repeat(255), '"'.repeat(255), '\u0001'.repeat(255)]
  const pages = await Promise.all(devices.flatMap(deviceId => [0, 30, 600, 900].map(async after => ({ deviceId, after, page: await world.app.oversync.download({ userId: 'ann', deviceId }, { after, limit: 100, until: 901 }) }))))
  for (const { deviceId, after, page } of pages) {
    t.equal(changesOf(page.json), await expected(world, after, 100), `${deviceId.length} behind ${after}`)
    const { changes, ...rest } = JSON.parse(page.json) as Record<string, unknown> & { changes: unknown[] }
    t.match(rest, { has_more: changes.length === 100, source_id: deviceId, next_source_change_id: 1, window_until: 901 })
    t.equal(page.bytes.toString(), page.json)
  }
})
