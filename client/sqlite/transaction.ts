import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'

/** Runs `fn` in one write transaction of the client's own: all of it, or nothing. */
export function transact<T> (driver: Driver, fn: () => T): T {
  assertIdle(driver)
  driver.exec('begin immediate')
  try {
    const result = fn()
    driver.exec('commit')
    return result
  } catch (error) {
    rollback(driver)
    throw error
  }
}

/** The client never joins a transaction of the app's: what it wrote there could be rolled back behind its back. */
export function assertIdle (driver: Driver): void {
  if (driver.inTransaction) throw new SyncClientError('busy', 'The connection is inside a transaction of the app.')
}

/**
 * Runs `fn` with foreign keys off, so that no cascade eats local work and rows may come in any order. The pragma does
 * nothing inside a transaction, hence around it. `fn` itself opens the transaction and leaves no row dangling.
 */
export function withoutForeignKeys<T> (driver: Driver, fn: () => T): T {
  assertIdle(driver)
  const wereOn = switchedOff.has(driver) || driver.all<{ foreign_keys: number }>('pragma foreign_keys')[0]?.foreign_keys === 1
  if (!wereOn) return fn()
  switchedOff.add(driver)
  driver.exec('pragma foreign_keys = off')
  try {
    return fn()
  } finally {
    insist(() => driver.exec('pragma foreign_keys = on'))
    switchedOff.delete(driver)
  }
}

/** Connections whose foreign keys the client has switched off: where switching them on failed, the next time makes up for it. */
const switchedOff = new WeakSet<Driver>()

function rollback (driver: Driver): void {
  try {
    // SQLite has rolled back by itself after some errors (disk full, I/O).
    if (driver.inTransaction) insist(() => driver.exec('rollback'))
  } catch {
    // The error that led here is the one to report; closing the file rolls back too.
  }
}

/** Once more where it fails: what is left open or switched off here would be so for the app, and for every later call. */
function insist (fn: () => void): void {
  try {
    fn()
  } catch {
    fn()
  }
}
