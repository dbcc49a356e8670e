import { SyncError } from '../errors.js'
import type { Identity } from '../options.js'
import { RESERVED_SOURCE_PREFIX } from '../storage/source.js'

/** Longest user, device or scope in UTF-16 units: they are index keys. */
const MAX_ID_LENGTH = 255

/** The identity with its scope filled in. Throws where the app's sign-in gave something that cannot name anybody. */
export function checkIdentity (identity: Identity | null | undefined): Required<Identity> {
  if (identity === null || identity === undefined) throw new SyncError('authentication_failed', 'Sign in first.')
  const { userId, deviceId, scope = userId } = identity
  for (const [name, value] of Object.entries({ userId, deviceId, scope })) {
    if (typeof value !== 'string' || value.length === 0 || value.length > MAX_ID_LENGTH || value.includes('\0') || !value.isWellFormed()) {
      throw new SyncError('authentication_failed', `The sign-in gives no usable ${name}: it must be text of 1 to ${MAX_ID_LENGTH} characters.`)
    }
  }
  if (deviceId.startsWith(RESERVED_SOURCE_PREFIX)) throw new SyncError('invalid_request', `A device id may not begin with "${RESERVED_SOURCE_PREFIX}".`)
  return { userId, deviceId, scope }
}
