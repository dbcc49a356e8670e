import sqlite3InitModule from '@sqlite.org/sqlite-wasm'
import { connectDatabase, type Database, type WorkerLike } from '../../client/browser/page.js'
import type { OpenDatabase } from '../../client/browser/perform.js'
import { PROTOCOL } from '../../client/browser/protocol.js'
import type { Channel, Envelope, Locks, Platform, Port } from '../../client/browser/platform.js'
import { serve } from '../../client/browser/serve.js'
import { sqliteWasm, type WasmDatabase, type WasmSqlite } from '../../client/drivers/sqlite-wasm.js'
import { createSyncClient, type SyncClient } from '../../client/index.js'

/** What the tests do to a tab's client: replace its calls, or add some that it does not have yet. */
export type Calls = Record<string, (...args: never[]) => unknown>

export interface FakeTab {
  db: Database
  /** Ends the tab at once, as the browser does with a process that dies: nothing it would still say is heard. */
  kill: () => void
}

const sqlite3 = await (sqlite3InitModule as unknown as () => Promise<WasmSqlite & { oo1: { DB: new (file: string) => WasmDatabase } }>)()

/** Locks and channels of one origin, in this process, with one file that every leader opens in turn. */
export class FakeBrowser {
  /** Names of locks that were asked for, in order. */
  readonly requests: string[] = []
  readonly #queues = new Map<string, Array<{ tab: number, run: () => Promise<unknown> }>>()
  readonly #channels = new Map<string, Set<{ tab: number, hear: (message: unknown) => void }>>()
  readonly #dead = new Set<number>()
  readonly #file = new sqlite3.oo1.DB(':memory:')
  #tabs = 0
  #leading = 0
  /** Databases that are open now: more than one would be two leaders. */
  open = 0

  /** `open` is asked before each opening and may throw. */
  openTab (calls: Calls = {}, { build = '', open = () => {}, protocol = PROTOCOL }: { build?: string, open?: () => void | Promise<void>, protocol?: number } = {}): FakeTab {
    const tab = ++this.#tabs
    const listeners = new Set<(event: { data: unknown }) => void>()
    let onPage = (_port: Port, _protocol: number): void => {}
    const ports = new Map<string, Port>()
    const platform: Platform = {
      locks: this.#locks(tab),
      openChannel: (name, onMessage) => this.#channel(tab, name, onMessage),
      acceptPages: (_, accept) => { onPage = accept }
    }
    const worker: WorkerLike = {
      postMessage: raw => {
        const { connection, message } = structuredClone(raw) as Envelope<unknown>
        queueMicrotask(() => {
          if (this.#dead.has(tab)) return
          let port = ports.get(connection)
          if (port === undefined) {
            port = {
              onmessage: null,
              close: () => {},
              postMessage: message => {
                const copy = structuredClone({ oversync: 'app', connection, message })
                queueMicrotask(() => { if (!this.#dead.has(tab)) for (const listener of listeners) listener({ data: copy }) })
              }
            }
            ports.set(connection, port)
            onPage(port, protocol)
          }
          port.onmessage?.({ data: message })
        })
      },
      addEventListener: (type, listener) => { if (type === 'message') listeners.add(listener as never) },
      removeEventListener: (_, listener) => { listeners.delete(listener as never) }
    }
    serve({
      name: 'app',
      build,
      platform,
      open: async () => {
        this.#leading = tab
        await open()
        return this.#openDatabase(calls)
      }
    })
    return {
      db: connectDatabase(worker, { name: 'app' }),
      kill: () => {
        this.#dead.add(tab)
        if (this.#leading === tab) this.open = 0
        for (const set of this.#channels.values()) for (const channel of set) if (channel.tab === tab) set.delete(channel)
        for (const [name, queue] of this.#queues) {
          const wasHeld = queue[0]?.tab === tab
          this.#queues.set(name, queue.filter(request => request.tab !== tab))
          if (wasHeld) this.#grant(name)
        }
      }
    }
  }

  /** A message to all tabs, by somebody else. */
  say (name: string, message: unknown): void {
    this.#channel(0, name, () => {}).post(message)
  }

  #openDatabase (calls: Calls): OpenDatabase {
    const driver = sqliteWasm(sqlite3, this.#file)
    driver.exec('create table if not exists notes (id text primary key, text text)')
    const client = createSyncClient(driver, { url: 'http://nowhere', tables: ['notes'], userId: 'alice' })
    this.open++
    if (this.open > 1) throw new Error('two tabs have the database')
    return {
      driver,
      client: { ...client, ...calls } as SyncClient,
      storage: { persistence: 'opfs', reason: null },
      watch: fn => ({ result: fn(), tables: ['notes'] }),
      close: async () => {
        await client.close()
        this.open--
      }
    }
  }

  #locks (tab: number): Locks {
    return {
      request: async (name, { signal }, callback) => {
        this.requests.push(name)
        const queue = this.#queues.get(name) ?? []
        this.#queues.set(name, queue)
        return await new Promise((resolve, reject) => {
          const request = { tab, run: async () => { signal?.removeEventListener('abort', withdraw); resolve(await callback({})) } }
          const withdraw = (): void => {
            this.#queues.set(name, (this.#queues.get(name) ?? []).filter(other => other !== request))
            reject(new Error('AbortError'))
          }
          queue.push(request)
          if (queue.length === 1) this.#grant(name)
          else signal?.addEventListener('abort', withdraw, { once: true })
        })
      }
    }
  }

  #grant (name: string): void {
    const request = this.#queues.get(name)?.[0]
    if (request === undefined) return
    queueMicrotask(() => {
      request.run().catch(() => {}).finally(() => {
        const queue = this.#queues.get(name) ?? []
        if (queue[0] !== request) return // its tab was killed
        queue.shift()
        this.#grant(name)
      })
    })
  }

  #channel (tab: number, name: string, hear: (message: unknown) => void): Channel {
    const set = this.#channels.get(name) ?? new Set()
    this.#channels.set(name, set)
    const own = { tab, hear }
    set.add(own)
    return {
      post: message => {
        if (this.#dead.has(tab)) return
        const copy = structuredClone(message)
        for (const channel of set) if (channel !== own) queueMicrotask(() => { if (set.has(channel)) channel.hear(copy) })
      },
      close: () => { set.delete(own) }
    }
  }
}
