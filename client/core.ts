import { SyncClientError } from './errors.js'
import { createEmitter, type Emitter } from './events.js'
import type { Session } from './sync/session.js'
import { createNews, type SyncEvents } from './news.js'

/** What the groups of calls of one client share (`calls/*.ts`): the open file, whose turn it is, and who listens. */
export interface ClientCore {
  readonly session: Session
  readonly events: Emitter<SyncEvents>
  /** Runs `fn` when the calls before it are done. */
  inTurn: <T>(fn: () => Promise<T>) => Promise<T>
  /** Runs `fn` now, for calls that only touch the file. Afterwards listeners are told what it did. */
  now: <T>(fn: () => T) => T
  lastError: () => Error | null
  /** The client's tables are gone: nothing looks into the file from now on. */
  forsake: () => void
  /** No call begins after this; resolves when the running one is over. */
  shut: () => Promise<void>
}

const NOTHING: ReadonlySet<string> = new Set()

export function createCore (session: Session): ClientCore {
  const events = createEmitter<SyncEvents>()
  const news = createNews(session, events)
  session.afterCommit = news.tell
  session.onRebuild = what => { events.emit('rebuild', what) }
  let isShut = false
  let lastError: Error | null = null
  let turn: Promise<unknown> = Promise.resolve()

  function assertOpen (): void {
    if (isShut) throw new SyncClientError('closed', 'The client was closed.')
  }

  return {
    session,
    events,
    inTurn (fn) {
      const call = turn.then(async () => {
        assertOpen()
        try {
          const result = await fn()
          lastError = null
          return result
        } catch (error) {
          lastError = error as Error
          throw error
        } finally {
          if (!isShut) news.tell(NOTHING) // rows that were held when a batch was made
        }
      })
      turn = call.catch(() => {}) // the caller has the error; the next call has its own chance
      return call
    },
    now (fn) {
      assertOpen()
      return fn()
    },
    lastError: () => lastError,
    forsake () { isShut = true },
    async shut () {
      isShut = true
      await turn
      events.clear()
    }
  }
}
