import type { ClientCore } from '../core.js'
import { SyncClientError } from '../errors.js'
import { readTableOptions, type SyncClientOptions } from '../options.js'
import { adoptExtra } from '../sqlite/adopt-extra.js'
import { prepareTables, startMigration } from '../sqlite/prepare-tables.js'
import { transact } from '../sqlite/transaction.js'
import { useTables } from '../sync/session.js'

export interface MigrationCalls {
  /**
   * Runs the app's own migration, `fn`, which uses the app's connection and transactions, and notes what it changes. `tables`:
   * the synced tables from then on, where their names change. Waits for the running call; others wait for it. What `fn`
   * throws is thrown on after what it did was noted all the same.
   */
  migrate: <T>(fn: () => T | Promise<T>, options?: { tables?: SyncClientOptions['tables'] }) => Promise<T>
}

export function migrationCalls ({ session, inTurn }: ClientCore): MigrationCalls {
  return {
    migrate: (fn, { tables } = {}) => inTurn(async () => {
      const next = tables === undefined ? session.settings.tables : readTableOptions(tables)
      transact(session.driver, () => { startMigration(session.driver, session.refreshTables()) })
      try {
        return await fn()
      } finally {
        if (session.driver.inTransaction) throw new SyncClientError('busy', 'The migration left a transaction open. What it does is noted when the client is opened again.')
        const settings = { ...session.settings, tables: next }
        const prepared = transact(session.driver, () => prepareTables(session.driver, settings, true))
        useTables(session, settings, prepared)
        adoptExtra(session)
      }
    })
  }
}
