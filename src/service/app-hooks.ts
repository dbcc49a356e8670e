import { sql, type Transaction } from 'kysely'
import { SyncError } from '../errors.js'
import type { Authorize, BeforeApply, HookChange, Rejection } from '../hooks.js'
import { MAX_CONCURRENT_HOOKS, STATEMENT_TIMEOUT_MS } from '../limits.js'
import type { AskMaterializer } from '../materializer/materializer.js'
import type { Refused } from '../materializer/row-write.js'
import type { Identity } from '../options.js'
import { asDatabaseError, isPassing } from '../storage/database-error.js'
import type { Database } from '../storage/database.js'
import { lend } from '../storage/lent-transaction.js'
import { BatchTooLarge } from './batch-too-large.js'
import type { Write } from './decide.js'
import type { HookTime } from './in-time.js'
import type { Refusal } from './prepare.js'

export interface AppHooks {
  authorize: Authorize | null
  beforeApply: BeforeApply | null
}

/** Asks the app about changes that are about to be applied; those that it refuses, by index. */
export async function askHooks ({ authorize, beforeApply }: AppHooks, trx: Transaction<Database>, identity: Required<Identity>, writes: Write[], time: HookTime): Promise<Map<number, Refusal>> {
  const refusals = new Map<number, Refusal>()
  if ((authorize === null && beforeApply === null) || writes.length === 0) return refusals
  const indexes = new Map(writes.map(write => [toHookChange(write), write.change.index]))
  const caller = Object.freeze({ ...identity })
  if (authorize !== null) {
    await ask(async () => await time.run('authorize', async signal => {
      await forEachConcurrently([...indexes], MAX_CONCURRENT_HOOKS, signal, async ([change, index]) => {
        const answer = await authorize(change, caller)
        if (answer === false || typeof answer === 'string') refusals.set(index, rejected(answer))
        else if (answer !== undefined && answer !== true) throw new TypeError('authorize must give true, false, a text or nothing.')
      })
    }))
  }
  const allowed = [...indexes].flatMap(([change, index]) => refusals.has(index) ? [] : [change])
  if (beforeApply !== null && allowed.length > 0) {
    await ask(async () => {
      const rejections = await readOnly(trx, time, async lent => await beforeApply({ changes: Object.freeze(allowed), identity: caller, trx: lent }))
      for (const [index, message] of indexesOf(rejections, indexes, 'beforeApply')) refusals.set(index, rejected(message))
    })
  }
  return refusals
}

/** The app's own materializers, as the materializer of the plugin asks them. */
export function materializersOf (identity: Required<Identity>, time: HookTime): AskMaterializer {
  const caller = Object.freeze({ ...identity })
  return async (trx, table, rows) => {
    const changes = new Map(rows.map(write => [freeze({
      table: table.name,
      op: write.verb === 'delete' ? 'DELETE' : write.verb === 'insert' ? 'INSERT' : 'UPDATE',
      key: write.pk,
      payloadText: write.whole,
      version: write.version
    }), write]))
    const { materializer } = table
    if (materializer === null) throw new Error(`${table.name} has no materializer.`)
    return await ask(async () => {
      await setStatementTimeout(trx, time.callMs)
      const rejections = await lend(trx, async lent => await time.run(`The materializer of ${table.name}`, async () => await materializer({ rows: Object.freeze([...changes.keys()]), identity: caller, trx: lent })))
      await setStatementTimeout(trx, STATEMENT_TIMEOUT_MS)
      return indexesOf(rejections, changes, 'a materializer').map(([write, message]): Refused => ({ write, why: 'rejected', message: message === '' ? null : message }))
    })
  }
}

function toHookChange ({ change, hadLiveRow, version }: Write): HookChange {
  return freeze({
    table: change.table.name,
    op: change.op === 'DELETE' ? 'DELETE' : hadLiveRow ? 'UPDATE' : 'INSERT',
    key: change.pk,
    payloadText: change.payload,
    version
  })
}

function freeze (change: Omit<HookChange, 'payload'>): HookChange {
  return Object.freeze({ ...change, payload: change.payloadText === null ? null : deepFreeze(JSON.parse(change.payloadText) as Record<string, unknown>) })
}

/** One hook must not show another a row that is not there. Payloads are of bounded depth. */
function deepFreeze<T> (value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}

function rejected (message: string | false): Refusal {
  return { reason: 'rejected', message: message === false || message === '' ? 'The app refuses this change.' : message }
}

/**
 * What code of the app throws says nothing to the caller: a 401 that a hook met elsewhere must not sign the device out. What
 * the database says is for those who try again, or who look for the row that it is about.
 */
async function ask<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SyncError || asDatabaseError(error) !== null || isPassing(error) || error instanceof BatchTooLarge) throw error
    throw new SyncError('internal_error', 'The server could not handle the request.', { cause: error ?? new Error('Nothing was thrown.') })
  }
}

/** A hook may look at anything and change nothing: what it does in the transaction is read-only, and undone. */
async function readOnly<T> (trx: Transaction<Database>, time: HookTime, work: (lent: Transaction<any>) => T | Promise<T>): Promise<T> {
  await sql`savepoint oversync_hook`.execute(trx)
  await sql`set local transaction_read_only = on`.execute(trx)
  await setStatementTimeout(trx, time.callMs)
  let result: T
  try {
    result = await lend(trx, async lent => await time.run('beforeApply', async () => await work(lent)))
  } catch (error) {
    // Elsewhere this tells of a database that has become a standby.
    if (asDatabaseError(error)?.sqlstate === '25006') throw new Error('beforeApply may only read.', { cause: error })
    throw error
  }
  await sql`rollback to savepoint oversync_hook`.execute(trx)
  await sql`release savepoint oversync_hook`.execute(trx)
  return result
}

/** A statement that outlives its caller would keep the connection and the lock. */
async function setStatementTimeout (trx: Transaction<Database>, timeoutMs: number): Promise<void> {
  await sql`select set_config('statement_timeout', ${`${timeoutMs}ms`}, true)`.execute(trx)
}

function indexesOf<T> (rejections: Rejection[] | undefined | void, known: ReadonlyMap<HookChange, T>, hook: string): Array<[T, string]> {
  if (rejections === undefined) return []
  if (!Array.isArray(rejections)) throw new TypeError(`${hook} must give a list of { change, message }, or nothing.`)
  return rejections.map(rejection => {
    const found = known.get(rejection?.change)
    if (found === undefined || typeof rejection.message !== 'string') throw new TypeError(`${hook} must give { change, message } with a change that it was asked about.`)
    return [found, rejection.message]
  })
}

async function forEachConcurrently<T> (items: T[], concurrency: number, signal: AbortSignal, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => { while (next < items.length && !signal.aborted) await work(items[next++] as T) }
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker))
}
