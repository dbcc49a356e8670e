import { SyncClientError } from '../errors.js'
import type { SyncEvents } from '../news.js'
import { perform, type OpenDatabase } from './perform.js'
import { pack, packError } from './portable.js'
import { isRepeatable, type Call, type FromLeader, type Storage, type ToLeader } from './protocol.js'

export interface HostOptions {
  /** Opens the database. The signal ends its requests. */
  open: (signal: AbortSignal) => Promise<OpenDatabase>
  /** The arguments with which the loop was started under an earlier leader; null while it is stopped. */
  wish: unknown[] | null
  sendTo: (tab: string, message: FromLeader) => void
  sendToAll: (message: FromLeader) => void
  onKnown: (known: { storage?: Storage, wish?: unknown[] | null }) => void
}

/** The loop of a client, where it has one. */
interface Loop { start?: (...args: unknown[]) => void, noticeWrite?: () => void }

/** Carries out the calls of all tabs on the one open database. */
export class Host {
  readonly #options: HostOptions
  readonly #stopping = new AbortController()
  readonly #running = new Map<string, { tab: string, controller: AbortController, done: Promise<void> }>()
  /** Who listens to what. */
  readonly #listeners = new Map<string, Set<string>>()
  #opening: Promise<OpenDatabase> | null = null
  #database: OpenDatabase | null = null
  #wish: unknown[] | null

  constructor (options: HostOptions) {
    this.#options = options
    this.#wish = options.wish
    // At once, not at the first call: the loop has to go on, and an error has to be seen.
    this.#open().catch(error => this.#emit('error', error))
  }

  receive (tab: string, message: ToLeader): void {
    switch (message.type) {
      case 'call':
        if (this.#stopping.signal.aborted) return this.#options.sendTo(tab, { type: 'put-back', id: message.id })
        if (this.#running.has(message.id)) return
        this.#begin(tab, message)
        break
      case 'abort':
        this.#running.get(message.id)?.controller.abort()
        break
      case 'subscribe':
        for (const event of message.events) this.#subscribe(tab, event)
    }
  }

  gone (tab: string): void {
    for (const call of this.#running.values()) if (call.tab === tab) call.controller.abort()
    for (const tabs of this.#listeners.values()) tabs.delete(tab)
  }

  /** Ends requests on their way, lets calls end, closes the file. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#running.values()].map(({ done }) => done))
    await this.#opening?.then(async database => await database.close(), () => {})
  }

  #begin (tab: string, call: Call): void {
    const controller = new AbortController()
    const done = this.#carryOut(tab, call, controller.signal).finally(() => this.#running.delete(call.id))
    this.#running.set(call.id, { tab, controller, done })
  }

  async #carryOut (tab: string, { id, request }: Call, signal: AbortSignal): Promise<void> {
    const { sendTo } = this.#options
    try {
      const database = this.#database ?? await this.#open()
      if (this.#stopping.signal.aborted) return sendTo(tab, { type: 'put-back', id })
      if (signal.aborted) throw new SyncClientError('aborted', 'The call was aborted.')
      if (request.op === 'sync' && request.method === 'start') this.#setWish(request.args)
      if (request.op === 'sync' && request.method === 'stop') this.#setWish(null)
      const { value, tables } = await perform(database, request, signal)
      sendTo(tab, { type: 'answer', id, ok: true, value })
      if (tables.length > 0) this.#afterWrite(database, tables)
    } catch (error) {
      if (this.#stopping.signal.aborted && isRepeatable(request)) sendTo(tab, { type: 'put-back', id })
      else sendTo(tab, { type: 'answer', id, ok: false, error: packError(error) })
    }
  }

  #afterWrite ({ client }: OpenDatabase, tables: string[]): void {
    this.#emit('change', { tables, by: 'app' })
    ;(client as Loop).noticeWrite?.()
  }

  #setWish (wish: unknown[] | null): void {
    this.#wish = wish
    this.#options.sendToAll({ type: 'loop', wish })
    this.#options.onKnown({ wish })
  }

  #open (): Promise<OpenDatabase> {
    this.#opening ??= this.#openNow().catch(error => {
      this.#opening = null // every later call tries again
      throw error
    })
    return this.#opening
  }

  async #openNow (): Promise<OpenDatabase> {
    const database = await this.#options.open(this.#stopping.signal)
    this.#database = database
    for (const event of this.#listeners.keys()) this.#listen(database, event)
    const { storage } = database
    this.#options.onKnown({ storage })
    this.#options.sendToAll({ type: 'opened', storage })
    if (this.#wish !== null) (database.client as Loop).start?.(...this.#wish)
    return database
  }

  #subscribe (tab: string, event: string): void {
    const tabs = this.#listeners.get(event)
    if (tabs !== undefined) {
      tabs.add(tab)
      return
    }
    this.#listeners.set(event, new Set([tab]))
    if (this.#database !== null) this.#listen(this.#database, event)
  }

  #listen ({ client, storage }: OpenDatabase, event: string): void {
    client.on(event as keyof SyncEvents, value => {
      if (event === 'change') this.#emit(event, { ...value, by: 'sync' })
      else this.#emit(event, event === 'status' ? { ...value, ...storage } : value)
    })
  }

  #emit (event: string, value: unknown): void {
    const packed = pack(value)
    for (const tab of this.#listeners.get(event) ?? []) this.#options.sendTo(tab, { type: 'event', event, value: packed })
  }
}
