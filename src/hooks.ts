import type { Transaction } from 'kysely'
import type { Identity } from './options.js'

/** A change as the app's hooks see it. Frozen: a hook may refuse a change, never alter it. */
export interface HookChange {
  /** `schema.table`. */
  readonly table: string
  /** What happens to the row: INSERT where there is none (or a deleted one), else UPDATE or DELETE. */
  readonly op: 'INSERT' | 'UPDATE' | 'DELETE'
  /** The key in its one spelling; of several columns, a JSON array of texts. */
  readonly key: string
  /** The row by column, as sent (an update may leave columns out; a materializer gets the whole row); null for DELETE. Numbers are JavaScript's: beyond 2^53 read `payloadText`. */
  readonly payload: Readonly<Record<string, unknown>> | null
  /** The row as JSON text with its exact digits; null for DELETE. */
  readonly payloadText: string | null
  /** The version that the change makes, 1 for a new row. */
  readonly version: number
}

/** A change that the app refuses, and the sentence that its device shows. */
export interface Rejection {
  change: HookChange
  message: string
}

/** True or nothing: allowed. False, or a sentence for people: refused as `rejected`. */
export type Authorization = boolean | string | undefined | void

/**
 * Asked once for every change that is about to be applied, never for a replay. Throws where it cannot tell: then the
 * whole upload is answered 500 (503 where an answer takes more than ten seconds) and sent again. May be asked again for the same change when a transaction is tried again.
 */
export type Authorize = (change: HookChange, identity: Required<Identity>) => Authorization | Promise<Authorization>

/**
 * Asked once for all changes of an upload that are about to be applied, inside its transaction. `trx` may read and cannot
 * write, and is good for the time of the call. Gives the changes that the app refuses.
 */
export type BeforeApply = (batch: {
  changes: readonly HookChange[]
  identity: Required<Identity>
  trx: Transaction<any>
}) => Rejection[] | undefined | void | Promise<Rejection[] | undefined | void>

/**
 * Writes rows of one table wherever the app keeps them, inside the upload's transaction. Gets the rows in the order of the
 * request, no row twice, deletions in calls of their own after the others, and gives those that it refuses; where it refuses
 * any, nothing of what it wrote stays, and it is asked again without them. An error of the database refuses the row it is
 * about, which the plugin finds by asking again with fewer rows; any other exception ends the upload with 500. `payload` is
 * the whole row, with what an update left out. The plugin does not know foreign keys among the app's own tables: make them
 * deferrable. `trx` is good for the time of the call, and is neither to be begun nor ended there.
 */
export type Materializer = (batch: {
  rows: readonly HookChange[]
  identity: Required<Identity>
  trx: Transaction<any>
}) => Rejection[] | undefined | void | Promise<Rejection[] | undefined | void>
