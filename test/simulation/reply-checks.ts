import type { Values } from './certificate.js'
import type { Reply, Request } from './server.js'
import { valuesOfPayload, type Entry, type StreamModel } from './stream-model.js'
import { insist } from './violation.js'

/** A reply that the server gave, whether or not the device heard it. */
export interface Heard { request: Request, reply: Reply, wasTroubled: boolean }

interface Change { source_change_id: number, table: string, op: string, pk: string, server_version: number, payload?: Record<string, unknown> | null }
interface ServerRow { table_name: string, id: string, server_version: number, deleted: boolean, payload: Record<string, unknown> | null }
interface Status { source_change_id: number, status: string, new_server_version?: number, server_row?: ServerRow, invalid?: { reason: string } }
interface PageChange extends Change { server_id: number, deleted: boolean, source_id: string }
interface UploadReply { statuses: Status[], highest_server_seq: number }
interface PageReply { changes: PageChange[], has_more: boolean, next_after: number, window_until: number }

/** JSON whose large numbers stay texts. */
export function parse<T> (text: string): T {
  return JSON.parse(text.replaceAll(/"(a_num|c_num|n)":(-?\d+)/g, '"$1":"$2"')) as T
}

/** Compares a reply with the stream, which by now has been read beyond it. */
export function checkReply ({ request, reply, wasTroubled }: Heard, stream: StreamModel): void {
  const what = (): string => `${request.method} ${request.url} of ${stream.owner} answered ${reply.status} ${reply.body.slice(0, 300)} ${reply.log}`
  if (reply.status !== 200) {
    insist(reply.status === 503 && wasTroubled, 'P19', what)
    return
  }
  insist(reply.headers['cache-control'] === 'no-store', 'P10', () => `${what()} without no-store`)
  if (request.method === 'POST') checkUpload(request, parse<UploadReply>(reply.body), stream)
  else checkPage(request, parse<PageReply>(reply.body), stream)
}

function checkUpload (request: Request, reply: UploadReply, stream: StreamModel): void {
  const { changes } = parse<{ changes: Change[] }>(request.body as string)
  const source = request.headers['oversync-source-id'] as string
  insist(reply.highest_server_seq <= stream.head, 'P9', () => `position ${reply.highest_server_seq} was told, and the stream of ${stream.owner} ends at ${stream.head}`)
  insist(reply.statuses.length === changes.length, 'P19', () => `${reply.statuses.length} statuses for ${changes.length} changes`)
  for (const [i, change] of changes.entries()) checkStatus(change, reply.statuses[i] as Status, source, stream, reply.highest_server_seq)
}

/** `head`: where the stream ended when the reply was given. */
function checkStatus (change: Change, status: Status, source: string, stream: StreamModel, head: number): void {
  const what = (): string => `change ${source} ${change.source_change_id} (${change.op} ${change.table} ${change.pk}) was answered ${JSON.stringify(status)}`
  insist(status.source_change_id === change.source_change_id, 'P19', what)
  const entry = stream.bySource(source, change.source_change_id)
  if (status.status === 'applied') {
    const version = status.new_server_version
    if (entry === undefined) {
      // A row that is gone already, or never was: nothing to log.
      const gone = version === undefined ? undefined : stream.versions(change.table, change.pk)[version - 1]
      insist(change.op === 'DELETE' && (version === undefined || gone?.values === null), 'P1', () => `${what()} and is not in the stream`)
    } else {
      insist(entry.table === change.table && entry.key === change.pk, 'P4', () => `${what()} and stands for ${entry.table} ${entry.key} in the stream`)
      insist(entry.version === version, 'P3', () => `${what()} and made version ${entry.version}`)
      insist(holds(entry.values, sent(change)), 'P17', () => `${what()} and the stream has ${JSON.stringify(entry.values)}`)
    }
  }
  if (status.status === 'conflict') insist(entry === undefined || entry.serverId > head || isReplayOf(entry, change) === false, 'P3', () => `${what()} and is in the stream at ${entry?.serverId}`)
  insist(status.status === 'applied' || status.status === 'conflict' || status.status === 'invalid', 'P19', what)
  insist(status.status !== 'conflict' || status.server_row !== undefined, 'P3', () => `${what()} without a row`)
  const row = status.server_row
  if (row === undefined) return
  const told = stream.versions(row.table_name, row.id)[row.server_version - 1]
  const isTrue = row.server_version === 0 ? row.deleted && row.payload === null : told !== undefined && (told.values === null) === row.deleted && holds(told.values, row.payload === null ? null : valuesOfPayload(row.payload as Record<string, string>))
  insist(isTrue && row.table_name === change.table && row.id === change.pk, 'P3', () => `${what()}, and the stream has no such row`)
}

function isReplayOf (entry: Entry, change: Change): boolean {
  return entry.table === change.table && entry.key === change.pk && holds(entry.values, sent(change))
}

function sent (change: Change): Values | null {
  return change.op === 'DELETE' ? null : valuesOfPayload(change.payload as Record<string, string>)
}

/** Whether the row is what was sent, in the columns that were. */
function holds (row: Values | null, sent: Values | null): boolean {
  if (row === null || sent === null) return row === sent
  return Object.entries(sent).every(([column, value]) => (row[column] ?? null) === value)
}

function checkPage (request: Request, page: PageReply, stream: StreamModel): void {
  const query = new URL(request.url, 'http://server').searchParams
  const [after, limit] = [Number(query.get('after')), Number(query.get('limit'))]
  const source = request.headers['oversync-source-id']
  const what = (): string => `the page ${request.url} of ${stream.owner} (${source})`
  insist(page.window_until <= Math.max(after, stream.head), 'P9', () => `${what()} ends its window at ${page.window_until}, the stream at ${stream.head}`)
  insist(page.changes.length <= limit && page.next_after >= after && page.next_after <= page.window_until, 'P10', () => `${what()} has ${page.changes.length} changes up to ${page.next_after} of ${page.window_until}`)
  insist(page.has_more ? page.next_after > after && page.next_after < page.window_until : page.next_after === page.window_until, 'P10', () => `${what()} says has_more ${page.has_more} at ${page.next_after} of ${page.window_until}`)
  const due = stream.entries.slice(after, page.next_after).filter(entry => query.get('include_self') === 'true' || entry.source !== source)
  const ids = (list: Array<{ server_id?: number, serverId?: number }>): string => list.map(({ server_id: a, serverId: b }) => a ?? b).join(' ')
  insist(ids(page.changes) === ids(due), 'P10', () => `${what()} has ${ids(page.changes)} where ${ids(due)} was due`)
  for (const [i, change] of page.changes.entries()) {
    const entry = due[i] as Entry
    const values = change.payload == null ? null : valuesOfPayload(change.payload as Record<string, string>)
    const isEqual = change.table === entry.table && change.pk === entry.key && change.server_version === entry.version && change.source_id === entry.source && change.deleted === (entry.values === null) &&
      JSON.stringify(values) === JSON.stringify(entry.values)
    insist(isEqual, 'P17', () => `${what()} shows ${JSON.stringify(change)} for ${JSON.stringify(entry)}`)
  }
}

/** Two deliveries of one upload: what was applied in one was applied in the other, as the same version (P3). */
export function checkTwins (request: Request, replies: readonly Reply[]): void {
  const [first, second] = replies.map(reply => reply.status === 200 && request.method === 'POST' ? parse<UploadReply>(reply.body).statuses : null)
  if (first == null || second == null) return
  for (const [i, one] of first.entries()) {
    const other = second[i] as Status
    const applied = [one, other].filter(({ status }) => status === 'applied')
    const isSame = applied.length !== 2 || one.new_server_version === other.new_server_version
    insist(isSame && (applied.length !== 1 || isGoneMeanwhile(one, other)), 'P3', () => `one request was answered ${JSON.stringify(one)} and ${JSON.stringify(other)}`)
  }
}

/**
 * Whether a deletion met an older row at first and none any more the second time, since the same batch took the row away by
 * the deletion of its parent. What was not applied is judged anew, and a deletion of what is gone has nothing to do.
 */
function isGoneMeanwhile (one: Status, other: Status): boolean {
  const [conflict, applied] = one.status === 'conflict' ? [one, other] : [other, one]
  const row = conflict.server_row
  return conflict.status === 'conflict' && row?.deleted === true && row.server_version === applied.new_server_version
}
