import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import type { Identity } from '../http/read-reply.js'
import type { Transport } from '../http/transport.js'
import type { SyncProgress } from '../news.js'
import type { Settings } from '../options.js'
import type { ApplyHost } from '../sqlite/apply-context.js'
import type { Checkpoints } from '../sqlite/checkpoints.js'
import type { Tables } from '../sqlite/open-file.js'
import { prepareTables } from '../sqlite/prepare-tables.js'
import type { Rebuilt } from '../sqlite/apply.js'
import { readState, type ClientState, type RebuildReason } from '../sqlite/client-state.js'

export type RebuildNews = { reason: RebuildReason, phase: 'begun' } | (Rebuilt & { phase: 'done' })

/** An open client: what its phases share. */
export interface Session extends ApplyHost {
  readonly driver: Driver
  settings: Settings
  readonly transport: Transport
  readonly checkpoints: Checkpoints
  /** A migration of this client's that could not be ended yet: the tables as they are after it. */
  unfinished: Settings | null
  /** For whom this client speaks; null until somebody is signed in. */
  user: { userId: string, scope: string | null } | null
  /** Whether server and file have agreed on who they are since the client was opened. */
  hasShakenHands: boolean
  /** The source id for which they did. */
  introducedAs: string | null
  /** Changes in the next upload: halved when a batch was too large, doubled again when one went well. */
  batchSize: number
  /** The app agrees that what this device holds goes to a server with another address and another history. */
  mayChangeServer: boolean
  /** Rows of which the server told an older version than it had told before: the last rebuild was begun for them. */
  unexplained: ReadonlySet<string>
  /** Told when a rebuild begins, and what it did when it is done. */
  onRebuild: (news: RebuildNews) => void
  /** Called after every transaction that wrote rows, with the tables that it changed. */
  afterCommit: (changedTables: ReadonlySet<string>) => void
  /** Told of every batch and page. */
  onProgress: (progress: SyncProgress) => void
}

/** The synced tables from now on. */
export function useTables (session: Session, settings: Settings, tables: Tables): void {
  session.settings = settings
  session.rules = settings.tables
  Object.assign(session, tableReader(session.driver, settings, tables))
}

/** Reads the tables again where the file's schema has changed since: another process, or the app, may have altered them. */
export function tableReader (driver: Driver, settings: Settings, opened: Tables): Pick<Session, 'refreshTables' | 'knownTables' | 'schemaHasChanged' | 'schemaIsMine'> {
  const schemaVersion = (): number => driver.all<{ schema_version: number }>('pragma main.schema_version')[0]?.schema_version ?? 0
  let tables = opened
  let seen = schemaVersion()
  const schemaHasChanged = (): boolean => schemaVersion() !== seen
  return {
    schemaHasChanged,
    refreshTables () {
      // `seen` moves when the transaction is about to end: where it is rolled back, this is done again.
      if (schemaHasChanged()) tables = prepareTables(driver, settings, false)
      return tables
    },
    knownTables: () => tables,
    schemaIsMine () { seen = schemaVersion() }
  }
}

/** The file's state. Throws where nobody is signed in, or somebody else by another process: nobody's changes go up under another name. */
export function stateOf (session: Session): ClientState {
  const state = readState(session.driver)
  if (state === null) throw new SyncClientError('signed_out', 'The file is no longer prepared for sync.')
  if (state.userId === null) throw new SyncClientError('signed_out', 'Nobody is signed in. Changes are kept; call signIn.')
  if (session.user === null) session.user = { userId: state.userId, scope: state.scope }
  if (state.userId !== session.user.userId || state.scope !== session.user.scope) throw new SyncClientError('wrong_user', 'Somebody else has signed in on this file since.')
  return state
}

/** The reply speaks for the device that this file is. */
export function assertSameDevice (state: ClientState, reply: Identity): void {
  if (reply.sourceId !== state.sourceId) {
    throw new SyncClientError('wrong_device', `The server takes this device for ${reply.sourceId}; the file belongs to ${state.sourceId}.`)
  }
}

/** The reply speaks for the history and the device that this file belongs to; otherwise nothing of it is used. */
export function assertSameIdentity (state: ClientState, reply: Identity): void {
  assertSameDevice(state, reply)
  if (state.epoch !== null && reply.epoch !== state.epoch) throw historyChanged()
}

/** As the server's own 409: the file finds out by a handshake what has become of its history. */
export function historyChanged (): SyncClientError {
  return new SyncClientError('history_changed', 'The server\'s history is not the one that this file knows.', { status: 409 })
}
