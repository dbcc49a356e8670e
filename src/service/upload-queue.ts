import { SyncError } from '../errors.js'
import { MAX_CONCURRENT_UPLOADS, MAX_QUEUED_BYTES, MAX_QUEUED_BYTES_PER_SCOPE, MAX_QUEUED_UPLOADS, RETRY_AFTER_SECONDS } from '../limits.js'
import type { Metrics } from '../metrics.js'

interface Line {
  uploads: number
  bytes: number
  /** Ends with the last upload that stands in line. */
  tail: Promise<unknown>
}

/**
 * Lets one upload of a scope at a time through to the database, and a bounded number in all. Those of one scope would wait
 * for each other's lock anyway, and while waiting there they would hold the pool's connections away from everybody else.
 */
export class UploadQueue {
  readonly #metrics: Metrics | null
  readonly #lines = new Map<string, Line>()
  readonly #waiting: Array<() => void> = []
  #atWork = 0
  #bytes = 0

  constructor (metrics: Metrics | null = null) {
    this.#metrics = metrics
  }

  /** Runs `work` when it is its turn and tells it how long that took. `bytes` is what the upload holds in memory meanwhile. */
  async run<T> (scope: string, bytes: number, work: (waitedMs: number) => Promise<T>): Promise<T> {
    const line = this.#lines.get(scope) ?? { uploads: 0, bytes: 0, tail: Promise.resolve() }
    // Whoever is alone may be as large as a request may be.
    if (line.uploads >= MAX_QUEUED_UPLOADS || (line.uploads > 0 && line.bytes + bytes > MAX_QUEUED_BYTES_PER_SCOPE)) throw busy('of this user')
    if (this.#bytes > 0 && this.#bytes + bytes > MAX_QUEUED_BYTES) throw busy('here')
    line.uploads++
    line.bytes += bytes
    this.#bytes += bytes
    this.#lines.set(scope, line)
    this.#metrics?.add('oversync_queued_uploads', 1, {})
    const queued = performance.now()
    const turn = line.tail.then(async () => await this.#atWorkDuring(queued, work))
    line.tail = turn.catch(() => {})
    try {
      return await turn
    } finally {
      line.bytes -= bytes
      this.#bytes -= bytes
      if (--line.uploads === 0) this.#lines.delete(scope)
    }
  }

  async #atWorkDuring<T> (queued: number, work: (waitedMs: number) => Promise<T>): Promise<T> {
    // Whoever ends hands its place to the first who waits, so that the count stays.
    if (this.#atWork < MAX_CONCURRENT_UPLOADS) this.#atWork++
    else await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    const waitedMs = performance.now() - queued
    this.#metrics?.add('oversync_queued_uploads', -1, {})
    this.#metrics?.add('oversync_uploads_at_work', 1, {})
    this.#metrics?.observe('oversync_upload_wait_seconds', waitedMs / 1000, {})
    try {
      return await work(waitedMs)
    } finally {
      this.#metrics?.add('oversync_uploads_at_work', -1, {})
      const next = this.#waiting.shift()
      if (next === undefined) this.#atWork--
      else next()
    }
  }
}

function busy (where: string): SyncError {
  return new SyncError('too_many_requests', `Too many uploads ${where} are waiting. Try again later.`, { retryAfterSeconds: RETRY_AFTER_SECONDS })
}
