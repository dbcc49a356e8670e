import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import { BUSY_TIMEOUT_MS } from '../limits.js'
import type { Settings } from '../options.js'
import { migrate } from './schema.js'
import { readState } from './client-state.js'
import { prepareTables } from './prepare-tables.js'
import type { TableInfo } from './table-info.js'
import { transact } from './transaction.js'
import { randomUuid } from './uuid.js'

export type Tables = ReadonlyMap<string, TableInfo>

/** Prepares a file for sync, in one transaction: the client's tables, the user, the triggers, rows that were there before. */
export function openFile (driver: Driver, settings: Settings): Tables {
  // Raised, never lowered: the connection is the app's.
  const { timeout = 0 } = driver.all<{ timeout: number }>('pragma busy_timeout')[0] ?? {}
  if (timeout < BUSY_TIMEOUT_MS) driver.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`)
  return transact(driver, () => {
    migrate(driver)
    claimFile(driver, settings)
    return prepareTables(driver, settings, true)
  })
}

function claimFile (driver: Driver, settings: Settings): void {
  const state = readState(driver)
  if (state === null) {
    driver.run('insert into _sync_client (id, user_id, given_device_id, source_id) values (1, ?, ?, ?)',
      [settings.userId, settings.deviceId ?? null, settings.deviceId ?? randomUuid()])
    return
  }
  if (state.userId !== settings.userId) throw new SyncClientError('wrong_user', 'The file belongs to another user.')
  // After a rotation the file has an id of its own, and the app still names the one it gave.
  if (settings.deviceId !== undefined && settings.deviceId !== state.sourceId && settings.deviceId !== state.givenDeviceId) {
    throw new SyncClientError('wrong_device', `The file belongs to device ${state.sourceId}, not ${settings.deviceId}. Leave the option deviceId out to go on with the file's own.`)
  }
}
