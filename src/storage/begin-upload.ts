import { sql, type Transaction } from 'kysely'
import type { Identity } from '../options.js'
import { once } from './compiled.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { sendTogether } from './pipeline.js'
import { statesOf, toStates, wantedRows, type RowKey, type RowState, type StateRow } from './row-state.js'
import type { Source } from './source.js'
import { ensureStream, lockStatement, toStream, type Stream } from './stream.js'

/** What verdicts depend on, as it is under the stream's lock. */
export interface Begun {
  stream: Stream
  /** Null where the device has never uploaded. */
  source: Source | null
  /** By rowKey; rows that the stream has never had are absent. */
  states: Map<string, RowState>
}

/**
 * Locks the stream of a scope, which is made where the scope is new, and reads what every upload needs to know: the device
 * and the states of the given rows. Both statements go out together; the second takes its snapshot when the first has the lock.
 */
export async function beginUpload (trx: Transaction<Database>, metadata: Metadata, { scope, userId, deviceId }: Required<Identity>, keys: RowKey[]): Promise<Begun> {
  const begin = async (): Promise<Begun | null> => {
    const [locked, read] = await sendTogether(trx, [
      lockStatement(trx, metadata, { scope }),
      knownStatement(trx, metadata, { scope, user: userId, device: deviceId, wanted: wantedRows(keys) })
    ])
    const stream = toStream(locked.rows[0])
    const [{ source_no: no, max_change_id: maxChangeId }] = read.rows as [KnownRow]
    return stream === null
      ? null
      : { stream, source: no === null ? null : { no, maxChangeId: Number(maxChangeId) }, states: toStates(read.rows.filter(row => row.pk !== null) as StateRow[]) }
  }
  const begun = await begin()
  if (begun !== null) return begun
  await ensureStream(trx, scope)
  return await begin() as Begun
}

type KnownRow = { source_no: number | null, max_change_id: string | null } & (StateRow | Record<keyof StateRow, null>)

/** Asks for the scope by its name, since its id is not known before the lock is answered. Always has a row. */
const knownStatement = once<KnownRow, { scope: string, user: string, device: string, wanted: string }>(metadata => sql`
    select so.source_no, so.max_change_id::text, state.*
    from (select (select sc.scope_id from ${metadata.table('scope')} sc where sc.name = ${'scope'}) as scope_id) one
    left join ${metadata.table('source')} so on so.scope_id = one.scope_id and so.user_id = ${'user'} and so.source_id = ${'device'}
    left join lateral ${statesOf(metadata, sql`one.scope_id`, 'wanted')} on true`)
