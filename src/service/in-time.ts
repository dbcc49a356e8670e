import { SyncError } from '../errors.js'
import { RETRY_AFTER_SECONDS } from '../limits.js'

/** What the app's own code answers; `unavailable` where it does not within `timeoutMs`: it may hold a connection and a lock meanwhile. */
export async function inTime<T> (what: string, timeoutMs: number, work: () => T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new SyncError('unavailable', 'The server could not finish in time; nothing was stored. Try again.', { cause: new Error(`${what} did not answer within ${timeoutMs} ms.`), retryAfterSeconds: RETRY_AFTER_SECONDS }))
    }, timeoutMs)
  })
  try {
    // Not before the timer is set: it may throw, and it may block.
    return await Promise.race([(async () => await work())(), timeout])
  } finally {
    clearTimeout(timer)
  }
}
