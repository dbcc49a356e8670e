import type { Driver } from './drivers/driver.js'
import { SyncClientError } from './errors.js'
import { RUN_LOCK_RETRY_MS } from './limits.js'

/** Whether there can be a lock tells `isAlone`: without one another process may be at work. null: another process has it. */
export function tryRunLock (driver: Driver): { release: () => void, isAlone: boolean } | null {
  const release = driver.lockRun === undefined ? () => {} : driver.lockRun()
  return release === null ? null : { release: release ?? (() => {}), isAlone: release !== undefined }
}

/**
 * Becomes the one that syncs this file among all processes, waiting up to `waitMs` for another to finish. Two at once would
 * do no harm (a batch has its ids), but would do everything twice.
 */
export async function takeRunLock (driver: Driver, waitMs: number, signal: AbortSignal): Promise<{ release: () => void, isAlone: boolean }> {
  for (let waitedMs = 0; ; waitedMs += RUN_LOCK_RETRY_MS) {
    const lock = tryRunLock(driver)
    if (lock !== null) return lock
    if (waitedMs >= waitMs) throw new SyncClientError('sync_elsewhere', 'Another process is syncing this file.')
    await pause(Math.min(RUN_LOCK_RETRY_MS, waitMs - waitedMs), signal)
  }
}

function pause (ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    function done (): void {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    function onAbort (): void {
      clearTimeout(timer)
      reject(new SyncClientError('aborted', 'The call was aborted.', { cause: signal.reason }))
    }
  })
}
