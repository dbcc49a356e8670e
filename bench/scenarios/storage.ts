import { openBackend } from '../backend.js'
import { openCaller } from '../http.js'
import { assertApplied, insertBodies, note, notes } from '../rows.js'
import type { Scenario } from '../scenario.js'

const SIZE = 1_000

/** Bytes on disk of a change, beside the business table: log, row state and their indexes. */
export const storageScenarios: Scenario[] = [{
  name: 'log, row state and indexes, for each change',
  unit: 'bytes',
  // 650 bytes beside a payload of 190.
  target: { atMost: 650 / 190 },
  limitIs: 'the payload',
  async open (world) {
    const backend = await openBackend(world)
    const caller = await openCaller(backend, 'ann', 'phone')
    world.onClose(caller.close)
    const batches = world.quick ? 10 : 40
    let changes = 0
    return {
      async ours () {
        for (const body of insertBodies(caller.epoch, Array.from({ length: batches }, () => notes(SIZE)), changes + 1)) assertApplied(await caller.upload(body), SIZE)
        changes += batches * SIZE
        const [row] = await backend.sql<Array<{ bytes: string }>>`select pg_total_relation_size('sync.change_log') + pg_total_relation_size('sync.row_state') as bytes`
        return { figure: Number(row?.bytes) / changes }
      },
      limit: async () => ({ figure: note().payload.length })
    }
  }
}]
