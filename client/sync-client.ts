import { lifecycleCalls, type LifecycleCalls } from './calls/lifecycle.js'
import { rowCalls, type RowCalls } from './calls/rows.js'
import { runCalls, type RunCalls } from './calls/run.js'
import { statusCalls, type StatusCalls } from './calls/status.js'
import { createCore } from './core.js'
import type { Driver } from './drivers/driver.js'
import { SyncClientError } from './errors.js'
import type { Emitter } from './events.js'
import { createTransport } from './http/transport.js'
import type { SyncEvents } from './news.js'
import { readOptions, type SyncClientOptions } from './options.js'
import { adoptExtra } from './sqlite/adopt-extra.js'
import { openFile } from './sqlite/open-file.js'
import type { Session } from './sync/session.js'

/** Keeps the synced tables of one SQLite file in step with a server. One call at a time; further calls wait their turn. */
export interface SyncClient extends RunCalls, StatusCalls, RowCalls, LifecycleCalls {
  /** Calls `listener` for every such event; returns the function that ends it. */
  on: Emitter<SyncEvents>['on']
}

/**
 * Prepares the file and returns its client. Synchronous. Throws `SyncClientError` (`table_refused`, `wrong_user`,
 * `wrong_scope`, `wrong_device`, `invalid_option`, `busy`) and leaves the file as it was where it cannot.
 */
export function createSyncClient (driver: Driver, options: SyncClientOptions): SyncClient {
  if (typeof driver?.all !== 'function' || typeof driver.exec !== 'function') throw new SyncClientError('invalid_option', 'The first argument must be a driver: betterSqlite3(db), for example.')
  const settings = readOptions(options)
  const tables = openFile(driver, settings)
  const session: Session = {
    driver, settings, tables, rules: settings.tables, transport: createTransport(settings), hasShakenHands: false, user: settings.user, mayChangeServer: settings.onServerChange === 'rebuild', onRebuild: () => {}, unexplained: new Set(), batchSize: settings.uploadBatchSize, afterCommit: () => {}
  }
  adoptExtra(session)
  const core = createCore(session)
  return { ...runCalls(core), ...statusCalls(core), ...rowCalls(core), ...lifecycleCalls(core), on: core.events.on }
}
