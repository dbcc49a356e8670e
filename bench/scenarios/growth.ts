import { openBackend, type Backend } from '../backend.js'
import { openCaller, type Caller } from '../http.js'
import { latency, load } from '../load.js'
import { assertApplied, insertBodies, notes } from '../rows.js'
import type { Measure, Scenario, World } from '../scenario.js'

const SMALL = 10_000
const LARGE = 200_000
const HUGE = 1_000_000
const SIZE = 100
/** Rows of one user: streams are many and each is short. */
const ROWS_PER_USER = 10_000

interface Grown { backend: Backend, caller: Caller, firstId: number }

/** The same work on a server that has much more behind it; the limit is the small one. */
export const growthScenarios: Scenario[] = [
  grown('time of a change in batches of 100', 2, async ({ caller, ...grown }, world) => {
    const batches = Array.from({ length: world.quick ? 20 : 60 }, () => notes(SIZE))
    const bodies = insertBodies(caller.epoch, batches, grown.firstId)
    const { figure } = await load([bodies.map(body => async () => { assertApplied(await caller.upload(body), SIZE) })], SIZE)
    return { figure: 1_000 / figure }
  }),
  grown('page of 1,000', 1.2, async ({ caller }, world) => await latency(world.quick ? 40 : 150, async () => await caller.get('/download?after=0&limit=1000&include_self=true'))),
  grown('poll at the head', 1.2, async ({ caller }, world) => await latency(world.quick ? 100 : 400, async () => await caller.get('/download?after=1000000000')))
]

function grown (name: string, atMost: number, measure: (grown: Grown, world: World) => Promise<Measure>): Scenario {
  return {
    name: `${name}, ${LARGE.toLocaleString('en-US')} rows in the log (--long: ${HUGE.toLocaleString('en-US')})`,
    unit: 'ms',
    target: { atMost },
    limitIs: `the same with ${SMALL.toLocaleString('en-US')} rows`,
    async open (world) {
      const [large, small] = [await grow(world, world.long ? HUGE : LARGE), await grow(world, SMALL)]
      const side = (grown: Grown) => async () => {
        const measured = await measure(grown, world)
        grown.firstId += 1_000_000
        return measured
      }
      return { ours: side(large), limit: side(small) }
    }
  }
}

/** A server with that many rows behind it, of users of 10,000 rows each who uploaded batches by turns, put there by SQL. */
async function grow (world: World, rows: number): Promise<Grown> {
  const backend = await openBackend(world)
  const caller = await openCaller(backend, 'user-1', 'phone')
  world.onClose(caller.close)
  const users = rows / ROWS_PER_USER
  await backend.sql.unsafe(`
    insert into sync.scope (name) select 'user-' || g from generate_series(1, ${users}) g on conflict do nothing;
    insert into sync.stream (scope_id, head) select scope_id, ${ROWS_PER_USER} from sync.scope on conflict (scope_id) do update set head = excluded.head;
    insert into sync.source (scope_id, source_no, user_id, source_id, max_change_id) select scope_id, 1, name, 'phone', ${ROWS_PER_USER} from sync.scope on conflict do nothing;
    create temporary table made as
      select scope_id, n, gen_random_uuid()::text as pk
      from sync.scope, generate_series(1, ${ROWS_PER_USER}) n order by (n - 1) / ${SIZE}, scope_id, n;
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
      select scope_id, n, 1, n, t.table_id, 'I', pk, 1, p, octet_length(p::text)
      from made, lateral (select json_build_object('id', pk, 'title', 'Note number ' || n, 'body', 'Milk, bread, and whatever else there was on the list', 'stars', 1, 'done', false, 'updated', '2026-03-01T12:00:00.000Z') as p) x,
        sync.synced_table t where t.table_name = 'notes';
    insert into sync.row_state (scope_id, server_id, version, shape, table_id, deleted, pk)
      select scope_id, server_id, 1, 0, table_id, false, pk from sync.change_log;
    insert into business.notes select (json_populate_record(null::business.notes, payload)).* from sync.change_log;
    drop table made;`)
  await backend.sql.unsafe('vacuum analyze')
  return { backend, caller, firstId: ROWS_PER_USER + 1 }
}
