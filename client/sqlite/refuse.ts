import { SyncClientError } from '../errors.js'

/** A table that cannot be synced, and why. */
export function refuse (table: string, why: string): SyncClientError {
  return new SyncClientError('table_refused', `Table ${table} cannot be synced: ${why}.`)
}
