import type { Kysely } from 'kysely'
import { MAX_SCANNED_POSITIONS } from '../limits.js'
import type { Identity } from '../options.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'
import { fill, type Compiled } from './compiled.js'
import { compileHead, compilePage, type HeadRow, type PageKind, type PageRow, type PageTables } from './page-statement.js'
import { epochOf } from './stream.js'

export interface PageRequest {
  after: number
  limit: number
  /** Upper bound of the window; 0 opens a new one. */
  until: number
  includeSelf: boolean
  /** Only tables of this PostgreSQL schema. */
  schema: string | null
}

export interface Page {
  /** The reply up to its last change, as JSON text in UTF-8 with ROOM behind it; null where there are none. Nobody else has it. */
  changes: Buffer | null
  count: number
  /** Position up to which the log has been looked at. */
  examined: number
  windowUntil: number
  head: number
  floor: number
  epoch: string
  maxChangeId: number
}

/** Reads pages of streams, by statements whose text is made once. */
export class PageReader {
  readonly #metadata: Metadata
  readonly #tables: PageTables
  readonly #compiled = new Map<string, Compiled<any>>()

  constructor (metadata: Metadata, tables: PageTables) {
    this.#metadata = metadata
    this.#tables = tables
  }

  /** The page, or null where the scope is new. */
  async read (db: Kysely<Database>, identity: Required<Identity>, request: PageRequest): Promise<Page | null> {
    const { after, until } = request
    // Most requests that open a window behind the beginning are polls, and most polls find nothing.
    if (after > 0 && until === 0) {
      const head = await this.#readHead(db, identity)
      if (head === null || head.head <= after) return head === null ? null : { ...head, changes: null, count: 0, examined: after, windowUntil: after }
    }
    return await this.#readPage(db, identity, request)
  }

  async #readHead (db: Kysely<Database>, { scope, userId: user, deviceId: device }: Required<Identity>): Promise<StreamEnds | null> {
    const statement = this.#once('head', () => compileHead(db, this.#metadata))
    const { rows: [row] } = await db.executeQuery(fill(statement, { scope, user, device }))
    return row === undefined ? null : toEnds(row)
  }

  /** Head, floor and page in one statement, so that they are of one moment. */
  async #readPage (db: Kysely<Database>, identity: Required<Identity>, request: PageRequest, byBytes = false): Promise<Page | null> {
    const { scope, userId: user, deviceId: device } = identity
    const { after, limit, until, includeSelf, schema } = request
    const values = { scope, user, device, after: String(after), limit, until: String(until), includeSelf, schema }
    const { rows: [row] } = await db.executeQuery(fill(this.#page(db, { ofSchema: schema !== null, byBytes }), values, { bytesOf: 'changes' }))
    if (row === undefined) return null
    if (row.last === null && row.last_found !== null) return await this.#readPage(db, identity, request, true)
    const windowUntil = Number(row.window_until)
    const cutShort = Number(row.found) === limit || row.last !== row.last_found
    return {
      ...toEnds(row),
      changes: typeof row.changes === 'string' ? Buffer.from(row.changes) : row.changes,
      count: Number(row.count),
      examined: cutShort ? Number(row.last) : Math.min(windowUntil, after + MAX_SCANNED_POSITIONS),
      windowUntil
    }
  }

  #page (db: Kysely<Database>, kind: PageKind): Compiled<PageRow> {
    return this.#once(JSON.stringify(kind), () => compilePage(db, this.#metadata, this.#tables, kind))
  }

  #once<Row> (name: string, compile: () => Compiled<Row>): Compiled<Row> {
    const known = this.#compiled.get(name) ?? compile()
    this.#compiled.set(name, known)
    return known
  }
}

type StreamEnds = Pick<Page, 'head' | 'floor' | 'epoch' | 'maxChangeId'>

function toEnds (row: HeadRow): StreamEnds {
  return { head: Number(row.head), floor: Number(row.floor), epoch: epochOf(row.epoch, row.scope_id), maxChangeId: Number(row.max_change_id ?? 0) }
}
