import type { Kysely, Transaction } from 'kysely'
import type { Identity } from '../options.js'
import type { Database } from './database.js'

/** The server as a source of changes; devices may not use names that begin like this. */
export const SERVER_SOURCE_NO = 0
export const SERVER_SOURCE_ID = 'oversync:server'
export const RESERVED_SOURCE_PREFIX = 'oversync:'

export interface Source {
  no: number
  /** Highest source_change_id that was applied; 0 for a new source. */
  maxChangeId: number
}

/** A device of a scope, or null where it never uploaded. */
export async function findSource (db: Kysely<Database>, scopeId: number, identity: Identity): Promise<Source | null> {
  const row = await db.selectFrom('source')
    .where('scope_id', '=', String(scopeId)).where('user_id', '=', identity.userId).where('source_id', '=', identity.deviceId)
    .select(['source_no', 'max_change_id'])
    .executeTakeFirst()
  return row === undefined ? null : { no: row.source_no, maxChangeId: Number(row.max_change_id) }
}

/** Registers a device that is not there. Needs the stream lock, which makes the next number safe. */
export async function addSource (trx: Transaction<Database>, scopeId: number, identity: Identity): Promise<Source> {
  const { no } = await trx.insertInto('source')
    .columns(['scope_id', 'source_no', 'user_id', 'source_id', 'max_change_id'])
    .expression(eb => eb.selectFrom('source').where('scope_id', '=', String(scopeId)).select(({ fn, val }) => [
      val(String(scopeId)).$castTo<string>().as('scope_id'),
      eb(fn.coalesce(fn.max('source_no'), eb.lit(SERVER_SOURCE_NO)), '+', 1).as('source_no'),
      val(identity.userId).as('user_id'),
      val(identity.deviceId).as('source_id'),
      eb.lit(0).as('max_change_id')
    ]))
    .returning('source_no as no')
    .executeTakeFirstOrThrow()
  return { no, maxChangeId: 0 }
}
