import { membersOf, objectText } from '../http/json-text.js'
import { broken, type UploadReply, type Verdict } from '../http/read-reply.js'
import { afterTakingOver, settleUndecided } from './apply.js'
import { applyTransaction, type ApplyContext, type ApplyHost } from './apply-context.js'
import { encodeRow } from './cell.js'
import { fetchAgain, writeState, type ClientState } from './client-state.js'
import { hold } from './held.js'
import { readLocal } from './local-row.js'
import { isDropped } from './dropped.js'
import { readEntries, readHeads, recordLost, type OutboxEntry, type OutboxHead } from './outbox.js'
import { setPending, setPendingAgain } from './pending.js'
import { beginRebuild } from './rebuild.js'
import { referredRow, refersToKey } from './references.js'
import { forgetRowState, readRowState, writeRowState, writeRowStates, type RowState } from './row-state.js'
import { adoptAbsence, mergeServerState } from './server-row.js'
import type { TableInfo } from './table-info.js'

export interface Judged {
  applied: number
  conflicts: number
  held: number
  /** Another file has used ids of this one's source: this file is a copy, and takes a source id of its own. */
  reusedIds: boolean
}

/**
 * Acts on the verdicts over the first changes of the outbox, all of them in one transaction together with taking them out. A reply that
 * does not fit the batch changes nothing. null where the outbox no longer holds this batch: another process was faster.
 */
export function judge (host: ApplyHost, ids: readonly number[], reply: UploadReply): Judged | null {
  assertFits(ids, reply.verdicts)
  const judged = applyTransaction<Judged | null>(host, (context, state) => {
    if (state.sourceId !== reply.sourceId) return null // numbered anew meanwhile: ids alone say nothing
    const heads = readHeads(context.driver, ids.length)
    if (heads.length !== ids.length || heads.some((head, i) => head.id !== ids[i])) return null
    const asSent: Array<{ head: OutboxHead, version: number }> = []
    const otherIds: number[] = []
    heads.forEach((head, i) => {
      const version = head.isPlain ? plainVersion(reply.verdicts[i] as Verdict) : null
      if (version === null) otherIds.push(head.id)
      else asSent.push({ head, version })
    })
    const others = readEntries(context.driver, otherIds)
    // Bound as text: a bound number would be a REAL.
    context.driver.run('delete from _sync_outbox where source_change_id <= cast(? as integer)', [String(ids.at(-1))])
    const judged: Judged = { applied: asSent.length, conflicts: 0, held: 0, reusedIds: false }
    appliedAsSent(context, asSent)
    const verdicts = new Map(reply.verdicts.map(verdict => [verdict.id, verdict]))
    for (const entry of others) judgeOne(context, entry, verdicts.get(entry.id) as Verdict, judged)
    afterTakingOver(context)
    if (!knowsUsedIds(context, state, reply)) judged.reusedIds = true
    if (judged.reusedIds) beginRebuild(context.driver, 'copy', reply.epoch)
    return judged
  })
  settleUndecided(host)
  return judged
}

/**
 * Takes note of the ids that the server has used for this file: those that it knew before, and what it has applied of the
 * batch. An id up to the batch's last that it has used besides is another copy's, whose change this file would never see. (What
 * it has beyond that is of a batch that is still in the outbox, or of another copy too: the next handshake tells.)
 */
function knowsUsedIds ({ driver }: ApplyContext, { ackedNext }: ClientState, { verdicts, nextChangeId }: UploadReply): boolean {
  const applied = verdicts.findLast(({ status }) => status === 'applied')
  const known = Math.max(ackedNext, (applied?.id ?? 0) + 1)
  writeState(driver, { acked_next: known })
  return nextChangeId <= known || nextChangeId > (verdicts.at(-1) as Verdict).id + 1
}

function assertFits (ids: readonly number[], verdicts: readonly Verdict[]): void {
  if (verdicts.length !== ids.length) throw broken(`${verdicts.length} statuses for ${ids.length} changes`)
  verdicts.forEach((verdict, i) => {
    if (verdict.id !== ids[i]) throw broken(`status ${i + 1} is about change ${verdict.id} instead of ${ids[i]}`)
  })
}

function judgeOne (context: ApplyContext, entry: OutboxEntry, verdict: Verdict, judged: Judged): void {
  if ('row' in verdict && verdict.row !== null && (verdict.row.table !== entry.table || verdict.row.key !== entry.key)) {
    throw broken(`change ${entry.id} is about ${entry.table}:${entry.key}, its server_row about ${verdict.row.table}:${verdict.row.key}`)
  }
  if (entry.isOrphan) return orphaned(context, entry, verdict, judged)
  // What the server did not take as it was sent is merged or sent again in the table's new shape.
  if (verdict.status !== 'applied') recordLost(context.driver, entry, verdict.status === 'conflict' ? verdict.row.payload : null)
  switch (verdict.status) {
    case 'applied':
      judged.applied++
      return applied(context, entry, verdict)
    case 'conflict':
      judged.conflicts++
      return conflict(context, entry, verdict, judged)
    case 'invalid':
      if (verdict.reason === 'source_change_id_reused') {
        judged.reusedIds = true
        return backToPending(context, entry)
      }
      // An earlier delivery, whose reply was lost, did not apply it; it gets a new id.
      if (verdict.reason === 'source_change_id_passed') return backToPending(context, entry)
      return invalid(context, entry, verdict, judged)
  }
}

/** The version of a row that is on the server as it was sent; null for every other verdict. */
export function plainVersion (verdict: Verdict): number | null {
  return verdict.status === 'applied' && verdict.row === null ? verdict.version : null
}

/** What `applied` does for rows that nobody has edited since, all at once. */
function appliedAsSent ({ driver, counts, stamp }: ApplyContext, changes: ReadonlyArray<{ head: OutboxHead, version: number }>): void {
  const byTable = new Map<string, Array<{ key: string, state: RowState }>>()
  for (const { head: { table, key, isDeletion, extra, jsonColumns }, version } of changes) {
    let rows = byTable.get(table)
    if (rows === undefined) byTable.set(table, rows = [])
    rows.push({ key, state: { version, deleted: isDeletion, extra: isDeletion ? null : extra, jsonColumns: isDeletion ? [] : jsonColumns } })
  }
  for (const [table, rows] of byTable) writeRowStates(driver, table, rows, stamp)
  counts.applied += changes.length
}

/** The table was dropped and made again since: no row here is the one that was sent. What the server has is fetched once more. */
function orphaned ({ driver }: ApplyContext, entry: OutboxEntry, verdict: Verdict, judged: Judged): void {
  if (verdict.status === 'applied') judged.applied++
  else recordLost(driver, entry)
  forgetRowState(driver, entry.table, entry.key)
  fetchAgain(driver)
}

/** What was sent is the server's row now. An edit made since began from it: its image, written by the trigger, is the row as sent. */
function applied (context: ApplyContext, entry: OutboxEntry, verdict: Verdict & { status: 'applied' }): void {
  const { driver, stamp } = context
  if (verdict.version === null && entry.sent !== null) throw broken(`change ${entry.id} was applied, but no version is named`)
  const known = readRowState(driver, entry.table, entry.key)
  if (verdict.version === null) forgetRowState(driver, entry.table, entry.key)
  else {
    const isDeleted = entry.sent === null
    writeRowState(driver, entry.table, entry.key, {
      version: verdict.version,
      deleted: isDeleted,
      extra: isDeleted ? null : extraAsSent(entry, known?.extra ?? null),
      jsonColumns: isDeleted ? [] : known?.jsonColumns ?? []
    }, stamp)
  }
  context.counts.applied++
  if (isEditedSince(context, entry)) driver.run('update _sync_pending set image = ? where tbl = ? and key = ?', [entry.sent === null ? null : encodeRow(entry.sent), entry.table, entry.key])
  const table = context.tables.get(entry.table)
  if (verdict.row === null || table === undefined || verdict.row.version === 0) return
  // The server's row is another one than was sent: a peer has changed it since, or the database completed it.
  const isMade = verdict.row.version === verdict.version && entry.sent !== null
  if (!mergeServerState(context, table, entry.key, entry.sent, verdict.row, isMade ? [] : undefined, isMade)) keepBase(context, entry, entry.sent)
}

/** Columns that a migration has dropped since, as the server has them now. */
function extraAsSent ({ dropped, payload }: OutboxEntry, extra: string | null): string | null {
  if (dropped === null || payload === null) return extra
  const members = new Map(extra === null ? [] : membersOf(extra))
  const sent = membersOf(payload)
  for (const name of dropped.keys()) members.set(name, sent.get(name) ?? 'null')
  return objectText(members)
}

function conflict (context: ApplyContext, entry: OutboxEntry, verdict: Verdict & { status: 'conflict' }, judged: Judged): void {
  const table = context.tables.get(entry.table)
  if (table === undefined) return backToPending(context, entry)
  if (verdict.row.version === 0) return adoptAbsence(context, table, entry.key)
  if (verdict.row.version < entry.baseVersion) {
    // A rebuild did not explain it. The server's older row must not replace a newer one without a word.
    return invalid(context, entry, {
      status: 'invalid',
      id: entry.id,
      reason: 'version_ahead',
      message: `The device knows version ${entry.baseVersion} of the row, the server only ${verdict.row.version}.`,
      details: null
    }, judged)
  }
  // Made here and deleted while it was on its way: what was deleted is the row as sent.
  const base = entry.image === null && readLocal(context, table, entry.key) === null ? entry.sent : entry.image
  if (!mergeServerState(context, table, entry.key, base, verdict.row, [entry.sent, entry.sentBefore])) keepBase(context, entry, base)
}

/** Refused. A newer edit takes over the image and is tried instead; otherwise the row is held. */
function invalid (context: ApplyContext, entry: OutboxEntry, verdict: Verdict & { status: 'invalid' }, judged: Judged): void {
  if (isEditedSince(context, entry)) return backToPending(context, entry)
  judged.held++
  hold(context.driver, {
    table: entry.table,
    key: entry.key,
    image: entry.imageText,
    reason: verdict.reason,
    message: verdict.message,
    details: verdict.details,
    missing: verdict.reason === 'fk_missing' ? missingParents(context, entry, verdict.details) : null,
    attempts: entry.attempts
  }, context.stamp)
}

function backToPending (context: ApplyContext, entry: OutboxEntry): void {
  if (isDropped(context.driver, entry.table)) return // on record
  setPendingAgain(context.driver, entry.table, entry.key, entry.image, entry.sent)
}

/** The merge could not be written; the server's row waits in shadow, and the local change keeps its base. */
function keepBase (context: ApplyContext, entry: OutboxEntry, image: OutboxEntry['image']): void {
  setPending(context.driver, entry.table, entry.key, image)
}

function isEditedSince (context: ApplyContext, entry: OutboxEntry): boolean {
  return context.driver.all('select 1 from _sync_pending where tbl = ? and key = ?', [entry.table, entry.key]).length > 0
}

/**
 * The parents that were missing: as the server names them ("schema.table:key"), or else all that the row refers to. A parent
 * that is referred to by another unique value than its key can be any row of its table: null.
 */
function missingParents (context: ApplyContext, entry: OutboxEntry, details: Record<string, unknown> | null): Array<[string, string | null]> {
  const { driver, tables } = context
  const foreignKeys = tables.get(entry.table)?.foreignKeys ?? []
  const byKey = new Set(foreignKeys.filter(key => refersToKey(tables.get(key.parent) as TableInfo, key)).map(({ parent }) => parent))
  const byUnique = new Set(foreignKeys.filter(({ parent }) => !byKey.has(parent)).map(({ parent }) => parent))
  const named = Array.isArray(details?.['missing']) ? details['missing'] : []
  const missing: Array<[string, string | null]> = []
  for (const name of named) {
    const parts = typeof name === 'string' ? /^(?:[^.:]*\.)?([^.:]+):(.*)$/s.exec(name) : null
    if (parts !== null) missing.push([parts[1] as string, byUnique.has(parts[1] as string) ? null : parts[2] as string])
  }
  if (missing.length > 0) return missing
  for (const foreignKey of foreignKeys) {
    if (byUnique.has(foreignKey.parent)) missing.push([foreignKey.parent, null])
    const parent = entry.sent === null || byUnique.has(foreignKey.parent) ? null : referredRow(driver, tables, foreignKey, entry.sent)
    if (parent !== null) missing.push([parent.table.name, parent.key])
  }
  return missing
}
