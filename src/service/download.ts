import type { Kysely } from 'kysely'
import type { DownloadQuery } from '../contract/download-query.js'
import { SyncError } from '../errors.js'
import { DEFAULT_DOWNLOAD_LIMIT } from '../limits.js'
import type { Identity } from '../options.js'
import { ROOM } from '../storage/change-text.js'
import type { Database } from '../storage/database.js'
import type { Page, PageReader, PageRequest } from '../storage/page.js'
import { ensureStream } from '../storage/stream.js'
import { reading } from '../storage/transaction.js'

export interface DownloadContext {
  db: Kysely<Database>
  /** A standby to read pages from, which may lag; null where pages come from `db` too. */
  replica: Kysely<Database> | null
  pages: PageReader
  maxDownloadLimit: number
}

export interface DownloadResult {
  /** The reply, a DownloadResponse as JSON text: payloads in it keep their exact digits. */
  readonly json: string
  /** The same in UTF-8, as it goes to a socket. */
  bytes: Buffer
  /** Changes in the page. */
  count: number
}

/** Reads a page of the scope's stream. No lock, no transaction, nothing held while the reply is written. */
export async function download (context: DownloadContext, identity: Required<Identity>, query: DownloadQuery): Promise<DownloadResult> {
  const request = toRequest(query, context.maxDownloadLimit)
  const page = await reading(async () => {
    const found = await context.pages.read(context.replica ?? context.db, identity, request)
    if (found !== null) return { ...found, mayLag: context.replica !== null }
    // The epoch is part of every reply, and a new scope gets it here.
    await ensureStream(context.db, identity.scope)
    return { ...await context.pages.read(context.db, identity, request) as Page, mayLag: false }
  })
  requireKnownCursor(page, request.after, query)
  const hasMore = page.examined < page.windowUntil
  const rest = `],"has_more":${hasMore},"next_after":${hasMore ? page.examined : page.windowUntil},` +
    `"window_until":${page.windowUntil},"floor":${page.floor},"epoch":${JSON.stringify(page.epoch)},` +
    `"source_id":${JSON.stringify(identity.deviceId)},"next_source_change_id":${page.maxChangeId + 1}}`
  const bytes = page.changes === null ? Buffer.from(`{"changes":[${rest}`) : withRest(page.changes, `}${rest}`)
  return { bytes, count: page.count, get json () { return bytes.toString() } }
}

/** Completes a reply in place. Ids of devices may be longer than the room. */
function withRest (changes: Buffer, rest: string): Buffer {
  const length = changes.length - ROOM
  if (Buffer.byteLength(rest) > ROOM) return Buffer.concat([changes.subarray(0, length), Buffer.from(rest)])
  return changes.subarray(0, length + changes.write(rest, length))
}

/** The query with its defaults. The routes have checked the types; other callers may not have. */
function toRequest (query: DownloadQuery, maxDownloadLimit: number): PageRequest {
  const { after = 0, limit = Math.min(DEFAULT_DOWNLOAD_LIMIT, maxDownloadLimit), until = 0, include_self: includeSelf = false, schema = null } = query
  for (const [name, value] of Object.entries({ after, until, floor: query.floor ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new SyncError('invalid_request', `Parameter "${name}" must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}.`)
  }
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > maxDownloadLimit) throw new SyncError('invalid_request', `Parameter "limit" must be an integer from 1 to ${maxDownloadLimit}.`)
  if (schema !== null && !/^[a-z0-9_]+$/.test(schema)) throw new SyncError('invalid_request', 'Parameter "schema" must match ^[a-z0-9_]+$.')
  return { after, limit, until, includeSelf, schema }
}

/** Clients that send no epoch are of the original generation and get what its server would answer. */
function requireKnownCursor (page: Page & { mayLag: boolean }, after: number, { epoch, floor }: DownloadQuery): void {
  if (epoch === undefined) return
  // A cursor beyond the head of a standby is only ahead of it: there is nothing yet.
  if (epoch !== page.epoch || (after > page.head && !page.mayLag)) throw new SyncError('history_changed', 'The server\'s history is not the one this device knows.')
  if (after > 0 && after < page.floor && floor !== page.floor) throw new SyncError('cursor_expired', 'The cursor is older than the deletions that the server still remembers.')
}
