import { SyncClientError } from '../errors.js'
import { elementsOf, hasPlainNumbers, membersOf } from './json-text.js'
import type { DownloadResponse, ServerRow, UploadResponse } from './wire.js'

/** By these a device knows that it talks to the server, as the device, that it believes. */
export interface Identity {
  epoch: string
  sourceId: string
  nextChangeId: number
}

/** The server's row at a version. The payload is raw JSON text, null where the row is deleted. */
export interface ServerState {
  version: number
  deleted: boolean
  payload: string | null
}

export type Verdict =
  | { status: 'applied', id: number, version: number | null, row: NamedState | null }
  | { status: 'conflict', id: number, row: NamedState }
  | { status: 'invalid', id: number, reason: string, message: string, details: Record<string, unknown> | null }

export interface NamedState extends ServerState { table: string, key: string }

export interface UploadReply extends Identity {
  verdicts: Verdict[]
  /** The last position of the stream. */
  head: number
}

export interface PageChange extends NamedState {
  serverId: number
  sourceId: string
  /** The payload as JavaScript reads it, for a look: only where `hasPlainNumbers` are its numbers those of the text. null where deleted. */
  members: Readonly<Record<string, unknown>> | null
  /** No number of the payload has a fraction, an exponent or more than 15 digits. */
  hasPlainNumbers: boolean
}

export interface DownloadPage extends Identity {
  /** The reply as it came. */
  text: string
  changes: PageChange[]
  hasMore: boolean
  nextAfter: number
  windowUntil: number
  floor: number
}

export function readUploadReply (text: string): UploadReply {
  const reply = parse<UploadResponse>(text)
  check(Array.isArray(reply.statuses) && reply.statuses.every(isObject), 'statuses is not an array of objects')
  check(isPosition(reply.highest_server_seq), 'highest_server_seq is not a position')
  // The raw texts are only needed where a row is told; most replies have none.
  const raw = reply.statuses.some(status => 'server_row' in status) ? elementsOf(membersOf(text).get('statuses') ?? '[]') : []
  return { ...readIdentity(reply), head: reply.highest_server_seq, verdicts: reply.statuses.map((status, i) => readVerdict(status, raw[i])) }
}

function readVerdict (status: UploadResponse['statuses'][number], raw: string | undefined): Verdict {
  const id = status.source_change_id
  check(isPosition(id), 'source_change_id is not an integer')
  switch (status.status) {
    case 'applied':
      check(status.new_server_version === undefined || (isPosition(status.new_server_version) && status.new_server_version > 0), 'new_server_version is not a version')
      return {
        status: 'applied',
        id,
        version: status.new_server_version ?? null,
        row: status.server_row == null ? null : readServerRow(status.server_row, raw)
      }
    case 'conflict':
      check(status.server_row != null, 'a conflict has no server_row')
      return { status: 'conflict', id, row: readServerRow(status.server_row, raw) }
    case 'invalid':
      return {
        status: 'invalid',
        id,
        reason: String(status.invalid?.reason ?? 'unknown'),
        message: String(status.message ?? ''),
        details: isObject(status.invalid?.details) ? status.invalid?.details ?? null : null
      }
    default:
      throw broken(`unknown status ${JSON.stringify((status as { status: unknown }).status)}`)
  }
}

function readServerRow (row: ServerRow, rawStatus: string | undefined): NamedState {
  check(isObject(row) && isPosition(row.server_version) && typeof row.id === 'string' && typeof row.deleted === 'boolean', 'server_row is malformed')
  check(row.deleted || isObject(row.payload), 'a live server_row has no payload')
  const payload = row.deleted ? null : membersOf(membersOf(rawStatus ?? '{}').get('server_row') ?? '{}').get('payload') ?? null
  return { table: row.table_name, key: row.id, version: row.server_version, deleted: row.deleted, payload }
}

export function readDownloadPage (text: string): DownloadPage {
  const page = parse<DownloadResponse>(text)
  check(Array.isArray(page.changes) && page.changes.every(isObject), 'changes is not an array of objects')
  check(page.floor === undefined || isPosition(page.floor), 'floor is not a position')
  check(typeof page.has_more === 'boolean' && isPosition(page.next_after) && isPosition(page.window_until), 'the page has no bounds')
  const raw = new RawChanges(text)
  const changes = page.changes.map((change, i): PageChange => {
    check(isPosition(change.server_id) && isPosition(change.server_version) && change.server_version > 0 &&
      typeof change.pk === 'string' && typeof change.table === 'string' && typeof change.deleted === 'boolean', 'a change is malformed')
    check(change.deleted || isObject(change.payload), 'a live row has no payload')
    return new RawChange(raw, i, change)
  })
  return {
    ...readIdentity(page),
    text,
    changes,
    hasMore: page.has_more,
    nextAfter: page.next_after,
    windowUntil: page.window_until,
    floor: page.floor ?? 0
  }
}

/** The raw texts of a page's changes, cut only when one is asked for: most rows do without. */
class RawChanges {
  readonly #text: string
  #elements: string[] | null = null
  #hasPlainNumbers: boolean | null = null

  constructor (text: string) {
    this.#text = text
  }

  get hasPlainNumbers (): boolean {
    this.#hasPlainNumbers ??= hasPlainNumbers(this.#text)
    return this.#hasPlainNumbers
  }

  payload (i: number): string | null {
    this.#elements ??= elementsOf(membersOf(this.#text).get('changes') ?? '[]')
    return membersOf(this.#elements[i] ?? '{}').get('payload') ?? null
  }
}

class RawChange implements PageChange {
  readonly serverId: number
  readonly sourceId: string
  readonly table: string
  readonly key: string
  readonly version: number
  readonly deleted: boolean
  readonly members: PageChange['members']
  readonly #raw: RawChanges
  readonly #i: number

  constructor (raw: RawChanges, i: number, change: DownloadResponse['changes'][number]) {
    this.serverId = change.server_id
    this.sourceId = String(change.source_id)
    this.table = change.table
    this.key = change.pk
    this.version = change.server_version
    this.deleted = change.deleted
    this.members = change.deleted ? null : change.payload as Record<string, unknown>
    this.#raw = raw
    this.#i = i
  }

  get payload (): string | null {
    return this.deleted ? null : this.#raw.payload(this.#i)
  }

  get hasPlainNumbers (): boolean {
    return this.#raw.hasPlainNumbers
  }
}

/** Assert that a page moves on: positions rise, lie behind the cursor and within the page's bounds. */
export function checkPage (page: DownloadPage, after: number): void {
  let last = after
  for (const change of page.changes) {
    check(change.serverId > last && change.serverId <= page.nextAfter, 'positions of the page are out of order')
    last = change.serverId
  }
  check(page.nextAfter >= after && page.windowUntil >= page.nextAfter, 'the cursor would go back')
  check(!page.hasMore || page.nextAfter > after, 'the page says that there is more but does not move on')
  check(page.hasMore || page.nextAfter === page.windowUntil, 'the window ends before its bound')
}

function readIdentity (reply: { epoch: string, source_id: string, next_source_change_id: number }): Identity {
  check(typeof reply.epoch === 'string' && typeof reply.source_id === 'string' && isPosition(reply.next_source_change_id),
    'the reply names no epoch, source_id or next_source_change_id')
  return { epoch: reply.epoch, sourceId: reply.source_id, nextChangeId: reply.next_source_change_id }
}

function parse<T extends object> (text: string): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SyncClientError('not_json', 'The reply is not complete JSON.', { cause: error, status: 200 })
  }
  check(isObject(value), 'the reply is not an object')
  return value as T
}

function isObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isPosition (value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function check (claim: boolean, what: string): asserts claim {
  if (!claim) throw broken(what)
}

/** A reply that breaks the contract. */
export function broken (what: string): SyncClientError {
  return new SyncClientError('protocol_error', `The server's reply breaks the contract: ${what}.`)
}
