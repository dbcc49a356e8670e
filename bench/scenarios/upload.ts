import { openBackend } from '../backend.js'
import { openCaller } from '../http.js'
import { latency, load } from '../load.js'
import { RawWriter } from '../raw-write.js'
import { assertApplied, insertBodies, note, notes } from '../rows.js'
import type { Scenario, Sides, Target, World } from '../scenario.js'

const SIZES = [1, 10, 100, 200, 1_000]
const CLIENTS = [1, 8, 32]
const DEVICES = 8

/** Requests of one round, all clients together: a second or so of work. */
const REQUESTS: Record<number, number> = { 1: 800, 10: 400, 100: 160, 200: 96, 1_000: 32 }

const WRITE = 'one prepared statement a batch that writes log, row state and business table'

export const uploadScenarios: Scenario[] = [
  oneRow({ name: 'latency of one row', distanceMs: 0, target: { atMost: 2.5 } }),
  // As between two machines of one region.
  oneRow({ name: 'latency of one row, database 2 ms away and back', distanceMs: 1, target: null }),
  ...CLIENTS.flatMap(clients => SIZES.map(size => uploads({
    name: `n=${size}, ${clients === 1 ? '1 client' : `${clients} clients of different users`}`,
    size,
    users: clients,
    devices: 1,
    target: size === 200 && clients === 8 ? { atLeast: 0.7 } : null
  }))),
  ...SIZES.map(size => uploads({ name: `n=${size}, ${DEVICES} devices of one user`, size, users: 1, devices: DEVICES, target: size === 100 ? { atLeast: 0.5 } : null }))
]

interface Shape { name: string, size: number, users: number, devices: number, target: Target }

function uploads ({ name, size, users, devices, target }: Shape): Scenario {
  const connections = users === 1 ? 'one connection' : `${users} connections`
  return {
    name,
    unit: 'changes/s',
    target,
    limitIs: `${WRITE}, ${connections}`,
    open: async world => await openUploads(world, { size, users, devices })
  }
}

async function openUploads (world: World, { size, users, devices }: Omit<Shape, 'name' | 'target'>): Promise<Sides> {
  const backend = await openBackend(world)
  const callers = await Promise.all(Array.from({ length: users * devices }, async (_, i) => await openCaller(backend, `user-${i % users}`, `device-${i}`)))
  world.onClose(() => { for (const caller of callers) caller.close() })
  const writers = Array.from({ length: users }, (_, i) => new RawWriter(backend.sql, i + 1))
  const requests = Math.ceil((REQUESTS[size] as number) / (world.quick ? 4 : 1))
  const perCaller = Math.max(1, Math.ceil(requests / callers.length))
  const perWriter = perCaller * devices
  const batches = (count: number) => Array.from({ length: count }, () => notes(size))
  let firstId = 1
  return {
    async ours () {
      const work = callers.map(({ epoch, upload }) =>
        insertBodies(epoch, batches(perCaller), firstId).map(body => async () => { assertApplied(await upload(body), size) }))
      firstId += perCaller * size
      const before = (await backend.usage()).shortUploads
      const measured = await load(work, size)
      assertShort((await backend.usage()).shortUploads - before, perCaller * callers.length)
      return measured
    },
    limit: async () => await load(writers.map(writer => batches(perWriter).map(rows => writer.batch(rows))), size)
  }
}

/** What an app waits for that sends each row at once. */
function oneRow ({ name, distanceMs, target }: { name: string, distanceMs: number, target: Target }): Scenario {
  return {
    name,
    unit: 'ms',
    target,
    limitIs: 'insert of one row into the business table, prepared and committed',
    async open (world) {
      const backend = await openBackend(world, { distanceMs })
      const caller = await openCaller(backend, 'ann', 'phone')
      world.onClose(caller.close)
      const times = world.quick ? 100 : 400
      let id = 1
      return {
        ours: async () => await latency(times, async () => { assertApplied(await caller.upload(insertBodies(caller.epoch, [[note()]], id++)[0] as string), 1) }),
        limit: async () => await latency(times, async () => await backend.sql.unsafe('insert into raw.notes select * from json_populate_record(null::raw.notes, $1::text::json)', [note().payload], { prepare: true }))
      }
    }
  }
}

/** That uploads took the short way: everything from BEGIN to COMMIT in one round trip. */
function assertShort (short: number, uploads: number): void {
  if (short !== uploads) throw new Error(`Of ${uploads} uploads of new rows ${short} took one round trip to PostgreSQL.`)
}
