import { SyncError } from '../errors.js'
import { MAX_QUEUED_UPLOADS, RETRY_AFTER_SECONDS } from '../limits.js'

/**
 * Lets one upload of a scope at a time through to the database. They would wait for each other's lock anyway, and while
 * waiting there they would hold the pool's connections away from everybody else.
 */
export class ScopeQueue {
  readonly #tails = new Map<string, { waiting: number, tail: Promise<unknown> }>()

  async run<T> (scope: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#tails.get(scope) ?? { waiting: 0, tail: Promise.resolve() }
    if (entry.waiting >= MAX_QUEUED_UPLOADS) {
      throw new SyncError('too_many_requests', 'Too many uploads of this user are waiting. Try again later.', { retryAfterSeconds: RETRY_AFTER_SECONDS })
    }
    entry.waiting++
    this.#tails.set(scope, entry)
    const turn = entry.tail.then(work)
    entry.tail = turn.catch(() => {})
    try {
      return await turn
    } finally {
      if (--entry.waiting === 0) this.#tails.delete(scope)
    }
  }
}
