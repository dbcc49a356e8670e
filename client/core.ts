import { SyncClientError } from './errors.js'
import { createEmitter, type Emitter } from './events.js'
import type { LoopState } from './loop/machine.js'
import { createNews, type SyncEvents } from './news.js'
import { takeRunLock } from './run-lock.js'
import { isClientGone } from './sqlite/client-state.js'
import { endMigration, isLeftOpen } from './sync/end-migration.js'
import type { Session } from './sync/session.js'

/** What the groups of calls of one client share (`calls/*.ts`): the open file, whose turn it is, and who listens. */
export interface ClientCore {
  readonly session: Session
  readonly events: Emitter<SyncEvents>
  /** Runs `fn` when the calls before it are done. Its signal ends with the caller's, and when the client is closed. */
  inTurn: <T>(fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal) => Promise<T>
  /** `inTurn`, as the only process that syncs the file. Waits up to `waitMs` for another process, then throws `sync_elsewhere`. */
  run: <T>(fn: (signal: AbortSignal) => Promise<T>, options: { signal: AbortSignal | undefined, waitMs: number }) => Promise<T>
  /** Runs `fn` now, for calls that only touch the file. */
  now: <T>(fn: () => T) => T
  lastError: () => Error | null
  loopState: () => LoopState
  /** Wakes the loop, where there is one: something happened for which it may have waited. */
  nudge: () => void
  setLoopState: (state: LoopState) => void
  /** The client's tables are gone: nothing looks into the file from now on. */
  forsake: () => void
  /** Ends the running call and lets none begin; `before` are called first. Resolves when all is quiet. */
  shut: () => Promise<void>
  /** Registers something to be done first when the client is closed. */
  onShut: (fn: () => void) => void
}

const NOTHING: ReadonlySet<string> = new Set()

/** Another process may have taken the client off the file (`uninstall`): SQLite then misses its tables. */
function named (error: unknown): Error {
  if (!isClientGone(error)) return error as Error
  return new SyncClientError('signed_out', 'The file is no longer prepared for sync: the client was removed from it.', { cause: error })
}

export function createCore (session: Session): ClientCore {
  const events = createEmitter<SyncEvents>()
  const news = createNews(session, events)
  session.afterCommit = tell
  session.onProgress = progress => events.emit('progress', progress)
  const closing = new AbortController()
  const shutting: Array<() => void> = []
  session.onRebuild = what => { events.emit('rebuild', what) }
  let lastError: Error | null = null
  let loopState: LoopState = 'stopped'
  let turn: Promise<unknown> = Promise.resolve()

  function assertOpen (): void {
    if (closing.signal.aborted) throw new SyncClientError('closed', 'The client was closed.')
  }

  /** What was done is done: where the file cannot be read for news of it, they are told next time, and the call goes on. */
  function tell (changedTables: ReadonlySet<string>): void {
    try {
      news.tell(changedTables)
    } catch {}
  }

  /** A migration of ours whose end failed. Under the lock: another process may have ended it since, and begun one of its own. */
  async function endUnfinished (signal: AbortSignal): Promise<void> {
    const { release } = await takeRunLock(session.driver, session.settings.timeoutMs, signal)
    try {
      endMigration(session)
    } finally {
      release()
    }
  }

  function inTurn<T> (fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const call = turn.then(async () => {
      assertOpen()
      const ending = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal])
      try {
        if (session.unfinished !== null) await endUnfinished(ending)
        const result = await fn(ending)
        lastError = null
        return result
      } catch (error) {
        lastError = named(error)
        throw lastError
      } finally {
        if (!closing.signal.aborted) tell(NOTHING) // rows that were held when a batch was made
      }
    })
    turn = call.catch(() => {}) // the caller has the error; the next call has its own chance
    return call
  }

  return {
    session,
    events,
    inTurn,
    run: (fn, { signal, waitMs }) => inTurn(async signal => {
      const { release, isAlone } = await takeRunLock(session.driver, waitMs, signal)
      try {
        if (isAlone && isLeftOpen(session)) endMigration(session)
        return await fn(signal)
      } finally {
        try {
          session.checkpoints.asUsual()
        } finally {
          release()
        }
      }
    }, signal),
    now (fn) {
      assertOpen()
      try {
        return fn()
      } catch (error) {
        throw named(error)
      }
    },
    lastError: () => lastError,
    loopState: () => loopState,
    nudge: () => {},
    setLoopState: state => { loopState = state },
    forsake () { closing.abort(new SyncClientError('closed', 'The client was removed from the file.')) },
    async shut () {
      for (const fn of shutting) fn()
      closing.abort(new SyncClientError('closed', 'The client was closed.'))
      await turn
      events.clear()
    },
    onShut: fn => { shutting.push(fn) }
  }
}
