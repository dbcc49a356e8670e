import { loopCalls, type LoopCalls } from './calls/loop.js'
import { lifecycleCalls, type LifecycleCalls } from './calls/lifecycle.js'
import { migrationCalls, type MigrationCalls } from './calls/migration.js'
import { rowCalls, type RowCalls } from './calls/rows.js'
import { runCalls, type RunCalls } from './calls/run.js'
import { statusCalls, type StatusCalls } from './calls/status.js'
import { createCore } from './core.js'
import type { Driver } from './drivers/driver.js'
import { SyncClientError } from './errors.js'
import type { Emitter } from './events.js'
import { createTransport } from './http/transport.js'
import { surroundings, type Surroundings } from './loop/surroundings.js'
import type { SyncEvents } from './news.js'
import { readOptions, type SyncClientOptions } from './options.js'
import { adoptExtra } from './sqlite/adopt-extra.js'
import { Checkpoints } from './sqlite/checkpoints.js'
import { openFile } from './sqlite/open-file.js'
import { tableReader, type Session } from './sync/session.js'
import type { AnyDatabase } from './table-types.js'

/** Keeps the synced tables of one SQLite file in step with a server. One call at a time; further calls wait their turn. */
export interface SyncClient<Database = AnyDatabase> extends RunCalls, LoopCalls, StatusCalls, RowCalls<Database>, MigrationCalls, LifecycleCalls {
  /** Calls `listener` for every such event; returns the function that ends it. */
  on: Emitter<SyncEvents<Database>>['on']
}

/**
 * Prepares the file and returns its client. Synchronous. Throws `SyncClientError` (`table_refused`, `wrong_user`,
 * `wrong_scope`, `wrong_device`, `invalid_option`, `busy`) and leaves the file as it was where it cannot. `Database`: the
 * types of the app's tables, as Kysely has them; without it, names are texts and rows have any columns.
 */
export function createSyncClient<Database = AnyDatabase> (driver: Driver, options: SyncClientOptions<Database>): SyncClient<Database> {
  return openClient(driver, options, surroundings())
}

/** The same in a world of the caller's: tests decide over time, chance and network. */
export function openClient<Database = AnyDatabase> (driver: Driver, options: SyncClientOptions<Database>, world: Surroundings): SyncClient<Database> {
  if (typeof driver?.all !== 'function' || typeof driver.exec !== 'function') throw new SyncClientError('invalid_option', 'The first argument must be a driver: betterSqlite3(db), for example.')
  const settings = readOptions(options as unknown as SyncClientOptions) // from here on any table is a text
  const tables = openFile(driver, settings)
  const session: Session = {
    driver,
    settings,
    ...tableReader(driver, settings, tables),
    rules: settings.tables,
    transport: createTransport(settings),
    user: settings.user,
    unfinished: null,
    hasShakenHands: false,
    introducedAs: null,
    mayChangeServer: settings.onServerChange === 'rebuild',
    unexplained: new Set(),
    checkpoints: new Checkpoints(driver),
    batchSize: settings.uploadBatchSize,
    onRebuild: () => {},
    afterCommit: () => {},
    onProgress: () => {}
  }
  adoptExtra(session)
  const core = createCore(session)
  return { ...runCalls(core), ...loopCalls(core, world), ...statusCalls(core), ...rowCalls(core), ...migrationCalls(core), ...lifecycleCalls(core), on: core.events.on } as unknown as SyncClient<Database>
}
