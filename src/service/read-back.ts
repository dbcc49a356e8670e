import type { Transaction } from 'kysely'
import { findAltered } from '../materializer/altered-rows.js'
import type { Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Judgement, Write } from './decide.js'
import { canonical, membersOf, overlayObject } from './json-text.js'
import { digestOf } from './payload-digest.js'
import { shapeOf } from './payload-shape.js'
import type { PreparedChange } from './prepare.js'
import { columnsOf } from './server-changes.js'
import type { Settled } from './settle.js'

/**
 * Where the database may have stored another row than it was given (triggers, generated columns, defaults of columns that
 * the payload left out), the row is read back, and what is different replaces what was sent, as the same version: devices
 * hold what the business table holds. Of several versions of a row in one batch this is the last.
 */
export async function readBack (trx: Transaction<Database>, { writes, rows }: Judgement, { failures, defaulted }: Pick<Settled, 'failures' | 'defaulted'>, spend: Spend): Promise<void> {
  const candidates = writes.filter(write => rows.get(write.change.row)?.write === write && !failures.has(write.change.index) && mayDiffer(write.change, defaulted))
  if (candidates.length === 0) return
  const byRow = new Map(candidates.map(write => [write.change.row, write]))
  const altered = await findAltered(trx, candidates.map(({ change: { row, table, pk, columns }, stored }) => {
    const payload = stored.text as string
    const isCarried = stored.carried > 0
    return { row, table, pk, payload, columns: isCarried ? columnsOf(table, payload) : columns, isRead: !isCarried && table.materializer === null }
  }))
  for (const { row, members } of altered) {
    const { change, stored } = byRow.get(row) as Write
    const text = overlayObject(stored.text as string, `{${members}}`)
    spend(text.length)
    stored.digest = digestOf(canonical(change.payload as string))
    stored.text = text
    stored.shape = shapeOf(membersOf(text).map(({ key }) => key))
  }
}

/** The database may have made another row of a change, of which `defaulted` says whether it left out a column that has a default. */
export function mayDiffer ({ table, op, row }: PreparedChange, defaulted: ReadonlySet<string>): boolean {
  return op !== 'DELETE' && table.materialize && (table.mayAlter || defaulted.has(row))
}
