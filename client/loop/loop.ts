import { SyncClientError } from '../errors.js'
import { ELSEWHERE_RETRY_MS } from '../limits.js'
import { backoffMs, pollMs, type Pace } from './delay.js'
import { NEVER, REFUSALS, STAY, TRANSITIONS, type LoopEvent, type LoopState } from './machine.js'
import type { Surroundings } from './surroundings.js'

/** What the loop turns: everything about the file and the server is behind it. */
export interface LoopWork extends Pace {
  /** One run; 'locked' where another process syncs this file. Rejects with what went wrong. */
  run: (signal: AbortSignal) => Promise<'done' | 'locked'>
  /** Milliseconds between two looks for local writes; 0: never. */
  localCheckMs: number
  /** Whether there is something to send that the last run did not leave behind. */
  hasNewWork: () => boolean
  /** Told of every new state. */
  onState: (state: LoopState) => void
  /** Told of every run that failed. */
  onError: (error: Error) => void
}

export interface Loop {
  readonly state: LoopState
  dispatch: (event: 'start' | 'wake' | 'close') => void
  /** Looks for local writes now, where the loop waits for them. */
  noticeWrite: () => void
  /** Stops; resolves when no run is under way any more. */
  stop: () => Promise<void>
}

/** Does what the states of machine.ts stand for: at most one run, one timer and one watch at any moment, none when stopped. */
export function createLoop (work: LoopWork, world: Surroundings): Loop {
  let state: LoopState = 'stopped'
  let failures = 0
  let retryAfterSeconds: number | undefined
  let abort = new AbortController()
  let disarm: Array<() => void> = []
  const waiting: Array<() => void> = []
  let isRunning = false
  /** Of a write outside `idle`, which begins with a look for it. */
  let hasNotice = false

  function dispatch (event: LoopEvent): void {
    const next = TRANSITIONS[state][event]
    if (next === NEVER) throw new Error(`The loop was ${state} and heard ${event}.`)
    if (next === STAY) return
    for (const end of disarm) end()
    disarm = []
    state = next
    if (state !== 'running') abort.abort(new SyncClientError('aborted', 'The loop was stopped.'))
    enter()
    try {
      work.onState(state)
    } catch (error) {
      work.onError(error as Error)
    }
  }

  function enter (): void {
    switch (state) {
      case 'running':
        run().catch(work.onError) // only a listener of ours can throw there
        break
      case 'idle':
        arm(pollMs(work, world.random()))
        watchFile()
        return watchNetwork()
      case 'backoff':
        arm(backoffMs(work, failures, retryAfterSeconds, world.random()))
        return watchNetwork()
      case 'blocked': return arm(backoffMs(work, Infinity, retryAfterSeconds, world.random()))
      case 'offline':
        arm(backoffMs(work, Infinity, undefined, world.random()))
        return watchNetwork()
      case 'elsewhere': return arm(ELSEWHERE_RETRY_MS * (1 + world.random()))
    }
  }

  function arm (ms: number): void {
    disarm.push(world.after(ms, () => dispatch('timer')))
  }

  /** A look now, for what was written during the run, and then one every `localCheckMs`. */
  function watchFile (): void {
    if (work.localCheckMs === 0 && !hasNotice) return
    hasNotice = false
    let cancel = world.after(0, look)
    disarm.push(() => cancel())
    function look (): void {
      if (hasNewWork()) return dispatch('write')
      if (work.localCheckMs > 0) cancel = world.after(work.localCheckMs, look)
    }
  }

  function hasNewWork (): boolean {
    try {
      return work.hasNewWork()
    } catch (error) {
      work.onError(error as Error)
      return false
    }
  }

  function watchNetwork (): void {
    disarm.push(world.watchNetwork(event => dispatch(event)))
    if (world.isOffline() && state !== 'offline') disarm.push(world.after(0, () => dispatch('offline')))
  }

  async function run (): Promise<void> {
    abort = new AbortController()
    isRunning = true
    let event: LoopEvent
    try {
      event = await work.run(abort.signal) === 'locked' ? 'locked' : 'succeeded'
      failures = 0
      retryAfterSeconds = undefined
    } catch (error) {
      failures++
      retryAfterSeconds = error instanceof SyncClientError ? error.retryAfterSeconds : undefined
      event = error instanceof SyncClientError && REFUSALS.has(error.code) ? 'refused' : 'failed'
      if (state === 'running') work.onError(error as Error) // a run that was stopped has not failed
    }
    isRunning = false
    for (const resolve of waiting.splice(0)) resolve()
    dispatch(event)
  }

  return {
    get state () { return state },
    dispatch,
    noticeWrite () {
      if (state !== 'idle') hasNotice = true
      else if (hasNewWork()) dispatch('write')
    },
    stop () {
      dispatch('stop')
      return isRunning ? new Promise(resolve => { waiting.push(resolve) }) : Promise.resolve()
    }
  }
}
