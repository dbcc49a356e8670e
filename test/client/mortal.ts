import type { Driver } from '../../client/index.js'
import type { Device } from './device.js'
import type { FakeServer } from './fake-server.js'

export class Crash extends Error {}

/** Who dies before a statement that only reads leaves what dies before the next that writes: such need no death of their own. */
export const ONLY_READS = /^\s*(?:select\b|pragma\s+[\w.]+\s*$)/i

/** A driver whose n-th call that may write dies, and every call after it: the process is gone. */
export function mortal (driver: Driver, clock: { left: number }): Driver {
  const tick = (sql: string): void => {
    if (ONLY_READS.test(sql) ? clock.left <= 0 : --clock.left <= 0) throw new Crash('dead')
  }
  return {
    exec (sql) { tick(sql); driver.exec(sql) },
    run (sql, params) { tick(sql); return driver.run(sql, params) },
    all (sql, params) { tick(sql); return driver.all(sql, params) },
    close () { driver.close() },
    get inTransaction () { return driver.inTransaction }
  }
}

/** All that a test compares after a day. */
export function picture (server: FakeServer, device: Device): unknown {
  return {
    authors: device.all('select * from authors order by id'),
    posts: device.all('select * from posts order by id'),
    held: device.client.held().map(({ key, reason }) => ({ key, reason })),
    server: [...server.rows].map(([key, { payload }]) => [key, payload]).sort(),
    status: { ...device.client.status(), conflicts: 0, cursor: 0, lastError: null },
    versions: device.all('select tbl, key, server_version, deleted from _sync_row order by tbl, key')
  }
}
