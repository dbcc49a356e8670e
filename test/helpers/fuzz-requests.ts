import { uuid } from './app.js'

/** A request as bytes could carry it: whatever the method, the path and the headers are. */
export interface FuzzRequest {
  kind: 'upload' | 'download' | 'odd'
  user: string
  device: string
  method: string
  url: string
  headers: Record<string, string>
  body?: Buffer
}

/** What the generator must know to send requests that get past the door. */
export interface Knowledge {
  users: string[]
  epochs: Map<string, string>
  version: (user: string, table: string, pk: string) => number
}

const ODD_NUMBERS = ['0', '-1', '-0', '1.5', '1.0', '1e3', '1E400', '9007199254740991', '9007199254740992', '9223372036854775807', '9223372036854775808', '-9223372036854775809', '5e-324', '0.1', '123456789012345678901234567890.123456789']
const ODD_TEXTS = ['""', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\u{1F600}"', '"é"', '"e\\u0301"', '"\'; drop table business.users; --"', '"\\"; drop schema sync"', '"null"', '"2024-02-30"', '"infinity"', '"NaN"', '"\\u202e"', '"trailing "', `"${'x'.repeat(2000)}"`, '"AAEC"', '"====" ', '"{}"']
const ODD_VALUES = [...ODD_NUMBERS, ...ODD_TEXTS, 'null', 'true', 'false', '[]', '{}', '[[[[]]]]', '{"a":{"b":[1,{"c":null}]}}', `${'['.repeat(70)}${']'.repeat(70)}`]
const ODD_KEYS = ['__proto__', 'constructor', 'toString', 'id', 'ID', 'i\\u0064', 'name', 'nope', '', 'a b', '\\u0000', 'oversync key', 'quoted\\"']
const ODD_INTEGERS = ['', '-1', '1.5', '1e3', '0x10', '%201', '+1', '9007199254740992', '99999999999999999999', 'abc', '[]', 'true', '007', '%30', '%00', '%ff', '%', '%zz']
const ODD_PATHS = ['/sync', '/sync/', '/sync//download', '/sync/./download', '/sync/../sync/download', '/sync/%2e%2e/sync/download', '/sync/..%2fdownload', '/sync/download%00', '/sync/download/', '/sync/Download', '/sync/%64ownload', '/sync/download;a=b', '/sync/download%3Fafter=1', '/sync/download?', '/sync/download??after=1', '/sync/download?after=0#x', '/sync/%', '/sync/%c0%ae', '/sync/é', `/sync/${'x'.repeat(3000)}`, `/sync/download?epoch=${'x'.repeat(9000)}`, '/sync/upload/', '/sync/upload?changes=1', '/sync/status', '/sync/schema-version', '/sync/watch', '/sync/admin/materialize-failures', '/sync/__proto__', '/sync/constructor']
const ODD_METHODS = ['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND', 'GET', 'POST']
const ODD_HEADERS: Array<[string, string]> = [
  ['content-encoding', 'gzip'], ['content-encoding', 'br'], ['content-encoding', 'identity'], ['content-encoding', 'x, gzip'], ['oversync-source-id', 'another'], ['oversync-source-id', ''], ['oversync-source-id', 'phone'],
  ['accept', 'text/html'], ['accept-encoding', 'br;q=1, *;q=0'], ['range', 'bytes=0-1'], ['if-none-match', '*'], ['content-type', 'text/plain'], ['content-type', 'application/json; charset=utf-16'], ['content-type', 'application/json;'],
  ['content-type', 'multipart/form-data'], ['content-type', 'x'], ['content-type', 'application/json, application/json'], ['content-type', 'application/vnd.api+json'], ['x-http-method-override', 'DELETE'], ['origin', 'http://evil.example'], ['x-forwarded-for', '\'; drop table sync.meta'], ['cookie', 'a=b; __proto__=1']
]

/** Requests of one seed, always the same ones for the same answers. */
export class FuzzRequests {
  #state: number
  /** How odd the request at hand is: many odd values at once are refused at the door. */
  #oddness = 0
  #lastId = 0
  readonly #sent = new Map<string, string[]>()

  readonly known: Knowledge

  constructor (seed: number, known: Knowledge) {
    this.known = known
    this.#state = seed >>> 0
  }

  random (): number {
    this.#state = this.#state + 0x6D2B79F5 >>> 0
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }

  below (n: number): number { return Math.floor(this.random() * n) }
  pick<T> (list: readonly T[]): T { return list[this.below(list.length)] as T }
  chance (p: number): boolean { return this.random() < p }

  next (): FuzzRequest {
    this.#oddness = this.pick([0, 0, 0, 0.01, 0.03, 0.2])
    const [user, device, kind] = [this.pick(this.known.users), this.pick(['phone', 'tablet']), this.random()]
    const headers: Record<string, string> = { 'x-user': user, 'x-device': device }
    const upload = (body: Buffer): FuzzRequest => ({ kind: 'upload', user, device, method: 'POST', url: '/sync/upload', headers: { ...headers, 'content-type': 'application/json' }, body })
    if (kind < 0.28) return upload(Buffer.from(this.#body(user, device)))
    if (kind < 0.48) return upload(this.mutate(this.#body(user, device)))
    if (kind < 0.52) return upload(Buffer.from(Array.from({ length: this.below(200) }, () => this.below(256))))
    if (kind < 0.78) return { kind: 'download', user, device, method: 'GET', url: `/sync/download?${this.#query(user)}`, headers }
    for (let n = this.below(3); n > 0; n--) {
      const [name, value] = this.pick(ODD_HEADERS)
      headers[name] = value
    }
    if (this.chance(0.1)) delete headers['x-user']
    const url = this.chance(0.5) ? this.pick(ODD_PATHS) : this.pick(['/sync/upload', `/sync/download?${this.#query(user)}`, '/sync/status', '/sync/schema-version'])
    const method = this.chance(0.5) ? url.startsWith('/sync/upload') ? 'POST' : 'GET' : this.pick(ODD_METHODS)
    const hasBody = ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method) && this.chance(0.8)
    if (hasBody) headers['content-type'] ??= 'application/json'
    return { kind: 'odd', user, device, method, url, headers, ...(hasBody ? { body: this.mutate(this.#body(user, device)) } : {}) }
  }

  /** One to four bytes changed, inserted, removed, doubled, or the rest cut off. */
  mutate (text: string | Buffer): Buffer {
    let bytes = Buffer.from(text as string)
    for (let n = 1 + this.below(4); n > 0 && bytes.length > 0; n--) {
      const at = this.below(bytes.length)
      const byte = this.chance(0.5) ? this.below(256) : this.pick([...Buffer.from('{}[]",:\\0-eu ')])
      switch (this.below(5)) {
        case 0: bytes[at] = byte; break
        case 1: bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at)]); break
        case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]); break
        case 3: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - this.below(30)))]); break
        default: if (this.chance(0.3)) bytes = Buffer.from(bytes.subarray(0, at))
      }
    }
    return bytes
  }

  #value (normal: string): string { return this.chance(this.#oddness) ? this.pick(ODD_VALUES) : normal }

  #body (user: string, device: string): string {
    const changes = Array.from({ length: this.below(5) }, () => this.#change(user, device))
    const fields = [`"changes":${this.chance(0.99) ? `[${changes.join(',')}]` : this.pick(ODD_VALUES)}`]
    if (this.chance(0.3)) fields.push(`"last_server_seq_seen":${this.#value('1')}`)
    if (this.chance(0.6)) fields.push(`"epoch":${this.chance(0.97) ? JSON.stringify(this.known.epochs.get(user)) : this.pick(ODD_TEXTS)}`)
    if (this.chance(0.05)) fields.push(`"${this.pick(ODD_KEYS)}":${this.pick(ODD_VALUES)}`)
    return `{${fields.join(',')}}`
  }

  #change (user: string, device: string): string {
    const sent = this.#sent.get(`${user} ${device}`) ?? []
    this.#sent.set(`${user} ${device}`, sent)
    if (sent.length > 0 && this.chance(0.08)) return this.pick(sent)
    const table = this.pick(['users', 'posts', 'typed_rows'])
    const pk = this.#key(user)
    const isDeletion = this.chance(0.2)
    const op = this.chance(0.97) ? isDeletion ? 'DELETE' : this.pick(['INSERT', 'UPDATE', 'update']) : this.pick([' delete ', 'UPSERT', '', 'DROP'])
    const number = this.chance(0.95) ? ++this.#lastId : 1 + this.below(this.#lastId)
    const version = this.chance(0.8) ? this.known.version(user, table, pk) : this.below(4)
    const fields: Array<[string, string]> = [
      ['source_change_id', this.#value(String(number))], ['schema', this.#value(this.chance(0.97) ? '"business"' : this.pick(['"public"', '"BUSINESS "', '"sync"', '"pg_catalog"']))],
      ['table', this.#value(this.chance(0.98) ? `"${table}"` : this.pick(['"meta"', '"Users"', '"users;"', '"change_log"']))], ['op', this.#value(`"${op}"`)],
      ['pk', this.#value(`"${pk}"`)], ['server_version', this.#value(String(version))]
    ]
    if (op.trim().toUpperCase() !== 'DELETE' || this.chance(0.03)) fields.push(['payload', this.#value(this.#payload(user, table, pk))])
    else if (this.chance(0.3)) fields.push(['payload', 'null'])
    const change = `{${fields.filter(() => !this.chance(this.#oddness / 10)).map(([name, text]) => `"${name}":${text}`).join(',')}}`
    sent[sent.length < 30 ? sent.length : this.below(30)] = change
    return change
  }

  /** Mostly keys of the user's own; a few that all users want. */
  #key (user: string): string {
    if (this.chance(this.#oddness)) return this.pick(['', ' ', 'x', uuid(1).toUpperCase(), `{${uuid(2)}}`, `urn:uuid:${uuid(3)}`, uuid(4).replaceAll('-', ''), 'AAAAAAAAAAAAAAAAAAAAAA==', '0'.repeat(2000)])
    return uuid(this.chance(0.1) ? 1 + this.below(10) : 1000 * (1 + this.known.users.indexOf(user)) + this.below(30))
  }

  #payload (user: string, table: string, pk: string): string {
    const fields: Array<[string, string]> = table === 'users'
      ? [['id', `"${pk}"`], ['name', `"n${this.below(1000)}"`], ['email', '"e"'], ['created_at', '1700000000']]
      : table === 'posts'
        ? [['id', `"${pk}"`], ['title', `"t${this.below(1000)}"`], ['author_id', this.chance(0.4) ? 'null' : `"${this.#key(user)}"`]]
        : [['id', `"${pk}"`], ['big', '7'], ['dec', '1.10'], ['flag', 'true'], ['ratio', '0.5'], ['doc', '{"a":1}'], ['note', `"n${this.below(1000)}"`], ['blob', '"AAEC"']]
    const members = fields.filter(() => !this.chance(this.#oddness + 0.03)).map(([name, normal]) => `"${name}":${this.#value(normal)}`)
    if (this.chance(0.03)) members.push(`"${this.pick(ODD_KEYS)}":${this.pick(ODD_VALUES)}`)
    if (this.chance(0.02) && members.length > 0) members.push(this.pick(members))
    return `{${members.join(',')}}`
  }

  #query (user: string): string {
    const parameters: string[] = []
    const isOdd = this.chance(0.6)
    for (const name of ['after', 'limit', 'until', 'floor', 'include_self', 'schema', 'epoch', 'nope']) {
      if (!this.chance(0.4)) continue
      const normal = name === 'schema' ? this.pick(['business', 'public']) : name === 'epoch' ? this.known.epochs.get(user) : name === 'include_self' ? this.pick(['true', 'false']) : name === 'limit' ? this.pick(['1', '2', '7', '20', '1000']) : String(this.below(1500))
      parameters.push(`${name}=${isOdd && this.chance(0.3) ? this.pick(ODD_INTEGERS) : normal}`)
    }
    if (isOdd && this.chance(0.1) && parameters.length > 0) parameters.push(this.pick(parameters))
    return parameters.join('&')
  }
}
