import { setTimeout as pause } from 'node:timers/promises'
import { sql, type Kysely, type Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import { IDLE_IN_TRANSACTION_TIMEOUT_MS, LOCK_TIMEOUT_MS, MAX_RETRY_PAUSE_MS, MAX_TRANSACTION_ATTEMPTS, RETRY_AFTER_SECONDS, STATEMENT_TIMEOUT_MS } from '../limits.js'
import type { Metrics } from '../metrics.js'
import type { Database } from './database.js'
import { isPassing, victimReason } from './database-error.js'

/**
 * Runs `work` in one READ COMMITTED transaction with settings of its own, whatever the role's or the server's are. A victim
 * of a deadlock is tried again, a bounded number of times. Trouble that goes away by itself, a COMMIT without an answer
 * among it, becomes `unavailable`: the caller asks again and finds out what happened.
 */
export async function inTransaction<T> (db: Kysely<Database>, work: (trx: Transaction<Database>) => Promise<T>, metrics: Metrics | null): Promise<T> {
  return await inTransactionBegunBy(db, applySettings, work, metrics)
}

/**
 * The same, where the first statement of the work makes the settings too (`SETTINGS`): a round trip less. `spent`: attempts
 * that were made before.
 */
export async function inTransactionBegunBy<T, First> (db: Kysely<Database>, first: (trx: Transaction<Database>) => Promise<First>, work: (trx: Transaction<Database>, begun: First) => Promise<T>, metrics: Metrics | null, spent = 0): Promise<T> {
  for (let attempt = 1 + spent; ; attempt++) {
    const asked = performance.now()
    try {
      return await db.transaction().setIsolationLevel('read committed').execute(async trx => {
        metrics?.observe('oversync_begin_wait_seconds', (performance.now() - asked) / 1000, {})
        return await work(trx, await first(trx))
      })
    } catch (error) {
      const reason = victimReason(error)
      if (reason !== null && attempt < MAX_TRANSACTION_ATTEMPTS) {
        metrics?.add('oversync_transaction_retries_total', 1, { reason })
        await pause(Math.random() * MAX_RETRY_PAUSE_MS * attempt)
        continue
      }
      throw unavailableIfPassing(error)
    }
  }
}

/** Runs reads outside a transaction, with the same translation of errors. */
export async function reading<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw unavailableIfPassing(error)
  }
}

function unavailableIfPassing (error: unknown): unknown {
  return isPassing(error)
    ? new SyncError('unavailable', 'The database is not available at the moment; nothing was half done. Try again.', { cause: error, retryAfterSeconds: RETRY_AFTER_SECONDS })
    : error
}

/** Values of synchronous_commit with which a COMMIT that was answered can still be lost. */
export const WEAK_COMMITS = ['off', 'local', 'remote_write']

/**
 * An expression that makes the settings. Local to the transaction, so that they also hold behind a pooler. An acknowledged
 * change must survive a crash, hence synchronous_commit; text forms of values must not depend on the role's settings, hence
 * the rest.
 */
export const SETTINGS = sql<string>`concat(
    set_config('synchronous_commit', case when current_setting('synchronous_commit') in (${sql.join(WEAK_COMMITS.map(value => sql.lit(value)))}) then 'on' else current_setting('synchronous_commit') end, true),
    set_config('lock_timeout', ${sql.lit(`${LOCK_TIMEOUT_MS}ms`)}, true),
    set_config('statement_timeout', ${sql.lit(`${STATEMENT_TIMEOUT_MS}ms`)}, true),
    set_config('idle_in_transaction_session_timeout', ${sql.lit(`${IDLE_IN_TRANSACTION_TIMEOUT_MS}ms`)}, true),
    set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, MDY', true), set_config('IntervalStyle', 'postgres', true), set_config('timezone_abbreviations', 'Default', true),
    set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true))`

async function applySettings (trx: Transaction<Database>): Promise<void> {
  await sql`select ${SETTINGS}`.execute(trx)
}
