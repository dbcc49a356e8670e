import { sql, type Kysely, type Transaction } from 'kysely'
import { once } from './compiled.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { SETTINGS } from './transaction.js'

export interface Stream {
  scopeId: number
  /** Last position. */
  head: number
  floor: number
  compactedThrough: number
  /** Identity of this stream's history: the installation's epoch and the scope, so that no two streams share one. */
  epoch: string
}

/** The stream of a scope as it is now, or null where the scope is new. */
export async function findStream (db: Kysely<Database>, scope: string): Promise<Stream | null> {
  return toStream(await selectStream(db, scope).executeTakeFirst())
}

/** The stream of a scope, created where the scope is new. */
export async function ensureStream (db: Kysely<Database>, scope: string): Promise<Stream> {
  const found = await findStream(db, scope)
  if (found !== null) return found
  // Look before inserting: an identity value is spent even where the conflict makes the insert do nothing.
  await db.insertInto('scope').values({ name: scope }).onConflict(conflict => conflict.doNothing()).execute()
  await db.insertInto('stream')
    .columns(['scope_id', 'head', 'floor', 'compacted_through'])
    .expression(eb => eb.selectFrom('scope').where('name', '=', scope).select(['scope_id', eb.lit(0).as('head'), eb.lit(0).as('floor'), eb.lit(0).as('compacted_through')]))
    .onConflict(conflict => conflict.doNothing()).execute()
  return await findStream(db, scope) as Stream
}

/** Locks the stream until the end of the transaction and reads it: one writer a scope, so that positions are in the order of commit. */
export async function lockStream (trx: Transaction<Database>, metadata: Metadata, scope: string): Promise<Stream> {
  const lock = async () => toStream((await trx.executeQuery(lockStatement(trx, metadata, { scope }))).rows[0])
  const locked = await lock()
  if (locked !== null) return locked
  await ensureStream(trx, scope)
  return await lock() as Stream
}

/**
 * The statement that locks a stream. Reads that the lock guards belong into later statements: this one's snapshot is older
 * than the lock.
 *
 * Makes the transaction's settings first: a condition that mentions no column is judged before any row is read, so that
 * lock_timeout holds for the wait that follows.
 */
export const lockStatement = once<StreamRow, { scope: string }>(metadata => sql`
    select st.scope_id::text, st.head::text, st.floor::text, st.compacted_through::text, m.epoch
    from ${metadata.table('scope')} sc
    join ${metadata.table('stream')} st on st.scope_id = sc.scope_id
    cross join ${metadata.table('meta')} m
    where sc.name = ${'scope'} and (select ${SETTINGS}) is not null
    for no key update of st`)

function selectStream (db: Kysely<Database>, scope: string) {
  return db.selectFrom('scope as sc')
    .innerJoin('stream as st', 'st.scope_id', 'sc.scope_id')
    .innerJoin('meta as m', join => join.onTrue())
    .where('sc.name', '=', scope)
    .select(['st.scope_id', 'st.head', 'st.floor', 'st.compacted_through', 'm.epoch'])
}

export interface StreamRow { scope_id: string, head: string, floor: string, compacted_through: string, epoch: string }

export function toStream (row: StreamRow | undefined): Stream | null {
  if (row === undefined) return null
  return {
    scopeId: Number(row.scope_id),
    head: Number(row.head),
    floor: Number(row.floor),
    compactedThrough: Number(row.compacted_through),
    epoch: epochOf(row.epoch, row.scope_id)
  }
}

export function epochOf (epoch: string, scopeId: number | string): string {
  return `${epoch}.${scopeId}`
}
