import type { CompiledQuery, Transaction } from 'kysely'
import { appendStatement, readPayloads, releaseStatement, type NewEntry, type Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import type { Source } from '../storage/source.js'
import type { Stream } from '../storage/stream.js'
import type { FinalRow, Judgement } from './decide.js'
import { toEntry, type ServerChange } from './server-changes.js'

/** What a batch adds to the stream. */
export interface Numbered {
  entries: NewEntry[]
  /** The new head, and the highest number that the source has used. */
  head: number
  maxChangeId: number
}

/** Gives the writes of a batch and the server's own changes their positions. */
export function numberEntries (stream: Pick<Stream, 'head'>, source: Source, judgement: Judgement, serverChanges: ServerChange[]): Numbered {
  let head = stream.head
  const changesOf = new Map<string, number>()
  const holders = new Map(judgement.writes.map(write => [write.change.sourceChangeId, write]))
  const entries = judgement.writes.map((write): NewEntry => {
    const { sourceChangeId, table, op, pk, row } = write.change
    const { text, shape, carried, digest } = write.stored
    const final = judgement.rows.get(row) as FinalRow
    const last = final.write === write
    // Versions begin with 1 and never again: only of a new row the nth change of the batch makes the nth version.
    const nth = (changesOf.get(row) ?? 0) + 1
    changesOf.set(row, nth)
    head++
    if (last) final.serverId = head
    // An older client may use a number twice in one batch: it stands for the later change.
    const ownId = holders.get(sourceChangeId) === write ? sourceChangeId : -head
    return { serverId: head, sourceChangeId: ownId, tableId: table.id, op, pk, version: write.version, payload: text, shape, carried, digest, first: nth === 1, last, isNew: write.version === nth, sourceNo: source.no }
  })
  for (const change of serverChanges) {
    change.final.serverId = ++head
    entries.push(toEntry(change, head))
  }
  requireExact(head, entries)
  let maxChangeId = source.maxChangeId
  for (const decision of judgement.decisions) {
    if (decision.verdict === 'write') maxChangeId = Math.max(maxChangeId, decision.write.change.sourceChangeId)
    if (decision.verdict === 'nothing') maxChangeId = Math.max(maxChangeId, decision.change.sourceChangeId)
  }
  return { entries, head, maxChangeId }
}

/** The statements that append what a batch adds to the stream: the last that an upload sends, with COMMIT. None where it adds nothing. */
export function recordStatements (trx: Transaction<Database>, metadata: Metadata, { scopeId }: Stream, source: Source, judgement: Judgement, numbered: Numbered): CompiledQuery[] {
  if (numbered.entries.length === 0 && numbered.maxChangeId <= source.maxChangeId) return []
  const released = judgement.writes.filter(({ takesNumber }) => takesNumber).map(({ change }) => change.sourceChangeId)
  return [
    ...released.length === 0 ? [] : [releaseStatement(trx, metadata, scopeId, source.no, released)],
    appendStatement(trx, metadata, { scopeId, sourceNo: source.no, ...numbered })
  ]
}

/** Positions and versions beyond would be rounded on their way to devices. No stream gets there; a damaged one must not go on. */
function requireExact (head: number, entries: NewEntry[]): void {
  const beyond = head > Number.MAX_SAFE_INTEGER ? `position ${head}` : entries.find(({ version }) => version > Number.MAX_SAFE_INTEGER)?.version
  if (beyond !== undefined) throw new Error(`The stream has reached the end of exact integers (${beyond}). Compare stream.head and row_state.version with the log: the metadata is damaged.`)
}

/** Payloads of the rows that the reply shows and the batch did not write. */
export async function readShownPayloads (trx: Transaction<Database>, metadata: Metadata, stream: Stream, { decisions, rows }: Judgement, spend: Spend): Promise<Map<number, string | null>> {
  const positions = new Set<number>()
  const show = (row: string): void => {
    const final = rows.get(row)
    if (final !== undefined && final.write === null && !final.deleted) positions.add(final.serverId)
  }
  for (const decision of decisions) {
    if (decision.verdict === 'conflict' || (decision.verdict === 'nothing' && decision.replay)) show(decision.change.row)
    if (decision.verdict === 'write') show(decision.write.change.row)
  }
  return await readPayloads(trx, metadata, stream.scopeId, [...positions], spend)
}
