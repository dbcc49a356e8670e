import type { Transaction } from 'kysely'
import type { AffectedRow } from '../materializer/delete-effects.js'
import { findAltered } from '../materializer/altered-rows.js'
import type { TableSpec } from '../materializer/table-spec.js'
import { readPayloads, type NewEntry, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import type { RowState } from '../storage/row-state.js'
import { SERVER_SOURCE_NO } from '../storage/source.js'
import type { FinalRow, Judgement } from './decide.js'
import { editObject, membersOf, overlayObject } from './json-text.js'
import { shapeOf } from './payload-shape.js'

/** A change that the server makes itself, since the database did. */
export interface ServerChange {
  table: TableSpec
  pk: string
  final: FinalRow
  op: 'UPDATE' | 'DELETE'
  payload: string | null
  shape: number
}

/** The columns of a table that a payload has, sorted. */
export function columnsOf (table: TableSpec, payload: string): string[] {
  return membersOf(payload).map(({ key }) => key).filter(name => table.columns.has(name)).sort()
}

/**
 * What the database did beside the batch's changes becomes the server's own: what a deletion took along is deleted in the
 * stream too, and a row whose reference was set to null or to its default gets that, as a new version. Brings
 * `judgement.rows` up to date.
 */
export async function followDeletions (trx: Transaction<Database>, metadata: Metadata, scopeId: number, judgement: Judgement, affected: AffectedRow[], states: ReadonlyMap<string, RowState>, spend: Spend): Promise<ServerChange[]> {
  const changes: ServerChange[] = []
  const altered: Array<{ affected: AffectedRow, before: FinalRow }> = []
  for (const row of oncePerRow(affected)) {
    const state = states.get(row.row)
    const before: FinalRow | undefined = judgement.rows.get(row.row) ?? (state === undefined ? undefined : { ...state, write: null })
    if (before === undefined || before.deleted) continue
    if (row.effect === 'alter') altered.push({ affected: row, before })
    else changes.push(change(row, { version: before.version + 1, deleted: true, write: null, serverId: 0 }, null))
  }
  if (altered.length > 0) {
    const payloads = await readPayloads(trx, metadata, scopeId, altered.filter(({ before }) => before.write === null).map(({ before }) => before.serverId), spend)
    const current = new Map(altered.map(({ affected, before }) => [affected.row, before.write?.stored.text ?? payloads.get(before.serverId) ?? '{}']))
    const rows = altered.map(({ affected: { row, table, pk } }) => ({ row, table, pk, payload: current.get(row) as string, columns: columnsOf(table, current.get(row) as string), isRead: false }))
    const byRow = new Map(altered.map(entry => [entry.affected.row, entry]))
    for (const { row, members } of await findAltered(trx, rows)) {
      const { affected, before } = byRow.get(row) as typeof altered[0]
      const own = ownMembers(affected, `{${members}}`)
      if (own === '{}') continue
      const payload = overlayObject(current.get(row) as string, own)
      changes.push(change(affected, { version: before.version + 1, deleted: false, write: null, serverId: 0 }, payload))
    }
  }
  return changes

  function change ({ row, table, pk }: AffectedRow, final: FinalRow, payload: string | null): ServerChange {
    judgement.rows.set(row, final)
    return { table, pk, final, payload, op: payload === null ? 'DELETE' : 'UPDATE', shape: payload === null ? 0 : shapeOf(membersOf(payload).map(({ key }) => key)) }
  }
}

/** Several foreign keys may have altered one row. */
function oncePerRow (affected: AffectedRow[]): Iterable<AffectedRow> {
  const rows = new Map<string, AffectedRow>()
  for (const row of affected) {
    const other = rows.get(row.row)
    rows.set(row.row, other === undefined ? row : { ...row, columns: [...other.columns, ...row.columns] })
  }
  return rows.values()
}

/** Where a table records failures, it may be behind the stream: only what the foreign key did is news from there. */
function ownMembers ({ table, columns }: AffectedRow, members: string): string {
  if (!table.recordsFailures || columns.length === 0) return members
  const found = membersOf(members)
  return editObject(members, found, new Map(), new Set(found.flatMap(({ key }, i) => columns.includes(key) ? [] : [i])))
}

/** The log entry of a server's change at its position, which is also its number. */
export function toEntry ({ table, pk, final, op, payload, shape }: ServerChange, serverId: number): NewEntry {
  return { serverId, sourceChangeId: serverId, tableId: table.id, op, pk, version: final.version, payload, shape, carried: 0, digest: null, first: false, last: true, isNew: false, sourceNo: SERVER_SOURCE_NO }
}
