import type { LedgerEntry } from '../storage/change-log.js'
import { rowKey, type RowState } from '../storage/row-state.js'
import { canonical, withoutLast, withoutMembers } from './json-text.js'
import { digestOf } from './payload-digest.js'
import type { PreparedChange, Refusal, UnreadableChange } from './prepare.js'

/** What the stream held before the batch, read under its lock. */
export interface Known {
  /** States of the rows that the batch changes or refers to, by row. */
  rows: ReadonlyMap<string, RowState>
  /** Entries of this source under the numbers that the batch uses. */
  ledger: ReadonlyMap<number, LedgerEntry>
  /** A client of the original generation, which sends no epoch: a few verdicts have a form that it understands. */
  olderClient: boolean
  /** For a device that wants its numbers to go up only; null for one that did not say so. */
  numbers: {
    /** The highest number that its source had used before the batch. */
    highest: number
    /** Another copy of the device has used a number that this one must know, and does not. */
    hasGap: boolean
  } | null
}

/** A payload on its way into the log. */
export interface StoredPayload {
  /** Null for a deletion. */
  text: string | null
  /** Hash of its keys; 0 for a deletion. */
  shape: number
  /** Members at its end that were not sent. */
  carried: number
  /** Digest of what was sent, where the database made another row of it; else null. */
  digest: string | null
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
 * `refusedBefore` holds what the database refused in an earlier round. Changes whose parents turn out to be missing are
 * refused here, each time anew: what took the parent away may itself be refused in the next round.
 */
export function decide (changes: Array<PreparedChange | UnreadableChange>, known: Known, refusedBefore: ReadonlyMap<number, Refusal>): Judgement {
  const refused = new Map(refusedBefore)
  const spellings = new Map<string, string>()
  for (;;) {
    const judgement = judge(changes, known, refused, spellings)
    const missing = findMissingParents(judgement, known)
    if (missing.size === 0) return judgement
    for (const [index, refusal] of missing) refused.set(index, refusal)
  }
}

function judge (changes: Array<PreparedChange | UnreadableChange>, known: Known, refused: ReadonlyMap<number, Refusal>, spellings: Map<string, string>): Judgement {
  const rows = new Map<string, FinalRow>()
  for (const [row, { version, deleted, serverId }] of known.rows) rows.set(row, { version, deleted, serverId, write: null })
  /** What the batch itself has stored under a number, and what it has asked for under one. */
  const made = new Map<number, Write>()
  const claimed = new Map<number, PreparedChange>()
  const spoiled = new Set<string>()
  const writes: Write[] = []
  const isForked = known.numbers !== null && (known.numbers.hasGap || hasOtherContent(changes, known.ledger, spellings))

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
    const earlier = entryUnder(change.sourceChangeId)
    if (earlier !== undefined) {
      if (isSameContent(change, earlier, spellings)) return { verdict: 'nothing', change, version: earlier.version, replay: true, completed: change.completed || earlier.carried > 0 || earlier.digest !== null }
      if (!known.olderClient) return { verdict: 'invalid', change, refusal: REUSED }
    }
    // A number stands for the first change of the batch that has it, whatever becomes of that one: else each refusal would
    // let the next change with the number through, to be judged in a round of its own.
    const claim = known.olderClient ? undefined : claimed.get(change.sourceChangeId)
    if (claim !== undefined && !isSameContent(change, toEntry(claim, 0), spellings)) return { verdict: 'invalid', change, refusal: REUSED }
    claimed.set(change.sourceChangeId, change)
    const refusal = change.refusal ?? (spoiled.has(change.row) ? null : refused.get(change.index))
    if (refusal !== null && refusal !== undefined) return { verdict: 'invalid', change, refusal }
    if (spoiled.has(change.row)) return conflict(change)
    const decision = judgeVersion(change, earlier !== undefined)
    if (known.numbers === null || decision.verdict === 'conflict' || decision.verdict === 'invalid') return decision
    // What the other copy of a device did not see must not be hidden from it as its own.
    if (isForked) return { verdict: 'invalid', change, refusal: REUSED }
    if (decision.verdict === 'write' && change.sourceChangeId <= known.numbers.highest) return { verdict: 'invalid', change, refusal: PASSED }
    return decision
  }

  function judgeVersion (change: PreparedChange, takesNumber: boolean): Decision {
    const row = rows.get(change.row)
    if (change.op === 'DELETE') {
      if (row === undefined) return { verdict: 'nothing', change, version: null, replay: false, completed: false }
      if (row.deleted) return { verdict: 'nothing', change, version: row.version, replay: false, completed: false }
    }
    const version = row?.version ?? 0
    if (change.base !== version) return conflict(change)
    if (version >= Number.MAX_SAFE_INTEGER) return { verdict: 'invalid', change, refusal: LAST_VERSION }
    return { verdict: 'write', write: { change, version: version + 1, hadLiveRow: row !== undefined && !row.deleted, takesNumber, stored: { text: change.payload, shape: change.shape, carried: 0, digest: null } } }
  }

  function conflict (change: PreparedChange): Decision {
    // Clients of the original generation cannot read a conflict over a row that never was; they keep and retry an internal_error.
    if (known.olderClient && !rows.has(change.row)) {
      return { verdict: 'invalid', change, refusal: { reason: 'internal_error', message: 'The server has no such row; send it with server_version 0.' } }
    }
    return { verdict: 'conflict', change }
  }

  function entryUnder (sourceChangeId: number): LedgerEntry | undefined {
    const own = made.get(sourceChangeId)
    return own === undefined ? known.ledger.get(sourceChangeId) : toEntry(own.change, own.version)
  }

  function record (write: Write): void {
    const { change, version } = write
    const deleted = change.op === 'DELETE'
    writes.push(write)
    rows.set(change.row, { version, deleted, write, serverId: 0 })
    made.set(change.sourceChangeId, write)
  }
}

/** Whether the source has used one of the batch's numbers for something else: the batch comes from a copy of the device. */
function hasOtherContent (changes: Array<PreparedChange | UnreadableChange>, ledger: ReadonlyMap<number, LedgerEntry>, spellings: Map<string, string>): boolean {
  return changes.some(change => {
    const earlier = 'unreadable' in change ? undefined : ledger.get(change.sourceChangeId)
    return earlier !== undefined && !isSameContent(change as PreparedChange, earlier, spellings)
  })
}

/** A change of the batch as the ledger would have it. */
function toEntry ({ table, pk, op, payload }: PreparedChange, version: number): LedgerEntry {
  return { tableId: table.id, pk, deletes: op === 'DELETE', version, serverId: 0, payload, carried: 0, digest: null }
}

/** Same table, key and kind, and a payload that means the same. Base and INSERT against UPDATE do not count. */
function isSameContent (change: PreparedChange, entry: LedgerEntry, spellings: Map<string, string>): boolean {
  if (change.row !== rowKey(entry.tableId, entry.pk) || (change.op === 'DELETE') !== entry.deletes) return false
  if (change.payload === null || entry.payload === null) return change.payload === entry.payload
  // A column may have been excluded after the change was applied.
  if (entry.digest !== null) return digestOf(canonicalOnce(change.payload)) === entry.digest || (change.beforeExclusion !== null && digestOf(canonical(change.beforeExclusion)) === entry.digest)
  const stored = entry.carried === 0 ? entry.payload : withoutLast(entry.payload, entry.carried)
  const sent = withoutMembers(stored, change.table.excluded)
  return change.payload === sent || canonicalOnce(change.payload) === canonicalOnce(sent)

  function canonicalOnce (text: string): string {
    const known = spellings.get(text)
    if (known !== undefined) return known
    const spelling = canonical(text)
    spellings.set(text, spelling)
    return spelling
  }
}

/** Nobody gets so far by editing; what is beyond would not travel exactly. */
const LAST_VERSION: Refusal = { reason: 'bad_payload', message: `The row has reached version ${Number.MAX_SAFE_INTEGER}, the highest there is.` }

/** The next free number is only known when the whole batch is judged; the reply adds it. */
const REUSED: Refusal = { reason: 'source_change_id_reused', message: 'This source has already used this source_change_id for another change.' }

const PASSED: Refusal = { reason: 'source_change_id_passed', message: 'This source has used a higher number since; send the change under a new one.' }

/**
 * Writes whose foreign keys point at rows that are not live in the scope once the batch is through. Parents and children
 * of one batch may come in any order; a refused parent takes its children with it. Each write is looked at a bounded number
 * of times: a refusal takes the later writes of its row along, and only what hangs on that row is looked at again.
 */
function findMissingParents ({ writes }: Judgement, known: Known): Map<number, Refusal> {
  const missing = new Map<number, Refusal>()
  if (!writes.some(({ change }) => change.parents.length > 0)) return missing
  const onRow = new Map<string, Write[]>()
  const place = new Map<Write, number>()
  const dependents = new Map<string, Write[]>()
  const queue: Write[] = []
  for (const write of writes) {
    const { row, parents } = write.change
    const list = onRow.get(row) ?? []
    onRow.set(row, list)
    place.set(write, list.push(write) - 1)
    for (const parent of parents) {
      if (!parent.mustBeLive) continue
      const hanging = dependents.get(parent.row)
      if (hanging === undefined) dependents.set(parent.row, [write])
      else hanging.push(write)
    }
    if (parents.length > 0) queue.push(write)
  }
  /** How many writes of a row stand; those after them went with one that was refused. */
  const standing = new Map<string, number>()
  const standingOf = (row: string): number => standing.get(row) ?? onRow.get(row)?.length ?? 0
  const wasLive = (row: string): boolean => known.rows.get(row)?.deleted === false
  const isLive = (row: string): boolean => {
    const count = standingOf(row)
    return count === 0 ? wasLive(row) : onRow.get(row)?.[count - 1]?.change.op !== 'DELETE'
  }
  /** For a write that a later one of the batch replaces: its parent was there when it counted. */
  const wasEverLive = (row: string): boolean => wasLive(row) || standingOf(row) > 0

  for (let write = queue.pop(); write !== undefined; write = queue.pop()) {
    const { change } = write
    const at = place.get(write) as number
    const count = standingOf(change.row)
    if (at >= count) continue
    const has = at === count - 1 ? isLive : wasEverLive
    const absent = change.parents.filter(({ row, mustBeLive }) => mustBeLive && row !== change.row && !has(row))
    if (absent.length === 0) continue
    missing.set(change.index, {
      reason: 'fk_missing',
      message: `The row refers to ${absent.map(({ name }) => name).join(', ')}, which ${absent.length === 1 ? 'is' : 'are'} not there.`,
      details: { missing: absent.map(({ name }) => name) }
    })
    standing.set(change.row, at)
    if (at > 0) queue.push((onRow.get(change.row) as Write[])[at - 1] as Write)
    for (const hanging of dependents.get(change.row) ?? []) queue.push(hanging)
  }
  return missing
}
