import { sql, type Transaction } from 'kysely'
import type { Authorize, BeforeApply, HookChange, Rejection } from '../hooks.js'
import { HOOK_TIMEOUT_MS, MAX_CONCURRENT_HOOKS } from '../limits.js'
import type { AskMaterializer } from '../materializer/materializer.js'
import type { Refused } from '../materializer/row-write.js'
import type { Identity } from '../options.js'
import type { Database } from '../storage/database.js'
import type { Write } from './decide.js'
import { inTime } from './in-time.js'
import type { Refusal } from './prepare.js'

export interface AppHooks {
  authorize: Authorize | null
  beforeApply: BeforeApply | null
}

/** Asks the app about changes that are about to be applied; those that it refuses, by index. */
export async function askHooks ({ authorize, beforeApply }: AppHooks, trx: Transaction<Database>, identity: Required<Identity>, writes: Write[], timeoutMs = HOOK_TIMEOUT_MS): Promise<Map<number, Refusal>> {
  const refusals = new Map<number, Refusal>()
  if ((authorize === null && beforeApply === null) || writes.length === 0) return refusals
  const indexes = new Map(writes.map(write => [toHookChange(write), write.change.index]))
  const caller = Object.freeze({ ...identity })
  if (authorize !== null) {
    await inTime('authorize', timeoutMs, async () => {
      await forEachConcurrently([...indexes], MAX_CONCURRENT_HOOKS, async ([change, index]) => {
        const answer = await authorize(change, caller)
        if (answer === false || typeof answer === 'string') refusals.set(index, rejected(answer))
        else if (answer !== undefined && answer !== true) throw new TypeError('authorize must give true, false, a text or nothing.')
      })
    })
  }
  const allowed = [...indexes].flatMap(([change, index]) => refusals.has(index) ? [] : [change])
  if (beforeApply !== null && allowed.length > 0) {
    const rejections = await readOnly(trx, async () => await inTime('beforeApply', timeoutMs, async () => await beforeApply({ changes: Object.freeze(allowed), identity: caller, trx: trx.withoutPlugins() })))
    for (const [index, message] of indexesOf(rejections, indexes, 'beforeApply')) refusals.set(index, rejected(message))
  }
  return refusals
}

/** The app's own materializers, as the materializer of the plugin asks them. */
export function materializersOf (identity: Required<Identity>, timeoutMs = HOOK_TIMEOUT_MS): AskMaterializer {
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
    const rejections = await inTime(`The materializer of ${table.name}`, timeoutMs, async () => await materializer({ rows: Object.freeze([...changes.keys()]), identity: Object.freeze({ ...identity }), trx: trx.withoutPlugins() }))
    return indexesOf(rejections, changes, 'a materializer').map(([write, message]): Refused => ({ write, why: 'rejected', message: message === '' ? null : message }))
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
  return Object.freeze({ ...change, payload: change.payloadText === null ? null : Object.freeze(JSON.parse(change.payloadText) as Record<string, unknown>) })
}

function rejected (message: string | false): Refusal {
  return { reason: 'rejected', message: message === false || message === '' ? 'The app refuses this change.' : message }
}

/** A hook may look at anything and change nothing: what it does in the transaction is read-only, and undone. */
async function readOnly<T> (trx: Transaction<Database>, work: () => Promise<T>): Promise<T> {
  await sql`savepoint oversync_hook`.execute(trx)
  await sql`set local transaction_read_only = on`.execute(trx)
  const result = await work()
  await sql`rollback to savepoint oversync_hook`.execute(trx)
  await sql`release savepoint oversync_hook`.execute(trx)
  return result
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

async function forEachConcurrently<T> (items: T[], concurrency: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => { while (next < items.length) await work(items[next++] as T) }
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker))
}
