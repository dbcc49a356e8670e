import type { InvalidReason } from '../contract/change-status.js'
import type { TableSpec } from '../materializer/table-spec.js'
import type { Spend } from '../storage/change-log.js'
import type { Decision, FinalRow, Judgement } from './decide.js'
import { withoutMembers } from './json-text.js'
import type { PreparedChange } from './prepare.js'

export interface UploadCounts {
  applied: number
  replayed: number
  conflict: number
  invalid: number
  /** The invalid ones by reason; reasons that did not occur are left out. */
  reasons: Partial<Record<InvalidReason, number>>
}

export interface UploadResult {
  /** An UploadResponse as JSON text: payloads in it keep their exact digits. */
  json: string
  counts: UploadCounts
}

export interface StatusParts {
  judgement: Judgement
  /** Payloads of rows that the batch did not write, by position. */
  payloads: ReadonlyMap<number, string | null>
  spend: Spend
  nextSourceChangeId: number
}

/** All of a reply but what the stream is once the batch is stored. */
export interface Statuses {
  /** JSON texts, in request order, with commas between: one text is less to keep while the database works than many. */
  text: string
  accepted: boolean
  counts: UploadCounts
  nextSourceChangeId: number
}

/** The stream as the batch leaves it, and the device. */
export interface ReplyFields { head: number, epoch: string, sourceId: string }

/** Built by hand around the payloads, which must not pass through JavaScript's numbers. Throws where the reply would be too large: before anything is stored. */
export function statusesOf ({ judgement, payloads, spend, nextSourceChangeId }: StatusParts): Statuses {
  const counts: UploadCounts = { applied: 0, replayed: 0, conflict: 0, invalid: 0, reasons: {} }
  let accepted = true
  const texts = judgement.decisions.map(decision => {
    if (decision.verdict === 'write') counts.applied++
    else if (decision.verdict === 'nothing') counts[decision.replay ? 'replayed' : 'applied']++
    else counts[decision.verdict]++
    if (decision.verdict === 'invalid') {
      const { reason } = decision.refusal
      counts.reasons[reason] = (counts.reasons[reason] ?? 0) + 1
      if (reason === 'unregistered_table' || reason === 'batch_too_large') accepted = false
    }
    return statusText(decision, judgement, payloads, spend, nextSourceChangeId)
  })
  return { text: texts.join(','), accepted, counts, nextSourceChangeId }
}

export function uploadReply ({ text, accepted, counts, nextSourceChangeId }: Statuses, fields: ReplyFields): UploadResult {
  const json = `{"accepted":${accepted},"highest_server_seq":${fields.head},"statuses":[${text}],` +
    `"epoch":${JSON.stringify(fields.epoch)},"source_id":${JSON.stringify(fields.sourceId)},"next_source_change_id":${nextSourceChangeId}}`
  return { json, counts }
}

function statusText (decision: Decision, { rows }: Judgement, payloads: ReadonlyMap<number, string | null>, spend: Spend, nextSourceChangeId: number): string {
  switch (decision.verdict) {
    case 'write': {
      const { change, version } = decision.write
      return applied(change, version, change.completed || decision.write.stored.carried > 0 || decision.write.stored.digest !== null ? rows.get(change.row) : undefined, payloads, spend)
    }
    case 'nothing': {
      const { change, version, replay, completed } = decision
      const row = rows.get(change.row)
      const differs = replay && row !== undefined && (row.version !== version || completed || isAltered(row))
      return applied(change, version, differs ? row : undefined, payloads, spend)
    }
    case 'conflict': {
      const { change } = decision
      return `{"source_change_id":${change.sourceChangeId},"status":"conflict","server_row":${rowText(change.table, change.pk, rows.get(change.row), payloads, spend)}}`
    }
    case 'invalid': {
      const { reason, message } = decision.refusal
      const details = reason === 'source_change_id_reused' ? { next_source_change_id: nextSourceChangeId } : decision.refusal.details
      const id = 'unreadable' in decision.change ? decision.change.idText : String(decision.change.sourceChangeId)
      const invalid = details === undefined ? { reason } : { reason, details }
      return `{"source_change_id":${id},"status":"invalid","message":${JSON.stringify(message)},"invalid":${JSON.stringify(invalid)}}`
    }
  }
}

/** The server made another row of it in this very batch. */
function isAltered ({ write }: FinalRow): boolean {
  return write !== null && (write.stored.digest !== null || write.stored.carried > 0)
}

function applied (change: PreparedChange, version: number | null, row: FinalRow | undefined, payloads: ReadonlyMap<number, string | null>, spend: Spend): string {
  return `{"source_change_id":${change.sourceChangeId},"status":"applied"` +
    (version === null ? '' : `,"new_server_version":${version}`) +
    (row === undefined ? '' : `,"server_row":${rowText(change.table, change.pk, row, payloads, spend)}`) + '}'
}

/** A row as the batch leaves it; version 0 and deleted where the stream has never had it. */
function rowText (table: TableSpec, pk: string, row: FinalRow | undefined, payloads: ReadonlyMap<number, string | null>, spend: Spend): string {
  const deleted = row?.deleted ?? true
  const payload = row === undefined || deleted ? null : row.write !== null ? row.write.stored.text : payloads.get(row.serverId)
  if (!deleted && (payload === null || payload === undefined)) throw new Error(`The latest payload of a row of ${table.name} is not in the log at its position ${row?.serverId ?? 0}.`)
  // Shown once for each change that asks, however small that was.
  spend(payload?.length ?? 0)
  return `{"schema_name":"${table.schema}","table_name":"${table.table}","id":${JSON.stringify(pk)},` +
    `"server_version":${row?.version ?? 0},"deleted":${deleted},"payload":${typeof payload === 'string' ? withoutMembers(payload, table.excluded) : 'null'}}`
}
