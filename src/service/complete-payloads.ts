import type { Transaction } from 'kysely'
import { readPayloads, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import { MAX_PAYLOAD_KEYS } from '../limits.js'
import type { Judgement, Known, StoredPayload, Write } from './decide.js'
import { membersOf } from './json-text.js'
import { shapeOf } from './payload-shape.js'
import type { Refusal } from './prepare.js'

/**
 * An update may leave columns out, and they keep their values: an older version of the app does not know the newest column.
 * The log must say so, since a device that starts later, or that is told of a conflict, sees the row's latest payload alone.
 * Adds the members that are missing, with the values the row had. Rows whose keys are those it had before cost nothing;
 * the others are read in one statement.
 *
 * Returns the changes whose row would become larger than a payload may be, by index: a row that grows by a key with each
 * update must end somewhere.
 */
export async function completePayloads (trx: Transaction<Database>, metadata: Metadata, scopeId: number, { writes }: Judgement, known: Known, maxPayloadBytes: number, spend: Spend): Promise<Map<number, Refusal>> {
  const overgrown = new Map<number, Refusal>()
  const first = new Map<string, Write>()
  for (const write of writes) if (!first.has(write.change.row)) first.set(write.change.row, write)
  const differing = rowsWithOtherKeys(writes, known)
  if (differing.size === 0) return overgrown

  const positions = new Map<string, number>()
  for (const row of differing) if (first.get(row)?.hadLiveRow === true) positions.set(row, known.rows.get(row)?.serverId as number)
  const payloads = await readPayloads(trx, metadata, scopeId, [...positions.values()], spend)
  const current = new Map<string, string | null>()
  for (const [row, position] of positions) current.set(row, payloads.get(position) ?? null)
  for (const write of writes) {
    const { row } = write.change
    if (!differing.has(row)) continue
    const before = current.get(row)
    if (isUpdate(write) && before !== null && before !== undefined) {
      const keys = complete(write.stored, before, write.change.table.excluded, spend)
      if (write.stored.carried > 0 && (keys > MAX_PAYLOAD_KEYS || Buffer.byteLength(write.stored.text as string) > maxPayloadBytes)) {
        overgrown.set(write.change.index, { reason: 'bad_payload', message: `With what it had before, the row has more than ${maxPayloadBytes} bytes or ${MAX_PAYLOAD_KEYS} keys.` })
      }
    }
    current.set(row, write.stored.text)
  }
  return overgrown
}

/** Rows of which an update has other keys than they had. */
export function rowsWithOtherKeys (writes: Write[], known: Pick<Known, 'rows'>): Set<string> {
  const differing = new Set<string>()
  const shapes = new Map<string, number>()
  for (const write of writes) {
    const { row } = write.change
    const before = shapes.get(row) ?? known.rows.get(row)?.shape
    if (isUpdate(write) && before !== write.stored.shape) differing.add(row)
    shapes.set(row, write.stored.shape)
  }
  return differing
}

function isUpdate ({ change, hadLiveRow }: Write): boolean {
  return hadLiveRow && change.op !== 'DELETE'
}

/** Adds what is missing; returns the number of keys. */
function complete (stored: StoredPayload, before: string, excluded: ReadonlySet<string>, spend: Spend): number {
  const text = stored.text as string
  const keys = new Set(membersOf(text).map(({ key }) => key))
  const missing = membersOf(before).filter(({ key }) => !keys.has(key) && !excluded.has(key)).map(({ key, start, end }) => ({ key, value: before.slice(start, end) }))
  if (missing.length === 0) return keys.size
  // Each change of a row carries the whole row: many of them in one batch add up.
  spend(missing.reduce((sum, { key, value }) => sum + key.length + value.length + 4, text.length))
  const added = missing.map(({ key, value }) => `${JSON.stringify(key)}:${value}`).join(',')
  stored.text = `${text.slice(0, text.lastIndexOf('}')).trimEnd()}${keys.size === 0 ? '' : ','}${added}}`
  stored.carried = missing.length
  stored.shape = shapeOf([...keys, ...missing.map(({ key }) => key)])
  return keys.size + missing.length
}
