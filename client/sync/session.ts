import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import type { Identity } from '../http/read-reply.js'
import type { Transport } from '../http/transport.js'
import type { SyncProgress } from '../news.js'
import type { Settings } from '../options.js'
import type { ApplyHost } from '../sqlite/apply-context.js'
import { readState, type ClientState } from '../sqlite/client-state.js'

/** An open client: what its phases share. */
export interface Session extends ApplyHost {
  readonly driver: Driver
  readonly settings: Settings
  readonly transport: Transport
  /** Whether server and file have agreed on who they are since the client was opened. */
  hasShakenHands: boolean
  /** Changes in the next upload: halved when a batch was too large, doubled again when one went well. */
  batchSize: number
  /** Called after every transaction that wrote rows, with the tables that it changed. */
  afterCommit: (changedTables: ReadonlySet<string>) => void
  /** Told of every batch and page. */
  onProgress: (progress: SyncProgress) => void
}

export function stateOf (session: Session): ClientState {
  return readState(session.driver) as ClientState
}

/** The reply speaks for the history and the device that this file belongs to; otherwise nothing of it is used. */
export function assertSameIdentity (state: ClientState, reply: Identity): void {
  if (reply.sourceId !== state.sourceId) {
    throw new SyncClientError('wrong_device', `The server takes this device for ${reply.sourceId}; the file belongs to ${state.sourceId}.`)
  }
  if (state.epoch !== null && reply.epoch !== state.epoch) {
    throw new SyncClientError('history_changed', 'The server\'s history is not the one that this file knows.')
  }
}
