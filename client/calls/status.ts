import type { ClientCore } from '../core.js'
import type { LoopState } from '../loop/machine.js'
import { readState, type ClientState, type RebuildReason } from '../sqlite/client-state.js'

export interface SyncStatus {
  /** Who is signed in; null for nobody. */
  userId: string | null
  /** null: the user's own stream. */
  scope: string | null
  /** The source id. It differs from the option after the file was found to be a copy. */
  deviceId: string
  /** null until the first contact with the server. */
  epoch: string | null
  cursor: number
  /** Why everything is being downloaded again; null where it is not. Nothing is uploaded meanwhile. */
  rebuild: RebuildReason | null
  /** Rows changed here that wait to be sent. */
  pending: number
  /** Changes that were sent, or are about to be, and not judged. */
  outbox: number
  held: number
  /** Server rows that cannot be shown yet. */
  shadow: number
  /** Automatic decisions on record. */
  conflicts: number
  /** What the loop is doing, see docs/client-states.md; 'stopped' where it was not started. */
  state: LoopState
  /** The error of the last call, null after a call that went well. */
  lastError: Error | null
}

export interface StatusCalls {
  status: () => SyncStatus
}

export function statusCalls (core: ClientCore): StatusCalls {
  return { status: () => core.now(() => readStatus(core)) }
}

export function readStatus ({ session, lastError, loopState }: ClientCore): SyncStatus {
  const { userId, scope, sourceId, epoch, cursor, rebuild } = readState(session.driver) as ClientState
  const [counts] = session.driver.all<Pick<SyncStatus, 'pending' | 'outbox' | 'held' | 'shadow' | 'conflicts'>>(
    `select (select count(*) from _sync_pending) as pending, (select count(*) from _sync_outbox) as outbox,
            (select count(*) from _sync_held) as held, (select count(*) from _sync_shadow) as shadow,
            (select count(*) from _sync_conflict) as conflicts`)
  return { userId, scope, deviceId: sourceId, epoch, cursor, rebuild, ...(counts as NonNullable<typeof counts>), state: loopState(), lastError: lastError() }
}
