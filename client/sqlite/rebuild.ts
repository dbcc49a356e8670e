import type { Driver } from '../drivers/driver.js'
import { dropStage, readState, writeState, type ClientState, type RebuildReason } from './client-state.js'
import { unfreeze } from './outbox.js'
import { randomUuid } from './uuid.js'

/** A rebuild that asks for more includes one that asks for less. */
const WEIGHT: Record<RebuildReason, number> = { copy: 1, expired: 2, history: 3 }

/**
 * Begins to download everything again. Nothing that the app sees changes before the whole window is there; until then
 * nothing is uploaded. Call inside a transaction.
 *
 * Where the file's source id cannot be trusted any more (the server forgot its numbers, or another copy uses them) the file
 * goes on under a new one: what was frozen is pending again, and the window has the changes of all ids.
 */
export function beginRebuild (driver: Driver, reason: RebuildReason, epoch: string | null): void {
  const state = readState(driver) as ClientState
  dropStage(driver)
  if (reason !== 'expired') {
    unfreeze(driver)
    // Its changes are of the history that this device knows.
    noteSource(driver, state.sourceId)
    writeState(driver, { source_id: randomUuid(), next_change_id: 1, acked_next: 1 })
  }
  const isMore = state.rebuild === null || WEIGHT[reason] > WEIGHT[state.rebuild]
  writeState(driver, { cursor: 0, include_self: 1, epoch, rebuild: isMore ? reason : state.rebuild })
}

export function noteSource (driver: Driver, sourceId: string): void {
  driver.run('insert into _sync_seen (source_id) values (?) on conflict do nothing', [sourceId])
}
