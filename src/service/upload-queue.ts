import { setImmediate as nextTurn } from 'node:timers/promises'
import { SyncError } from '../errors.js'
import { MAX_CONCURRENT_UPLOADS, MAX_QUEUED_BYTES, MAX_QUEUED_BYTES_PER_SCOPE, MAX_QUEUED_UPLOADS, RETRY_AFTER_SECONDS } from '../limits.js'
import type { Metrics } from '../metrics.js'

interface Line {
  uploads: number
  bytes: number
  /** The upload that stands last in line. */
  last: Place | null
}

/** An upload's place in line. */
interface Place {
  /** It is at work: the one behind it makes ready. */
  begun: Promise<void>
  ended: Promise<void>
}

/** What an upload does in turn. */
export interface Work<Ready, T> {
  /** What it can do before its turn, while the one before it is at the database. What it makes holds several times the memory of what waits. */
  makeReady: () => Ready
  work: (ready: Ready, waitedMs: number) => Promise<T>
}

/**
 * Lets one upload of a scope at a time through to the database, and a bounded number in all. Those of one scope would wait
 * for each other's lock anyway, and while waiting there they would hold the pool's connections away from everybody else. The
 * next of a scope makes itself ready meanwhile, and no more than that one, so that the database need not wait for it.
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

  /** Does the work when it is its turn and tells it how long it had to wait. `bytes` is what the upload holds in memory meanwhile. */
  async run<Ready, T> (scope: string, bytes: number, work: Work<Ready, T>): Promise<T> {
    const line: Line = this.#lines.get(scope) ?? { uploads: 0, bytes: 0, last: null }
    // Whoever is alone may be as large as a request may be.
    if (line.uploads >= MAX_QUEUED_UPLOADS || (line.uploads > 0 && line.bytes + bytes > MAX_QUEUED_BYTES_PER_SCOPE)) throw busy('of this user')
    if (this.#bytes > 0 && this.#bytes + bytes > MAX_QUEUED_BYTES) throw busy('here')
    line.uploads++
    line.bytes += bytes
    this.#bytes += bytes
    this.#lines.set(scope, line)
    this.#metrics?.add('oversync_queued_uploads', 1, {})
    const queued = performance.now()
    const before = line.last
    let begin = (): void => {}
    const begun = new Promise<void>(resolve => { begin = resolve })
    const turn = this.#inTurn(before, queued, work, begin)
    line.last = { begun, ended: turn.then(begin, begin) }
    try {
      return await turn
    } finally {
      this.#metrics?.observe('oversync_upload_duration_seconds', (performance.now() - queued) / 1000, {})
      line.bytes -= bytes
      this.#bytes -= bytes
      if (--line.uploads === 0) this.#lines.delete(scope)
    }
  }

  async #inTurn<Ready, T> (before: Place | null, queued: number, { makeReady, work }: Work<Ready, T>, begin: () => void): Promise<T> {
    let ready: Outcome<Ready> | null = null
    if (before !== null) {
      await before.begun
      // What it sends goes out first: it says so in this turn of the loop, and postgres.js sends the rest in the next.
      await nextTurn()
      await nextTurn()
      // Where others wait for a place at work, this one will too, and would hold its memory as long: then it makes ready in its turn.
      if (this.#waiting.length === 0) ready = outcomeOf(makeReady)
      await before.ended
    }
    // Whoever ends hands its place to the first who waits, so that the count stays.
    if (this.#atWork < MAX_CONCURRENT_UPLOADS) {
      this.#atWork++
    } else {
      ready = null
      await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    }
    const waitedMs = performance.now() - queued - (ready?.tookMs ?? 0)
    this.#metrics?.add('oversync_queued_uploads', -1, {})
    this.#metrics?.add('oversync_uploads_at_work', 1, {})
    this.#metrics?.observe('oversync_upload_wait_seconds', waitedMs / 1000, {})
    try {
      const result = work((ready ?? outcomeOf(makeReady)).get(), waitedMs)
      begin()
      return await result
    } finally {
      this.#metrics?.add('oversync_uploads_at_work', -1, {})
      const next = this.#waiting.shift()
      if (next === undefined) this.#atWork--
      else next()
    }
  }
}

interface Outcome<T> {
  tookMs: number
  /** What it was, or throws what it threw. */
  get: () => T
}

function outcomeOf<T> (make: () => T): Outcome<T> {
  const started = performance.now()
  try {
    const value = make()
    return { tookMs: performance.now() - started, get: () => value }
  } catch (error) {
    return { tookMs: performance.now() - started, get () { throw error } }
  }
}

function busy (where: string): SyncError {
  return new SyncError('too_many_requests', `Too many uploads ${where} are waiting. Try again later.`, { retryAfterSeconds: RETRY_AFTER_SECONDS })
}
