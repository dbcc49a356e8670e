import type { LedgerEntry } from '../storage/change-log.js'
import { rowKey, type RowState } from '../storage/row-state.js'
import { canonical, withoutLast } from './json-text.js'
import type { PreparedChange, Refusal, UnreadableChange } from './prepare.js'

/** What the stream held before the batch, read under its lock. */
export interface Known {
  /** States of the rows that the batch changes or refers to, by row. */
  rows: ReadonlyMap<string, RowState>
  /** Entries of this source under the numbers that the batch uses. */
  ledger: ReadonlyMap<number, LedgerEntry>
  /** A client of the original generation, which sends no epoch: a few verdicts have a form that it understands. */
  olderClient: boolean
}

/** A payload on its way into the log. */
export interface StoredPayload {
  /** Null for a deletion. */
  text: string | null
  /** Hash of its keys; 0 for a deletion. */
  shape: number
  /** Members at its end that were not sent. */
  carried: number
}

/** A change that enters the stream. */
export interface Write {
  change: PreparedChange
  /** The version it makes. */
  version: number
  /** The row was live just before: the business table has it. */
  hadLiveRow: boolean
  /** An older client used the number of an earlier change again, which loses it. */
  takesNumber: boolean
  /** What is stored: the payload as sent until `completePayloads` has added what an update left out. */
  stored: StoredPayload
}

export type Decision =
  | { verdict: 'write', write: Write }
  /** Nothing to write: a replay, or a deletion of what is not there. `version` null: the row never was. */
  | { verdict: 'nothing', change: PreparedChange, version: number | null, replay: boolean, completed: boolean }
  | { verdict: 'conflict', change: PreparedChange }
  | { verdict: 'invalid', change: PreparedChange | UnreadableChange, refusal: Refusal }

/** A row as the batch leaves it. */
export interface FinalRow {
  version: number
  deleted: boolean
  /** The write that made it so; null where the batch did not change the row. */
  write: Write | null
  /** Position of the latest change before the batch. */
  serverId: number
}

export interface Judgement {
  /** One a change, in request order. */
  decisions: Decision[]
  writes: Write[]
  rows: Map<string, FinalRow>
}

/**
 * The rules of judging, all of them and nowhere else. Pure: the verdicts follow from the batch, from what the stream held
 * and from what has been refused so far, in request order, each change on the result of the one before.
 *
 * `refused` holds what the database, or a missing parent, refused in an earlier round; parents that turn out to be
 * missing are added to it, until nothing more is missing.
 */
export function decide (changes: Array<PreparedChange | UnreadableChange>, known: Known, refused: Map<number, Refusal>): Judgement {
  for (;;) {
    const judgement = judge(changes, known, refused)
    const missing = findMissingParents(judgement, known)
    if (missing.size === 0) return judgement
    for (const [index, refusal] of missing) refused.set(index, refusal)
  }
}

function judge (changes: Array<PreparedChange | UnreadableChange>, known: Known, refused: ReadonlyMap<number, Refusal>): Judgement {
  const rows = new Map<string, FinalRow>()
  for (const [row, { version, deleted, serverId }] of known.rows) rows.set(row, { version, deleted, serverId, write: null })
  const ledger = new Map(known.ledger)
  const spoiled = new Set<string>()
  const writes: Write[] = []

  const decisions = changes.map((change): Decision => {
    const decision = judgeOne(change)
    if (decision.verdict === 'conflict') spoiled.add(decision.change.row)
    if (decision.verdict === 'invalid' && change.row !== null) spoiled.add(change.row)
    if (decision.verdict === 'write') record(decision.write)
    return decision
  })
  return { decisions, writes, rows }

  function judgeOne (change: PreparedChange | UnreadableChange): Decision {
    if ('unreadable' in change) return { verdict: 'invalid', change, refusal: change.unreadable }
    const earlier = ledger.get(change.sourceChangeId)
    if (earlier !== undefined) {
      if (isSameContent(change, earlier)) return { verdict: 'nothing', change, version: earlier.version, replay: true, completed: change.completed || earlier.carried > 0 }
      if (!known.olderClient) return { verdict: 'invalid', change, refusal: REUSED }
    }
    const refusal = change.refusal ?? (spoiled.has(change.row) ? null : refused.get(change.index))
    if (refusal !== null && refusal !== undefined) return { verdict: 'invalid', change, refusal }
    if (spoiled.has(change.row)) return conflict(change)
    return judgeVersion(change, earlier !== undefined)
  }

  function judgeVersion (change: PreparedChange, takesNumber: boolean): Decision {
    const row = rows.get(change.row)
    if (change.op === 'DELETE') {
      if (row === undefined) return { verdict: 'nothing', change, version: null, replay: false, completed: false }
      if (row.deleted) return { verdict: 'nothing', change, version: row.version, replay: false, completed: false }
    }
    const version = row?.version ?? 0
    if (change.base !== version) return conflict(change)
    return { verdict: 'write', write: { change, version: version + 1, hadLiveRow: row !== undefined && !row.deleted, takesNumber, stored: { text: change.payload, shape: change.shape, carried: 0 } } }
  }

  function conflict (change: PreparedChange): Decision {
    // Clients of the original generation cannot read a conflict over a row that never was; they keep and retry an internal_error.
    if (known.olderClient && !rows.has(change.row)) {
      return { verdict: 'invalid', change, refusal: { reason: 'internal_error', message: 'The server has no such row; send it with server_version 0.' } }
    }
    return { verdict: 'conflict', change }
  }

  function record (write: Write): void {
    const { change, version } = write
    const deleted = change.op === 'DELETE'
    writes.push(write)
    rows.set(change.row, { version, deleted, write, serverId: 0 })
    ledger.set(change.sourceChangeId, { tableId: change.table.id, pk: change.pk, deletes: deleted, version, serverId: 0, payload: change.payload, carried: 0 })
  }
}

/** Same table, key and kind, and a payload that means the same. Base and INSERT against UPDATE do not count. */
function isSameContent (change: PreparedChange, entry: LedgerEntry): boolean {
  if (change.row !== rowKey(entry.tableId, entry.pk) || (change.op === 'DELETE') !== entry.deletes) return false
  if (change.payload === null || entry.payload === null) return change.payload === entry.payload
  const sent = entry.carried === 0 ? entry.payload : withoutLast(entry.payload, entry.carried)
  return change.payload === sent || canonical(change.payload) === canonical(sent)
}

/** The next free number is only known when the whole batch is judged; the reply adds it. */
const REUSED: Refusal = { reason: 'source_change_id_reused', message: 'This source has already used this source_change_id for another change.' }

/**
 * Writes whose foreign keys point at rows that are not live in the scope once the batch is through. Parents and children
 * of one batch may come in any order; a refused parent takes its children with it.
 */
function findMissingParents ({ writes, rows }: Judgement, known: Known): Map<number, Refusal> {
  const live = new Map<string, boolean>()
  const isLive = (row: string): boolean => {
    const cached = live.get(row)
    if (cached !== undefined) return cached
    const final = rows.get(row)
    return final !== undefined && !final.deleted
  }
  const dependents = new Map<string, Write[]>()
  const queue: Write[] = []
  for (const write of writes) {
    for (const { row } of write.change.parents) {
      const list = dependents.get(row)
      if (list === undefined) dependents.set(row, [write])
      else list.push(write)
    }
    if (write.change.parents.length > 0) queue.push(write)
  }
  const missing = new Map<number, Refusal>()
  for (let write = queue.pop(); write !== undefined; write = queue.pop()) {
    const { change } = write
    if (missing.has(change.index)) continue
    const isFinal = rows.get(change.row)?.write === write
    const absent = change.parents.filter(parent => parent.row !== change.row && !(isFinal ? isLive(parent.row) : wasEverLive(parent.row)))
    if (absent.length === 0) continue
    missing.set(change.index, {
      reason: 'fk_missing',
      message: `The row refers to ${absent.map(({ name }) => name).join(', ')}, which ${absent.length === 1 ? 'is' : 'are'} not there.`,
      details: { missing: absent.map(({ name }) => name) }
    })
    // Without this write, and those after it on its row, the row stays as it was before.
    if (isLive(change.row) && !write.hadLiveRow) {
      live.set(change.row, false)
      queue.push(...dependents.get(change.row) ?? [])
    }
  }
  return missing

  /** For a write that a later one of the batch replaces: its parent was there when it counted. */
  function wasEverLive (row: string): boolean {
    const before = known.rows.get(row)
    return (before !== undefined && !before.deleted) || (rows.get(row)?.write !== null && rows.has(row))
  }
}
