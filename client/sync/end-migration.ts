import { adoptExtra } from '../sqlite/adopt-extra.js'
import { readState } from '../sqlite/client-state.js'
import { prepareTables } from '../sqlite/prepare-tables.js'
import { transact } from '../sqlite/transaction.js'
import { useTables, type Session } from './session.js'

/**
 * Notes what the app's migration did. Where the tables are such that they cannot be synced any more, or somebody writes, this
 * throws, the file stays as it is, and the next call tries again. For who has the lock of a run.
 */
export function endMigration (session: Session): void {
  const settings = session.unfinished ?? session.settings
  useTables(session, settings, transact(session.driver, () => prepareTables(session.driver, settings, true)))
  session.unfinished = null
  adoptExtra(session)
}

/** Whether a migration was begun and not ended. Whoever migrates has the lock: who has it now may end that one. */
export function isLeftOpen (session: Session): boolean {
  return readState(session.driver)?.migrating === true
}
