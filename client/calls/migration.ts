import type { ClientCore } from '../core.js'
import { readTableOptions, type SyncClientOptions } from '../options.js'
import { startMigration } from '../sqlite/prepare-tables.js'
import { transact } from '../sqlite/transaction.js'
import { endMigration } from '../sync/end-migration.js'

export interface MigrationCalls {
  /**
   * Runs the app's own migration, `fn`, which uses the app's connection and transactions, and notes what it changes. `tables`:
   * the synced tables from then on, where their names change. Waits for the running call, of another process too
   * (`sync_elsewhere` where that takes longer than `timeoutMs`); others wait for it. What `fn` throws is thrown on after what
   * it did was noted all the same; where that cannot be (a transaction was left open), the next call does it.
   */
  migrate: <T>(fn: () => T | Promise<T>, options?: { tables?: SyncClientOptions['tables'] }) => Promise<T>
}

export function migrationCalls ({ session, run }: ClientCore): MigrationCalls {
  return {
    migrate: (fn, { tables } = {}) => run(async () => {
      const next = { ...session.settings, tables: tables === undefined ? session.settings.tables : readTableOptions(tables) }
      transact(session.driver, () => { startMigration(session.driver, session.refreshTables()) })
      session.unfinished = next
      let result
      try {
        result = await fn()
      } catch (error) {
        try { endMigration(session) } catch {} // what `fn` threw is the cause, and the next call tries again
        throw error
      }
      endMigration(session)
      return result
    }, { signal: undefined, waitMs: session.settings.timeoutMs })
  }
}
