import type { Driver } from '../drivers/driver.js'
import { BUSY_TIMEOUT_MS } from '../limits.js'
import type { Settings } from '../options.js'
import { tryRunLock } from '../run-lock.js'
import { migrate } from './schema.js'
import { claimDevice, claimFile } from './claim.js'
import { prepareTables } from './prepare-tables.js'
import type { TableInfo } from './table-info.js'
import { transact } from './transaction.js'

export type Tables = ReadonlyMap<string, TableInfo>

/** Prepares a file for sync, in one transaction: the client's tables, the user, the triggers, rows that were there before. */
export function openFile (driver: Driver, settings: Settings): Tables {
  // Raised, never lowered: the connection is the app's.
  const { timeout = 0 } = driver.all<{ timeout: number }>('pragma busy_timeout')[0] ?? {}
  if (timeout < BUSY_TIMEOUT_MS) driver.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`)
  // Whoever migrates holds the lock: where it is free, the migration that the file tells of has died. Where there can be no
  // lock nobody knows, and a file that never opens again would be worse.
  const lock = tryRunLock(driver)
  try {
    return transact(driver, () => {
      migrate(driver)
      claimDevice(driver, settings)
      if (settings.user !== null) claimFile(driver, settings.user)
      return prepareTables(driver, settings, lock !== null)
    })
  } finally {
    lock?.release()
  }
}
