import { SyncError } from '../errors.js'
import { HOOK_TIMEOUT_MS, MAX_HOOKS_MS, RETRY_AFTER_SECONDS } from '../limits.js'
import { BatchTooLarge } from './batch-too-large.js'

/** The time that code of the app may take of one upload: it holds a connection and the stream's lock meanwhile. */
export class HookTime {
  readonly callMs: number
  #leftMs: number

  constructor (callMs = HOOK_TIMEOUT_MS, totalMs = MAX_HOOKS_MS) {
    this.callMs = callMs
    this.#leftMs = totalMs
  }

  /**
   * What the app's own code answers. Throws `unavailable` where it does not in time, and BatchTooLarge where all its calls
   * together took too long. The signal says that nobody waits any more.
   */
  async run<T> (what: string, work: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    if (this.#leftMs <= 0) throw new BatchTooLarge('The app needs too long for this batch.')
    const started = performance.now()
    try {
      return await inTime(what, this.callMs, work)
    } finally {
      this.#leftMs -= performance.now() - started
    }
  }
}

async function inTime<T> (what: string, timeoutMs: number, work: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
  const over = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new SyncError('unavailable', 'The server could not finish in time; nothing was stored. Try again.', { cause: new Error(`${what} did not answer within ${timeoutMs} ms.`), retryAfterSeconds: RETRY_AFTER_SECONDS }))
    }, timeoutMs)
  })
  try {
    // Not before the timer is set: it may throw, and it may block.
    return await Promise.race([(async () => await work(over.signal))(), timeout])
  } finally {
    clearTimeout(timer)
    over.abort()
  }
}
