import { elementsOf, membersOf } from '../../client/http/json-text.js'

/** A change as it came in, its payload as raw JSON text. */
export interface Sent {
  id: number
  table: string
  op: string
  pk: string
  base: number
  payload: string | null
}

export interface Refusal { reason: string, message?: string, details?: Record<string, unknown> }

interface Entry { serverId: number, source: string, id: number, table: string, pk: string, version: number, payload: string | null }
interface RowState { version: number, payload: string | null }

/**
 * The server of the contract, for one user, in memory: judges, numbers, remembers. Payloads stay raw text. `refuse` plays the
 * database's constraints; `onRequest` plays the network and may answer in the server's place.
 */
export class FakeServer {
  epoch = 'epoch-1'
  log: Entry[] = []
  rows = new Map<string, RowState>()
  refuse: (change: Sent) => Refusal | null = () => null
  onRequest: (request: { path: string, body: string | null, query: URLSearchParams, headers: Headers }, answer: () => Response) => Response | Promise<Response> = (_, answer) => answer()
  /** Uploads with changes, as they arrived. */
  uploads: Array<{ source: string, body: string, changes: Sent[] }> = []
  downloads: URLSearchParams[] = []
  pageSize = Infinity
  /** Below it, deletions are forgotten. */
  floor = 0
  #head = 0
  /** Answers of the judge that replace the usual one, by nothing more than the change. */
  verdict: (change: Sent) => Record<string, unknown> | null = () => null
  #ledger = new Map<string, Entry | { version: number | null, content: string }>()
  #content = new Map<string, string>()
  #next = new Map<string, number>()

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { pathname, searchParams } = new URL(url)
    const headers = new Headers(init.headers)
    const body = (init.body ?? null) as string | null
    const path = pathname.slice(pathname.lastIndexOf('/'))
    const source = headers.get('oversync-source-id') as string
    return this.onRequest({ path, body, query: searchParams, headers }, () => {
      if (path === '/upload') return this.#upload(source, body as string)
      if (path === '/download') return this.#download(source, searchParams)
      return reply(404, '{"error":"not_found","message":"No such route."}')
    })
  }

  /** A change by another device. */
  write (table: string, pk: string, payload: Record<string, unknown> | string | null, source = 'peer'): number {
    const text = payload === null ? null : typeof payload === 'string' ? payload : JSON.stringify(payload)
    return this.#append(source, this.nextId(source), table, pk, text)
  }

  get head (): number {
    return Math.max(this.#head, this.log.at(-1)?.serverId ?? 0)
  }

  payload (table: string, pk: string): Record<string, unknown> | null | undefined {
    const row = this.rows.get(`${table}:${pk}`)
    return row === undefined ? undefined : row.payload === null ? null : JSON.parse(row.payload) as Record<string, unknown>
  }

  version (table: string, pk: string): number {
    return this.rows.get(`${table}:${pk}`)?.version ?? 0
  }

  nextId (source: string): number {
    return this.#next.get(source) ?? 1
  }

  /** As if this source had used ids below `next`. */
  claimIds (source: string, next: number): void {
    this.#next.set(source, next)
  }

  /** As after a restore of an older backup: the stream ends at `head`. The operator renews the epoch, or does not. */
  restore (head: number, epoch = this.epoch): void {
    const log = this.log.slice(0, head)
    this.log = []
    this.#head = head
    this.epoch = epoch
    this.rows.clear()
    this.#ledger.clear()
    this.#next.clear()
    for (const entry of log) {
      this.log.push(entry)
      this.rows.set(`${entry.table}:${entry.pk}`, { version: entry.version, payload: entry.payload })
      this.#ledger.set(`${entry.source}#${entry.id}`, entry)
      this.#use(entry.source, entry.id)
    }
  }

  /** As after retention: deleted rows are forgotten up to `floor`, and what was replaced. */
  compact (floor: number): void {
    this.floor = floor
    this.log = this.log.filter(entry => entry.serverId > floor || (entry.payload !== null && this.version(entry.table, entry.pk) === entry.version))
  }

  /** As after retention so thorough that no replay is known. */
  forgetReplays (): void {
    this.#ledger.clear()
    this.#content.clear()
  }

  #append (source: string, id: number, table: string, pk: string, payload: string | null): number {
    const key = `${table}:${pk}`
    const version = (this.rows.get(key)?.version ?? 0) + 1
    this.rows.set(key, { version, payload })
    const entry = { serverId: this.head + 1, source, id, table, pk, version, payload }
    this.log.push(entry)
    this.#head = entry.serverId
    this.#ledger.set(`${source}#${id}`, entry)
    this.#use(source, id)
    return version
  }

  #use (source: string, id: number): void {
    this.#next.set(source, Math.max(this.nextId(source), id + 1))
  }

  #identity (source: string): string {
    return `"epoch":${JSON.stringify(this.epoch)},"source_id":${JSON.stringify(source)},"next_source_change_id":${this.nextId(source)}`
  }

  #upload (source: string, body: string): Response {
    const request = JSON.parse(body) as { epoch?: string, next_source_change_id?: number }
    if (request.epoch !== undefined && request.epoch !== this.epoch) return reply(409, '{"error":"history_changed","message":"Another history."}')
    const changes = elementsOf(membersOf(body).get('changes') ?? '[]').map(readSent)
    if (changes.length > 0) this.uploads.push({ source, body, changes })
    const highest = this.nextId(source) - 1
    const expected = request.next_source_change_id ?? Infinity
    const isForked = changes.some(change => this.#hasOtherContent(source, change)) ||
      [...this.log].some(entry => entry.source === source && entry.id >= expected && entry.id < (changes[0]?.id ?? 0))
    const statuses = changes.map(change => this.#judge(source, change, expected === Infinity ? null : { isForked, highest }))
    return reply(200, `{"accepted":true,"highest_server_seq":${this.head},"statuses":[${statuses.join(',')}],${this.#identity(source)}}`)
  }

  #hasOtherContent (source: string, change: Sent): boolean {
    const known = this.#content.get(`${source}#${change.id}`)
    return this.#ledger.has(`${source}#${change.id}`) && known !== undefined && known !== contentOf(change)
  }

  #judge (source: string, change: Sent, numbers: { isForked: boolean, highest: number } | null): string {
    const own = this.verdict(change)
    if (own !== null) return JSON.stringify({ source_change_id: change.id, ...own })
    const key = `${change.table}:${change.pk}`
    const row = this.rows.get(key)
    const version = row?.version ?? 0
    const isDeletion = change.op === 'DELETE'
    const content = contentOf(change)
    const seen = this.#ledger.get(`${source}#${change.id}`)
    if (seen !== undefined) {
      if (this.#content.get(`${source}#${change.id}`) !== content) return status(change.id, 'invalid', '"message":"Used.","invalid":{"reason":"source_change_id_reused"}')
      const moved = seen.version !== null && seen.version !== version ? `,${this.#row(change)}` : ''
      return status(change.id, 'applied', `"new_server_version":${seen.version}${moved}`)
    }
    if (isDeletion && (row === undefined || row.payload === null)) {
      this.#use(source, change.id) // it leaves no entry, and its number is used all the same
      return status(change.id, 'applied', row === undefined ? undefined : `"new_server_version":${version}`)
    }
    if (change.base !== version) return status(change.id, 'conflict', this.#row(change))
    const refusal = this.refuse(change)
    if (refusal !== null) {
      return status(change.id, 'invalid', `"message":${JSON.stringify(refusal.message ?? 'Refused.')},"invalid":${JSON.stringify({ reason: refusal.reason, details: refusal.details })}`)
    }
    if (numbers?.isForked === true) return status(change.id, 'invalid', '"message":"A copy.","invalid":{"reason":"source_change_id_reused"}')
    if (numbers !== null && change.id <= numbers.highest) return status(change.id, 'invalid', '"message":"Passed.","invalid":{"reason":"source_change_id_passed"}')
    const made = this.#append(source, change.id, change.table, change.pk, isDeletion ? null : change.payload)
    this.#content.set(`${source}#${change.id}`, content)
    return status(change.id, 'applied', `"new_server_version":${made}`)
  }

  #row ({ table, pk }: Sent): string {
    const row = this.rows.get(`${table}:${pk}`) ?? { version: 0, payload: null }
    return `"server_row":{"schema_name":"business","table_name":"${table}","id":${JSON.stringify(pk)},"server_version":${row.version},"deleted":${row.payload === null},"payload":${row.payload ?? 'null'}}`
  }

  #download (source: string, query: URLSearchParams): Response {
    this.downloads.push(query)
    if (query.has('epoch') && query.get('epoch') !== this.epoch) return reply(409, '{"error":"history_changed","message":"Another history."}')
    const after = Number(query.get('after'))
    const limit = Math.min(Number(query.get('limit')), this.pageSize)
    if (query.has('epoch') && after > this.head) return reply(409, '{"error":"history_changed","message":"Beyond the head."}')
    if (after > 0 && after < this.floor && Number(query.get('floor') ?? 0) !== this.floor) return reply(410, '{"error":"cursor_expired","message":"Too old."}')
    const until = Math.max(after, Math.min(Number(query.get('until') ?? 0) || this.head, this.head))
    const includeSelf = query.get('include_self') === 'true'
    const found = this.log.filter(entry => entry.serverId > after && entry.serverId <= until && (includeSelf || entry.source !== source))
    const page = found.slice(0, limit)
    // As the real one: a full page ends with its last change, whether or not anything but the caller's own follows.
    const last = page.at(-1)
    const hasMore = page.length === limit && last !== undefined && last.serverId < until
    const changes = page.map(entry => {
      const op = entry.payload === null ? 'DELETE' : entry.version === 1 ? 'INSERT' : 'UPDATE'
      const payload = entry.payload === null ? '' : `"payload":${entry.payload},`
      return `{"server_id":${entry.serverId},"schema":"business","table":"${entry.table}","op":"${op}","pk":${JSON.stringify(entry.pk)},${payload}"server_version":${entry.version},"deleted":${entry.payload === null},"source_id":"${entry.source}","source_change_id":${entry.id},"ts":"2026-01-01T00:00:00Z"}`
    })
    const nextAfter = hasMore ? last.serverId : until
    return reply(200, `{"changes":[${changes.join(',')}],"has_more":${hasMore},"next_after":${nextAfter},"window_until":${until},"floor":${this.floor},${this.#identity(source)}}`)
  }
}

function contentOf ({ table, pk, op, payload }: Sent): string {
  return `${table}:${pk}|${op === 'DELETE' ? 'delete' : 'upsert'}|${payload ?? ''}`
}

function readSent (raw: string): Sent {
  const { source_change_id: id, table, op, pk, server_version: base } = JSON.parse(raw) as { source_change_id: number, table: string, op: string, pk: string, server_version: number }
  return { id, table, op, pk, base, payload: membersOf(raw).get('payload') ?? null }
}

function status (id: number, name: string, more = ''): string {
  return `{"source_change_id":${id},"status":"${name}"${more === '' ? '' : ','}${more}}`
}

export function reply (code: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { status: code, headers: { 'content-type': 'application/json', ...headers } })
}
