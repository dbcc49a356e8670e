import type { ClientCore } from '../core.js'
import { SyncClientError } from '../errors.js'
import { createLoop } from '../loop/loop.js'
import type { Surroundings } from '../loop/surroundings.js'
import { isClientGone } from '../sqlite/client-state.js'
import { readStatus } from './status.js'
import { sendable, syncOnce } from '../sync/sync-once.js'

export interface LoopCalls {
  /** Sync now, and from now on: after local writes, every `pollIntervalMs`, when the network comes back, and again after failures. */
  start: () => void
  /** End that. The running call is aborted; resolves when it is over. What was captured stays. */
  stop: () => Promise<void>
  /** Run now, also where the loop waits after a failure: after a sign-in, when the app comes to the foreground, on a push message. */
  wake: () => void
  /** The app has just written and committed: look for it now, not at the next look (`localCheckMs`). Only where the loop is idle; a wait after a failure takes its time. */
  noticeWrite: () => void
}

export function loopCalls (core: ClientCore, world: Surroundings): LoopCalls {
  const { session, events } = core
  const { driver, settings } = session
  let hasDrained = true
  let lastSeen: number | null = null
  const lastPending = (): number | null => driver.all<{ id: number | null }>('select max(id) as id from _sync_pending')[0]?.id ?? null

  const loop = createLoop({
    ...settings.pace,
    async run (signal) {
      try {
        const { drained } = await core.run(signal => syncOnce(session, settings.downloadLimit, signal), { signal, waitMs: 0 })
        hasDrained = drained
        lastSeen = lastPending()
        return 'done'
      } catch (error) {
        if (error instanceof SyncClientError && error.code === 'sync_elsewhere') return 'locked'
        throw error
      }
    },
    hasNewWork () {
      try {
        // After a run that could not send everything, only what has come since counts: the rest has its time.
        return !driver.inTransaction && sendable(session) > 0 && (hasDrained || lastPending() !== lastSeen)
      } catch (error) {
        if (isClientGone(error)) return true // the run says so, once
        throw error
      }
    },
    onState (state) {
      core.setLoopState(state)
      if (state === 'closed' || !events.has('status')) return
      try {
        events.emit('status', readStatus(core))
      } catch (error) {
        if (!isClientGone(error)) throw error // the run says so, once
      }
    },
    onError: error => events.emit('error', error)
  }, world)
  core.nudge = () => loop.dispatch('wake')
  core.onShut(() => loop.dispatch('close'))

  return {
    start: () => core.now(() => loop.dispatch('start')),
    stop: () => loop.stop(),
    wake: () => core.now(() => loop.dispatch('wake')),
    noticeWrite: () => core.now(() => loop.noticeWrite())
  }
}
