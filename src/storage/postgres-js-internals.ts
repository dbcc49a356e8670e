/*
 * What the dialect needs of postgres.js and has no option for. Each is a field that postgres.js decides by; where a later
 * version does so no longer, the test that is named fails.
 */

/**
 * Makes postgres.js send a statement with all that belongs to it. By itself it sends one without a name only to ask for the
 * types of its parameters, and the parameters once it has heard: a second round trip for each, in a transaction under the
 * stream's lock. It has no option against that; where a later version decides otherwise than by this field, statements take
 * two trips again, and test/server/round-trips.test.ts fails.
 */
export function sendAtOnce (query: object): void {
  Object.defineProperty(query, 'describeFirst', { get: () => false, set () {} })
}

/**
 * Keeps postgres.js from sending a named statement again that its session does not know, or whose plan no longer fits. In a
 * transaction, which has failed by then, that is of no use; and it would go out behind the statements that were sent
 * together: behind COMMIT it would be a transaction of its own (test/server/pipeline.test.ts).
 */
export function sendOnce (query: object): void {
  Object.defineProperty(query, 'retried', {
    get: () => undefined,
    set (this: { reject: (error: unknown) => void, cancelled: unknown }, error: unknown) {
      this.reject(error)
      // What is cancelled is not sent.
      this.cancelled = true
    }
  })
}

/** Called where postgres.js sends a named statement again, under another name, because its session does not know it or its plan no longer fits (test/server/named-statements.test.ts). */
export function onForgotten (query: object, tell: () => void): void {
  let cause: unknown
  Object.defineProperty(query, 'retried', {
    get: () => cause,
    set (error: { code?: string }) {
      cause = error
      if (error.code === '26000') tell()
    }
  })
}

/** Called when a statement has been sent: false keeps postgres.js from sending another before its answer, where it could get stuck behind it. */
export const ONE_AT_A_TIME = { onexecute: () => false }

/** A connection of postgres.js' pool, as it hands it to `onexecute`. */
export interface PoolConnection {
  /** Writes a statement. False where no other may follow before its answer. */
  execute: (query: object) => boolean
  /** Called when all that was sent is answered and the session is in a transaction; while it is set, the pool leaves the connection alone. */
  reserved: (() => void) | null
  onclose: ((error: unknown) => void) | null
  /** The list of the pool that it is in. */
  queue: { remove: (connection: PoolConnection) => void, push: (connection: PoolConnection) => void }
}

/**
 * Takes a connection out of the pool's lists. One that was opened for the statement would else count as being connected, and
 * with several hosts postgres.js would not tell of its loss (test/server/pipeline.test.ts).
 */
export function setApart (connection: PoolConnection): void {
  connection.queue.remove(connection)
  connection.queue = { remove () {}, push () {} }
}

/** Hands a statement, once it is to be sent, to `send` in place of the pool. */
export function sendBy (query: object, send: (query: object) => void): void {
  (query as { handler: unknown }).handler = send
}

/** postgres.js marks the statement that the server is at; one in line for a connection, or behind another statement on it, is not. */
export function isAtWork (query: object): boolean {
  return (query as { active?: boolean }).active !== false
}
