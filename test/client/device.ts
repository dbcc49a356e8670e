import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import Database, { type Database as Db } from 'better-sqlite3'
import type { Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { createSyncClient, type Driver, type SyncClient, type SyncClientOptions } from '../../client/index.js'
import { FakeServer } from './fake-server.js'

/** Tables that most tests use. */
export const SCHEMA = `
  create table authors (id text primary key, name text not null, email text unique);
  create table posts (id text primary key, title text not null, body text, author_id text references authors on delete cascade);
`

export const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export interface Device {
  db: Db
  client: SyncClient
  driver: Driver
  file: string
  /** A new connection and a new client on the same file, as after a restart. */
  reopen: (options?: DeviceOptions) => Device
  all: (sql: string, ...params: unknown[]) => Array<Record<string, unknown>>
  pending: () => string[]
}

export interface DeviceOptions extends Omit<Partial<SyncClientOptions>, 'userId'> {
  /** Default 'ann'; null: opened without a user. */
  userId?: string | null
  server?: FakeServer
  sql?: string
  file?: string
  wrap?: (driver: Driver) => Driver
}

/** better-sqlite3, or, for `wasm.test.ts`, SQLite WASM. */
const open: (file: string) => { db: Db, driver: Driver, isNew: boolean } = process.env['OVERSYNC_ENGINE'] === 'wasm'
  ? (await import('./wasm-database.js')).openWasm
  : file => {
    const isNew = !fs.existsSync(file)
    const db = new Database(file)
    db.pragma('journal_mode = wal')
    db.pragma('synchronous = off')
    return { db, driver: betterSqlite3(db), isNew }
  }

/** A device on an SQLite file of its own. */
export function createDevice (t: Test, { server = new FakeServer(), sql = SCHEMA, file, wrap = driver => driver, userId = 'ann', ...options }: DeviceOptions = {}): Device {
  const place = file ?? path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-client-')), 'app.db')
  if (file === undefined) t.teardown(() => fs.rmSync(path.dirname(place), { recursive: true, force: true }))
  const { db, driver: own, isNew } = open(place)
  t.teardown(() => db.close())
  if (isNew) db.exec(sql)
  const driver = wrap(own)
  const client = createSyncClient(driver, {
    url: 'http://server.test/sync', schema: 'business', tables: ['authors', 'posts'], fetch: server.fetch, ...(userId === null ? {} : { userId }), ...options
  })
  const all = (query: string, ...params: unknown[]): Array<Record<string, unknown>> => db.prepare(query).all(...params) as Array<Record<string, unknown>>
  return {
    db,
    client,
    driver,
    file: place,
    all,
    pending: () => all('select tbl, cast(key as text) as key from _sync_pending order by id').map(row => `${row['tbl'] as string}:${row['key'] as string}`),
    reopen (more = {}) {
      db.close()
      return createDevice(t, { server, sql, file: place, wrap, userId, ...options, ...more })
    }
  }
}

/** A driver that knows of no other process: what happens where the lock of a run could not be taken. */
export function withoutLock (driver: Driver): Driver {
  const { lockRun, ...rest } = Object.getOwnPropertyDescriptors(driver)
  return Object.defineProperties({}, rest) as Driver
}
