import type { UploadResponse } from '../../src/contract/upload-response.js'

/** JSON by its exact text: a number is a text that begins with U+E000, which is nobody's. */
export type Exact = string | boolean | null | Exact[] | { [key: string]: Exact }
type Members = Record<string, Exact>

interface Row { version: number, deleted: boolean, payload: Members }
interface Entry { row: string, version: number, deletes: boolean, device: string, number: number | null, payload: Members, from: number, to: number }
interface Used { row: string, deletes: boolean, sent: string, version: number, entry: Entry }
interface Device { max: number, used: Map<number, Used> }
interface Change { row: string, table: string, deletes: boolean, number: number, base: number, sent: Members, isNormal: boolean }
type Status = UploadResponse['statuses'][number]

const REQUIRED: Record<string, string[]> = { users: ['name', 'email'], posts: ['title'], typed_rows: [] }
/** Values that every column takes; of all others the model only knows that they are applied or refused. */
const NORMAL = new Map(Object.entries({
  id: /^/,
  name: /^n\d+$/,
  email: /^e$/,
  created_at: /^\ue0001700000000$/,
  title: /^t\d+$/,
  author_id: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  big: /^\ue0007$/,
  dec: /^\ue0001\.10$/,
  ratio: /^\ue0000\.5$/,
  note: /^n\d+$/,
  blob: /^AAEC$/
}))

/** What the server must hold, told from requests and from what the contract says of them; where values decide, from the replies. */
export class Scope {
  readonly rows = new Map<string, Row>()
  readonly devices = new Map<string, Device>()
  readonly log: Entry[] = []
  readonly name: string
  readonly others: () => Scope[]
  head = 0

  constructor (name: string, others: () => Scope[]) {
    this.name = name
    this.others = others
  }

  version (table: string, pk: string): number {
    return this.rows.get(`${table} ${pk}`)?.version ?? 0
  }

  /** Follows an upload that was answered 200. Returns what the reply has no right to say, one sentence each. */
  follow (device: string, text: string, replyText: string): string[] {
    const { changes, epoch } = parseExact(text) as { changes?: Members[] | null, epoch?: string }
    const plain = JSON.parse(text) as { changes?: Array<{ source_change_id: number, server_version: number }> | null }
    const reply = JSON.parse(replyText) as UploadResponse
    const shown = (parseExact(replyText) as { statuses: Array<{ server_row?: { payload: Exact } }> }).statuses
    const list = changes ?? []
    const problems: string[] = []
    if (reply.statuses.length !== list.length) return [`${reply.statuses.length} statuses for ${list.length} changes`]
    const from = this.head + 1
    const source = this.devices.get(device) ?? { max: 0, used: new Map<number, Used>() }
    const spoiled = new Set<string>()
    const tried = new Set<number>()
    const written: Entry[] = []
    const checks: Array<() => void> = []
    const hasKeyTwice = keysIn(text) !== countKeys(changes === undefined ? {} : parseExact(text))
    let accepted = true
    for (const [i, sent] of list.entries()) {
      const status = reply.statuses[i] as Status
      const read = readChange(sent, plain.changes?.[i] as { source_change_id: number, server_version: number }, epoch === undefined)
      const expected = this.#judge(read, status, source, device, epoch === undefined, spoiled, tried, written, hasKeyTwice)
      if (status.status === 'invalid' && status.invalid.reason === 'unregistered_table') accepted = false
      if (!expected.includes(brief(status))) problems.push(`change ${i}: ${brief(status)}, not ${expected.join(' or ')}`)
      if (status.source_change_id !== plain.changes?.[i]?.source_change_id) problems.push(`change ${i}: another number`)
      if (!('row' in read) || read.row === null) continue
      if ('deletes' in read && status.status === 'applied' && status.new_server_version !== undefined) {
        const { version } = this.rows.get(read.row) as Row
        checks.push(() => {
          const final = this.rows.get(read.row) as Row
          const isReplay = !written.some(entry => entry.row === read.row && entry.version === status.new_server_version)
          if (isReplay && !read.deletes && final.version !== status.new_server_version && status.server_row === undefined) problems.push(`change ${i}: a replay of what has been overtaken shows no row`)
          if (!isReplay && version === final.version && !read.deletes && Object.keys(final.payload).length > Object.keys(read.sent).length && status.server_row === undefined) problems.push(`change ${i}: completed, and not told`)
        })
      }
      if ('server_row' in status && status.server_row !== undefined) {
        const { server_version: version, deleted, table_name: table, id } = status.server_row
        checks.push(() => {
          const final = this.rows.get(read.row as string) ?? { version: 0, deleted: true, payload: {} }
          const payload = shown[i]?.server_row?.payload as Exact
          const [is, should] = [[`${table} ${id}`, version, deleted, payload], [read.row, final.version, final.deleted, final.deleted ? null : final.payload]].map(value => canonical(value as Exact))
          if (is !== should) problems.push(`change ${i}: shows ${is as string}, not ${should as string}`)
        })
      }
      if (status.status === 'invalid' && status.invalid.reason === 'fk_missing' && 'sent' in read) {
        const parent = `users ${String(read.sent['author_id']).toLowerCase()}`
        checks.push(() => { if (this.isLive(parent) && !list.some(change => change['pk'] === read.sent['author_id'])) problems.push(`change ${i}: fk_missing, and the parent is there`) })
      }
    }
    for (const entry of written) Object.assign(entry, { from, to: from + written.length - 1 })
    this.log.push(...written)
    this.head += written.length
    if (written.length > 0 || source.max > 0) this.devices.set(device, source)
    for (const check of checks) check()
    for (const { row } of written) {
      const author = this.rows.get(row)?.payload['author_id']
      if (row.startsWith('posts ') && this.isLive(row) && typeof author === 'string' && !this.isLive(`users ${uuidOf(author)}`)) problems.push(`${row} has no author any more`)
      if (row.startsWith('users ') && !this.isLive(row) && this.hasPosts(row.slice(6))) problems.push(`${row} is gone and has posts`)
    }
    if (reply.accepted !== accepted) problems.push(`accepted: ${reply.accepted}`)
    if (reply.highest_server_seq !== this.head) problems.push(`highest_server_seq ${reply.highest_server_seq}, not ${this.head}`)
    if (reply.next_source_change_id !== source.max + 1) problems.push(`next_source_change_id ${reply.next_source_change_id}, not ${source.max + 1}`)
    return problems
  }

  isLive (row: string): boolean {
    return this.rows.get(row)?.deleted === false
  }

  hasPosts (user: string): boolean {
    return [...this.rows].some(([row, { deleted, payload }]) => !deleted && row.startsWith('posts ') && typeof payload['author_id'] === 'string' && uuidOf(payload['author_id']) === user)
  }

  /** The verdicts that the contract allows; the one that was given is followed. */
  #judge (read: Change | Unreadable, status: Status, source: Device, device: string, isOlder: boolean, spoiled: Set<string>, tried: Set<number>, written: Entry[], hasKeyTwice: boolean): string[] {
    if ('reason' in read) {
      if (read.row !== null) spoiled.add(read.row)
      return [`invalid ${read.reason}`]
    }
    const { row, table, number, base, deletes, sent, isNormal } = read
    const given = brief(status)
    const isDoubtful = !deletes && (!isNormal || hasKeyTwice)
    if (isDoubtful && given === 'invalid bad_payload') {
      spoiled.add(row)
      return [given]
    }
    const earlier = source.used.get(number)
    if (earlier !== undefined && earlier.row === row && earlier.deletes === deletes && earlier.sent === canonical(sent)) return [`applied v${earlier.version}`]
    if (earlier !== undefined && !isOlder) {
      spoiled.add(row)
      return ['invalid source_change_id_reused']
    }
    // Within a batch a number stands for the first change that has it, also where that one is refused.
    if (!isOlder && tried.has(number) && given === 'invalid source_change_id_reused') {
      spoiled.add(row)
      return [given]
    }
    tried.add(number)
    if (spoiled.has(row)) return isOlder && !this.rows.has(row) ? ['invalid internal_error'] : ['conflict']
    const current = this.rows.get(row)
    if (deletes && (current === undefined || current.deleted)) {
      source.max = Math.max(source.max, number)
      return [current === undefined ? 'applied' : `applied v${current.version}`]
    }
    if (base !== (current?.version ?? 0)) {
      spoiled.add(row)
      return current === undefined && isOlder ? ['invalid internal_error'] : ['conflict']
    }
    const isInsert = current === undefined || current.deleted
    const refusals: string[] = []
    const mayBe: string[] = []
    if (deletes && table === 'users') mayBe.push('invalid constraint_violation')
    if (!deletes) {
      if (isInsert && this.others().some(other => other.isLive(row))) refusals.push('invalid not_owner')
      if ((REQUIRED[table] as string[]).some(column => Object.hasOwn(sent, column) ? sent[column] === null : isInsert)) refusals.push('invalid constraint_violation')
      if (table === 'posts' && typeof sent['author_id'] === 'string') mayBe.push('invalid fk_missing')
      if (isDoubtful) mayBe.push('invalid constraint_violation', 'invalid fk_missing')
    }
    if (given.startsWith('applied')) {
      const payload = deletes ? {} : isInsert ? sent : { ...current?.payload, ...sent }
      const entry = { row, version: base + 1, deletes, device, number, payload, from: 0, to: 0 }
      if (earlier !== undefined) earlier.entry.number = null
      this.rows.set(row, { version: base + 1, deleted: deletes, payload })
      source.used.set(number, { row, deletes, sent: canonical(sent), version: base + 1, entry })
      source.max = Math.max(source.max, number)
      written.push(entry)
    } else {
      spoiled.add(row)
    }
    return refusals.length > 0 ? [...refusals, ...mayBe] : [`applied v${base + 1}`, ...mayBe]
  }
}

interface Unreadable { reason: string, row: string | null }

function readChange (change: Members, { source_change_id: number, server_version: base }: { source_change_id: number, server_version: number }, isOlder: boolean): Change | Unreadable {
  const [schema, table] = [change['schema'] ?? 'public', change['table']].map(name => (name as string).trim().toLowerCase()) as [string, string]
  if (![schema, table].every(name => /^[a-z0-9_]+$/.test(name))) return { reason: 'bad_payload', row: null }
  if (schema !== 'business' || !Object.hasOwn(REQUIRED, table)) return { reason: 'unregistered_table', row: null }
  const pk = uuidOf(change['pk'] as string)
  if (pk === null) return { reason: 'bad_payload', row: null }
  const row = `${table} ${pk}`
  const op = (change['op'] as string).trim().toUpperCase()
  const payload = (change['payload'] ?? null) as Members | null
  const bad = { reason: 'bad_payload', row }
  if (number < 1 || number > Number.MAX_SAFE_INTEGER || base < 0 || base > Number.MAX_SAFE_INTEGER) return bad
  if (!['INSERT', 'UPDATE', 'DELETE'].includes(op) || (op === 'DELETE') !== (payload === null)) return bad
  if (payload === null) return { row, table, deletes: true, number, base, sent: {}, isNormal: true }
  if (depth(payload) > 64 || !isText(payload)) return bad
  if (Object.hasOwn(payload, 'id') && (typeof payload['id'] !== 'string' || uuidOf(payload['id']) !== pk)) return bad
  const keyed: Members = Object.hasOwn(payload, 'id') ? { ...payload, id: pk } : payload
  const isNormal = Object.entries(keyed).every(([name, value]) => name === 'flag' ? value === true : name === 'doc' ? canonical(value) === '{"a":"\ue0001"}' : name === 'author_id' && value === null ? true : NORMAL.get(name)?.test(String(value)) === true)
  // Stored in their one spelling: the key, and a reference to one, unless a client of the original generation wrote it.
  const author = table === 'posts' && !isOlder && typeof payload['author_id'] === 'string' ? uuidOf(payload['author_id']) : null
  const sent: Members = author === null ? keyed : { ...keyed, author_id: author }
  return { row, table, deletes: false, number, base, sent, isNormal }
}

function brief (status: Status): string {
  if (status.status === 'invalid') return `invalid ${status.invalid.reason}`
  return status.status === 'conflict' ? 'conflict' : `applied${status.new_server_version === undefined ? '' : ` v${status.new_server_version}`}`
}

export function uuidOf (text: string): string | null {
  const hex = text.replace(/^urn:uuid:/i, '').replace(/^\{(.*)\}$/s, '$1')
  const match = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i.exec(hex)
  return match === null || ![32, 36].includes(hex.length) ? null : match.slice(1).join('-').toLowerCase()
}

export function parseExact (text: string): Exact {
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/gs, token => token.startsWith('"') ? token : `"\\ue000${token}"`)) as Exact
}

export function canonical (value: Exact): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.keys(value).sort().map(key => `${JSON.stringify(key)}:${canonical(value[key] as Exact)}`).join(',')}}`
}

function keysIn (text: string): number {
  return text.match(/"(?:[^"\\]|\\.)*"\s*:?/gs)?.filter(token => token.endsWith(':')).length ?? 0
}

function countKeys (value: Exact): number {
  if (typeof value !== 'object' || value === null) return 0
  const inner = Object.values(value).reduce<number>((sum, member) => sum + countKeys(member as Exact), 0)
  return inner + (Array.isArray(value) ? 0 : Object.keys(value).length)
}

function depth (value: Exact): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(member => depth(member as Exact)))
}

function isText (value: Exact): boolean {
  if (typeof value === 'string') return !value.includes('\0') && value.isWellFormed()
  return typeof value !== 'object' || value === null || Object.entries(value).every(([key, member]) => isText(key) && isText(member as Exact))
}
