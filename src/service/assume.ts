import type { UploadRequest } from '../contract/upload-request.js'
import type { Assumptions } from '../storage/append-where-assumed.js'
import type { RowKey, RowState } from '../storage/row-state.js'
import type { Known } from './decide.js'
import type { PreparedChange, UnreadableChange } from './prepare.js'

/** What a batch may be judged by before anything has been read. */
export interface Assumed {
  known: Known
  /** What the database has to find true of it, besides the states of the rows. */
  assumptions: Omit<Assumptions, 'identity'>
}

/**
 * What most batches find: rows are as the device says, live and with the same keys where it has a version of them and unknown
 * where it has none; what they refer to is live; and the device has used none of the numbers. Pure.
 */
export function assume (prepared: PreparedChange[], { epoch, next_source_change_id: expected }: UploadRequest): Assumed {
  const rows = new Map<string, RowState>()
  const own = new Set<string>()
  // A device whose numbers only go up must also have heard of all that were used before.
  let unusedFrom = expected ?? Number.MAX_SAFE_INTEGER
  for (const { row, base, shape, sourceChangeId } of prepared) {
    unusedFrom = Math.min(unusedFrom, sourceChangeId)
    if (own.has(row)) continue
    own.add(row)
    if (base > 0) rows.set(row, { version: base, deleted: false, serverId: 0, shape })
  }
  const live = new Map<string, RowKey>()
  for (const { parents } of prepared) {
    for (const parent of parents) if (parent.mustBeLive && !own.has(parent.row)) live.set(parent.row, parent)
  }
  for (const row of live.keys()) rows.set(row, { version: 1, deleted: false, serverId: 0, shape: 0 })
  return {
    known: { rows, ledger: new Map(), olderClient: epoch === undefined, numbers: expected === undefined ? null : { highest: 0, hasGap: false } },
    assumptions: { epoch: epoch ?? null, unusedFrom, live: [...live.values()] }
  }
}

/** Whether every change can be read, and none is refused whatever the stream holds. */
export function areGood (prepared: Array<PreparedChange | UnreadableChange>): prepared is PreparedChange[] {
  return prepared.every(change => !('unreadable' in change) && change.refusal === null)
}
