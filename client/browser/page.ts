import { SyncClientError } from '../errors.js'
import { createEmitter } from '../events.js'
import { MAX_WAITING_CALLS } from '../limits.js'
import type { SyncEvents } from '../news.js'
import type { SyncClient } from '../sync-client.js'
import type { RunResult } from './perform.js'
import type { Envelope, Ready } from './platform.js'
import { packArguments, unpack, unpackError } from './portable.js'
import { commonChannel, PROTOCOL, type BoundValue, type FromPage, type Leaving, type Persistence, type Request, type Role, type Statement, type Storage, type ToPage } from './protocol.js'
import { followPageLife, persistStorage } from './page-life.js'

export { CLIENT_ERRORS, SyncClientError, type SyncClientErrorCode } from '../errors.js'
export { DriverError, type DriverErrorCode } from '../drivers/driver.js'
export type { RunResult } from './perform.js'
export type { BoundValue, Persistence, Role, Statement, Storage } from './protocol.js'

/** Every call of the client for pages, as it is but with a promise. */
export type PageSync = {
  [Name in keyof SyncClient as Name extends 'on' | 'close' | 'migrate' | 'uninstall' | 'noticeWrite' ? never : Name]:
  SyncClient[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Name extends 'status' ? Awaited<Result> & Storage : Awaited<Result>>
    : never
}

/** The events of the client, and those of the tabs. */
export interface DatabaseEvents extends Omit<SyncEvents, 'change' | 'status'> {
  status: SyncEvents['status'] & Storage
  /** Rows of these tables were changed, by an app in whichever tab or by a download: read them again. */
  change: { tables: string[], by: 'app' | 'sync' }
  /** Another tab leads, or the database was opened. Once `persistence` is not null: read everything again, for events may have got lost. */
  leader: { role: Role, persistence: Persistence | null, reason: string | null }
  /** A tab with another build of the app is open. `theirs` is its build. */
  otherBuild: { theirs: string }
}

export interface Database {
  /** Read: all rows of one statement. A statement that writes is refused; that is what `run` is for. */
  all: <Row = Record<string, unknown>>(sql: string, params?: readonly BoundValue[]) => Promise<Row[]>
  /** Write: one statement, with the rows that it returns (`returning`). */
  run: <Row = Record<string, unknown>>(sql: string, params?: readonly BoundValue[]) => Promise<RunResult<Row>>
  /** One or more statements without parameters. */
  exec: (sql: string) => Promise<void>
  /** All of these statements, or none. */
  transaction: (statements: readonly Statement[]) => Promise<RunResult[]>
  sync: PageSync
  /** Returns the function that ends it. */
  on: <Name extends keyof DatabaseEvents>(name: Name, listener: (event: DatabaseEvents[Name]) => void) => () => void
  /** Whether this tab has the database. */
  role: () => Role
  /** Where the database is kept; null until it was opened. */
  storage: () => Storage | null
  /** Asks the browser to keep this origin's data. False: it may be removed when space is short. Firefox asks the user. */
  persist: () => Promise<boolean>
  /** Ends this connection: another tab takes over. Calls that wait reject with `closed`. */
  close: () => Promise<void>
}

export interface ConnectOptions {
  /** The name that the worker serves. */
  name: string
  /** Ask the browser at once to keep the data, see `persist()`. Default: true. */
  persist?: boolean
}

/** A `Worker`, as far as it is used. */
export interface WorkerLike {
  postMessage: (message: unknown) => void
  addEventListener: (type: 'message' | 'error', listener: (event: never) => void) => void
  removeEventListener: (type: 'message' | 'error', listener: (event: never) => void) => void
}

interface Waiting { message: FromPage & { type: 'call' }, resolve: (value: unknown) => void, reject: (error: Error) => void, settle: () => void }

/** Connects a page with the database that its worker serves by `serveDatabase`. The app may use the worker for other messages too. */
export function connectDatabase (worker: WorkerLike, { name, persist = true }: ConnectOptions): Database {
  const connection = globalThis.crypto.randomUUID()
  const waiting = new Map<string, Waiting>()
  const events = createEmitter<DatabaseEvents>()
  const subscribed = new Set<string>()
  let calls = 0
  let role: Role = 'waiting'
  let storage: Storage | null = null
  let isHeard = false
  let end: SyncClientError | null = null

  const post = (message: FromPage): void => worker.postMessage({ oversync: name, protocol: PROTOCOL, connection, message } satisfies Envelope<FromPage>)

  function onMessage ({ data }: { data: Partial<Envelope<ToPage> & Ready> | null }): void {
    if (data?.oversync !== name) return
    if (data.ready === true) return sayAgain()
    if (data.connection !== connection || data.message === undefined) return
    isHeard = true
    const { message } = data
    switch (message.type) {
      case 'answer': {
        const call = waiting.get(message.id)
        if (call === undefined) return
        call.settle()
        if (message.ok) call.resolve(unpack(message.value))
        else call.reject(unpackError(message.error))
        break
      }
      case 'event':
        events.emit(message.event as keyof DatabaseEvents, unpack(message.value) as never)
        break
      case 'leader':
        role = message.role
        storage = message.storage
        events.emit('leader', { role, persistence: storage?.persistence ?? null, reason: storage?.reason ?? null })
        break
      case 'refused':
        finish(unpackError(message.error) as SyncClientError)
    }
  }

  function sayAgain (): void {
    post({ type: 'resume' })
    for (const event of subscribed) post({ type: 'subscribe', event })
    for (const { message } of waiting.values()) post(message)
  }

  /** Before the first word of the worker: its file could not be loaded. Later errors are the app's own and end nothing. */
  function onError ({ message }: { message?: string }): void {
    if (!isHeard) finish(new SyncClientError('worker_failed', `The worker did not start: ${message ?? 'its file could not be loaded'}`))
  }

  function finish (error: SyncClientError): void {
    end ??= error
    for (const call of [...waiting.values()]) {
      call.settle()
      call.reject(error)
    }
  }

  async function call (request: Request, signal: AbortSignal | null = null): Promise<unknown> {
    if (end !== null) throw end
    if (waiting.size >= MAX_WAITING_CALLS) throw new SyncClientError('too_many_calls', `${MAX_WAITING_CALLS} calls wait already.`)
    const aborted = (): SyncClientError => new SyncClientError('aborted', 'The call was aborted.', { cause: signal?.reason })
    if (signal?.aborted === true) throw aborted()
    const id = `${connection}:${++calls}`
    return await new Promise((resolve, reject) => {
      const message = { type: 'call', id, request } as const
      const onAbort = (): void => {
        settle()
        post({ type: 'abort', id })
        reject(aborted())
      }
      const settle = (): void => {
        waiting.delete(id)
        signal?.removeEventListener('abort', onAbort)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      waiting.set(id, { message, resolve, reject, settle })
      try {
        post(message)
      } catch (cause) {
        settle()
        reject(new SyncClientError('invalid_option', `An argument cannot be sent to the worker: ${(cause as Error).message}`, { cause }))
      }
    })
  }

  const sync = new Proxy({}, {
    get: (_, method) => typeof method !== 'string' || method === 'then' // a promise it is not
      ? undefined
      : async (...given: unknown[]) => {
        const { args, signal } = packArguments(given)
        return await call({ op: 'sync', method, args }, signal)
      }
  }) as PageSync

  worker.addEventListener('message', onMessage)
  worker.addEventListener('error', onError)
  post({ type: 'resume' })
  const leaveLife = followPageLife(isHere => {
    post({ type: isHere ? 'resume' : 'pause' })
    if (!isHere) tellTabs(name)
  })
  if (persist) persistStorage().catch(() => {})

  return {
    all: async <Row>(sql: string, params: readonly BoundValue[] = []) => await call({ op: 'all', sql, params }) as Row[],
    run: async <Row>(sql: string, params: readonly BoundValue[] = []) => await call({ op: 'run', sql, params }) as RunResult<Row>,
    exec: async sql => { await call({ op: 'exec', sql }) },
    transaction: async statements => await call({ op: 'transaction', statements }) as RunResult[],
    sync,
    on (event, listener) {
      if (event !== 'leader' && event !== 'otherBuild' && !subscribed.has(event)) {
        subscribed.add(event)
        post({ type: 'subscribe', event })
      }
      return events.on(event, listener)
    },
    role: () => role,
    storage: () => storage,
    persist: persistStorage,
    async close () {
      if (end !== null) return
      leaveLife()
      finish(new SyncClientError('closed', 'The connection was closed.'))
      events.clear()
      await new Promise<void>(resolve => {
        worker.removeEventListener('message', onMessage)
        worker.removeEventListener('error', onError)
        const onClosed = ({ data }: { data: Partial<Envelope<ToPage>> | null }): void => {
          if (data?.oversync !== name || data.connection !== connection || data.message?.type !== 'closed') return
          worker.removeEventListener('message', onClosed)
          resolve()
        }
        worker.addEventListener('message', onClosed)
        post({ type: 'close' })
      })
    }
  }
}

/** By the page itself: its worker may be frozen before it can speak. */
function tellTabs (name: string): void {
  const channel = new BroadcastChannel(commonChannel(name))
  channel.postMessage({ type: 'leaving' } satisfies Leaving)
  channel.close()
}
