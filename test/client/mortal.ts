import type { Driver } from '../../client/index.js'
import type { Device } from './device.js'
import type { FakeServer } from './fake-server.js'

export class Crash extends Error {}

/** A driver whose n-th call dies, and every call after it: the process is gone. */
export function mortal (driver: Driver, clock: { left: number }): Driver {
  const tick = (): void => {
    if (--clock.left <= 0) throw new Crash('dead')
  }
  return {
    exec (sql) { tick(); driver.exec(sql) },
    run (sql, params) { tick(); return driver.run(sql, params) },
    all (sql, params) { tick(); return driver.all(sql, params) },
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
