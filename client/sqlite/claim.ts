import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'
import type { Settings } from '../options.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { randomUuid } from './uuid.js'

/** Whose stream a file holds. Two scopes of one user are two streams. */
export interface FileUser {
  userId: string
  /** null: the user's own stream. */
  scope: string | null
}

/** Gives the file to a user, who keeps it until it is signed out. Call inside a transaction. */
export function claimFile (driver: Driver, { userId, scope }: FileUser): void {
  const state = readState(driver) as ClientState
  if (state.userId === null) return writeState(driver, { user_id: userId, scope })
  if (state.userId !== userId) throw new SyncClientError('wrong_user', 'The file belongs to another user. Sign out first, or use one file a user.')
  if (state.scope !== scope) throw new SyncClientError('wrong_scope', 'The file holds another scope of this user. Sign out first, or use one file a scope.')
}

/** The file's device id: the app's, or a random one that is made once and kept. Call inside a transaction. */
export function claimDevice (driver: Driver, { deviceId }: Pick<Settings, 'deviceId'>): void {
  const state = readState(driver)
  if (state === null) {
    driver.run('insert into _sync_client (id, given_device_id, source_id) values (1, ?, ?)', [deviceId ?? null, deviceId ?? randomUuid()])
    return
  }
  // After a rotation the file has an id of its own, and the app still names the one it gave.
  if (deviceId !== undefined && deviceId !== state.sourceId && deviceId !== state.givenDeviceId) {
    throw new SyncClientError('wrong_device', `The file belongs to device ${state.sourceId}, not ${deviceId}. Leave the option deviceId out to go on with the file's own.`)
  }
}
