import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import Database, { type Database as Db } from 'better-sqlite3'
import { createSyncClient, type Driver, type SyncClient } from 'fastify-oversync/client'
import { betterSqlite3 } from 'fastify-oversync/client/better-sqlite3'
import { openWasm } from '../../test/client/wasm-database.js'
import { openBackend, type Backend } from '../backend.js'
import { openCaller } from '../http.js'
import { duration } from '../load.js'
import { RawWriter } from '../raw-write.js'
import { insertBodies, notes, type Row } from '../rows.js'
import type { Scenario, World } from '../scenario.js'
import { LOCAL_NOTES } from '../tables.js'

const ROWS = 100_000
const QUICK_ROWS = 10_000
const PAGE = 1_000
const INSERT = 'insert into notes (id, title, body, stars, done, updated) values (?, ?, ?, ?, ?, ?)'

type Engine = 'file' | 'wasm'

export const deviceScenarios: Scenario[] = [
  firstSync('file', { atLeast: 0.5 }),
  firstSync('wasm', { atLeast: 0.5 }),
  firstSync('wasm', null, 'driver'),
  pendingUpload(),
  localWrites('insert', 2.2),
  localWrites('update', null),
  localWrites('delete', null)
]

/** What it is measured beside: an app's own insert, or one by the client's driver, which binds texts as no app does. */
function firstSync (engine: Engine, target: Scenario['target'], by: 'app' | 'driver' = 'app'): Scenario {
  return {
    name: `first sync of 100,000 rows into ${engine === 'file' ? 'an SQLite file' : 'SQLite WASM in memory'}${by === 'app' ? '' : ', beside the driver'}`,
    unit: 'rows/s',
    target,
    limitIs: `a prepared insert of the same rows, 1,000 a transaction${engine === 'file' ? '' : by === 'app' ? ", by the package's bind() and stepReset()" : ", by the client's driver, which is three times as quick"}`,
    async open (world) {
      const count = world.quick ? QUICK_ROWS : ROWS
      const backend = await openBackend(world)
      const writer = await openCaller(backend, 'ann', 'writer')
      world.onClose(writer.close)
      const rows = notes(count)
      for (const body of insertBodies(writer.epoch, chunks(rows), 1)) await writer.upload(body)
      return {
        ours: async () => {
          const { db, client, close } = openDevice(world, backend, engine)
          const rssBefore = process.memoryUsage.rss()
          const ms = await duration(async () => await client.syncOnce())
          const extra = { 'device MB': Math.max(0, process.memoryUsage.rss() - rssBefore) / 2 ** 20 }
          assertCount(db, count)
          await close()
          return { figure: count / ms * 1_000, extra }
        },
        limit: async () => {
          const { db, insertPlainly, close } = openFile(world, engine)
          const ms = await duration(() => by === 'app' ? insertPlainly(rows) : insertRows(db, rows))
          assertCount(db, count)
          close()
          return { figure: count / ms * 1_000 }
        }
      }
    }
  }
}

function pendingUpload (): Scenario {
  return {
    name: 'upload of 100,000 pending rows from an SQLite file',
    unit: 'rows/s',
    target: null,
    limitIs: 'raw writes of 1,000 rows on one connection',
    async open (world) {
      const count = world.quick ? QUICK_ROWS : ROWS
      const backend = await openBackend(world)
      const writer = new RawWriter(backend.sql, 1)
      return {
        ours: async () => {
          // A user of its own: rows of earlier rounds would come down to it.
          const { db, client, close } = openDevice(world, backend, 'file', randomUUID())
          insertRows(db, notes(count))
          const ms = await duration(async () => {
            const { upload: { applied }, download: { received } } = await client.syncOnce()
            if (applied !== count || received !== 0) throw new Error(`${applied} of ${count} rows were applied, and ${received} came down.`)
          })
          await close()
          return { figure: count / ms * 1_000 }
        },
        limit: async () => {
          const batches = chunks(notes(count)).map(rows => writer.batch(rows))
          return { figure: count / await duration(async () => { for (const batch of batches) await batch() }) * 1_000 }
        }
      }
    }
  }
}

function localWrites (kind: 'insert' | 'update' | 'delete', atMost: number | null): Scenario {
  return {
    name: `triggers on a local ${kind}, 1,000 a transaction`,
    unit: 'ms',
    target: atMost === null ? null : { atMost },
    limitIs: 'the same without the client',
    async open (world) {
      const rows = notes(world.quick ? QUICK_ROWS : 4 * QUICK_ROWS)
      const measure = (db: Db): number => {
        if (kind !== 'insert') insertRows(db, rows)
        const statement = db.prepare(kind === 'insert' ? INSERT : kind === 'update' ? "update notes set title = title || '!' where id = ?" : 'delete from notes where id = ?')
        const started = performance.now()
        inTransactions(db, rows, row => { statement.run(...kind === 'insert' ? values(row) : [row.pk]) })
        return (performance.now() - started) / rows.length
      }
      return {
        ours: async () => {
          const { db, close } = openDevice(world, { serverUrl: 'http://127.0.0.1:9' }, 'file')
          const figure = measure(db)
          await close()
          return { figure }
        },
        limit: async () => {
          const { db, close } = openFile(world, 'file')
          const figure = measure(db)
          close()
          return { figure }
        }
      }
    }
  }
}

interface File {
  db: Db
  driver: Driver
  /** Inserts rows as an app would that knows nothing of the client. */
  insertPlainly: (rows: Row[]) => void
  close: () => void
}

function openFile ({ stage }: World, engine: Engine): File {
  const file = path.join(stage.folder, `${randomUUID()}.db`)
  if (engine === 'wasm') {
    const { db, driver, own } = openWasm(file)
    db.exec(LOCAL_NOTES)
    const insertPlainly = (rows: Row[]): void => {
      const insert = own.prepare(INSERT)
      inTransactions(own, rows, row => { insert.bind(values(row)).stepReset() })
      insert.finalize()
    }
    return { db, driver, insertPlainly, close: () => { db.exec('drop table if exists notes') } }
  }
  const db = new Database(file)
  db.pragma('journal_mode = wal')
  db.exec(LOCAL_NOTES)
  const close = (): void => {
    db.close()
    for (const end of ['', '-wal', '-shm']) fs.rmSync(file + end, { force: true })
  }
  return { db, driver: betterSqlite3(db), insertPlainly: rows => { insertRows(db, rows) }, close }
}

function openDevice (world: World, { serverUrl }: Pick<Backend, 'serverUrl'>, engine: Engine, userId = 'ann'): { db: Db, client: SyncClient, close: () => Promise<void> } {
  const { db, driver, close } = openFile(world, engine)
  const deviceId = randomUUID()
  const client = createSyncClient(driver, { url: `${serverUrl}/sync`, schema: 'business', tables: ['notes'], userId, deviceId, headers: { 'x-user': userId, 'x-device': deviceId } })
  return {
    db,
    client,
    async close () {
      await client.close()
      close()
    }
  }
}

function values ({ payload }: Row): Array<string | number> {
  const { id, title, body, stars, done, updated } = JSON.parse(payload) as { id: string, title: string, body: string, stars: number, done: boolean, updated: string }
  return [id, title, body, stars, done ? 1 : 0, updated]
}

function insertRows (db: Db, rows: Row[]): void {
  const insert = db.prepare(INSERT)
  inTransactions(db, rows, row => { insert.run(...values(row)) })
}

function inTransactions (db: { exec: (sql: string) => unknown }, rows: Row[], write: (row: Row) => void): void {
  for (const chunk of chunks(rows)) {
    db.exec('begin')
    for (const row of chunk) write(row)
    db.exec('commit')
  }
}

function chunks (rows: Row[]): Row[][] {
  return Array.from({ length: Math.ceil(rows.length / PAGE) }, (_, i) => rows.slice(i * PAGE, (i + 1) * PAGE))
}

function assertCount (db: Db, count: number): void {
  const found = db.prepare('select count(*) from notes').pluck().get()
  if (found !== count) throw new Error(`The device has ${String(found)} of ${count} rows.`)
}
