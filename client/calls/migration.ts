import type { ClientCore } from '../core.js'
import { readTableOptions, type Settings, type SyncClientOptions } from '../options.js'
import { adoptExtra } from '../sqlite/adopt-extra.js'
import { prepareTables, startMigration } from '../sqlite/prepare-tables.js'
import { transact } from '../sqlite/transaction.js'
import { useTables, type Session } from '../sync/session.js'

export interface MigrationCalls {
  /**
   * Runs the app's own migration, `fn`, which uses the app's connection and transactions, and notes what it changes. `tables`:
   * the synced tables from then on, where their names change. Waits for the running call, of another process too (`sync_elsewhere` where that takes longer than `timeoutMs`); others wait for it. What `fn`
   * throws is thrown on after what it did was noted all the same.
   */
  migrate: <T>(fn: () => T | Promise<T>, options?: { tables?: SyncClientOptions['tables'] }) => Promise<T>
}

/** Where the tables are such that they cannot be synced any more, this throws, and the file stays as it is until they can. */
function endOf (session: Session, settings: Settings): void {
  useTables(session, settings, transact(session.driver, () => prepareTables(session.driver, settings, true)))
  adoptExtra(session)
}

export function migrationCalls ({ session, run }: ClientCore): MigrationCalls {
  return {
    migrate: (fn, { tables } = {}) => run(async () => {
      const next = tables === undefined ? session.settings.tables : readTableOptions(tables)
      transact(session.driver, () => { startMigration(session.driver, session.refreshTables()) })
      try {
        return await fn()
      } finally {
        endOf(session, { ...session.settings, tables: next })
      }
    }, { signal: undefined, waitMs: session.settings.timeoutMs })
  }
}
