import { openBackend } from '../backend.js'
import { openCaller } from '../http.js'
import { load } from '../load.js'
import { assertApplied, insertBodies, notes } from '../rows.js'
import type { Scenario } from '../scenario.js'

const CLIENTS = 32
const SIZE = 1_000

/** Resident memory of the server; the last scenario, so that it has seen all others. */
export const memoryScenarios: Scenario[] = [{
  name: 'highest of the server, 32 clients with n=1000 and whatever was measured before',
  unit: 'MB',
  target: { atMost: 1 },
  limitIs: 'a bound: 200 MB',
  async open (world) {
    const backend = await openBackend(world)
    const callers = await Promise.all(Array.from({ length: CLIENTS }, async (_, i) => await openCaller(backend, `user-${i}`, 'phone')))
    world.onClose(() => { for (const caller of callers) caller.close() })
    let firstId = 1
    return {
      async ours () {
        await load(callers.map(({ epoch, upload }) => insertBodies(epoch, [notes(SIZE)], firstId).map(body => async () => { assertApplied(await upload(body), SIZE) })), SIZE)
        firstId += SIZE
        const { peakMb, rssMb } = await backend.usage()
        return { figure: Math.max(peakMb, world.stage.peakMb), extra: { 'now MB': rssMb } }
      },
      limit: async () => ({ figure: 200 })
    }
  }
}]
