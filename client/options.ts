import type { ConflictRule } from './conflict/merge.js'
import { SyncClientError } from './errors.js'
import type { Fetch, GetToken } from './http/transport.js'
import type { FileUser } from './sqlite/claim.js'
import { DOWNLOAD_LIMIT, REQUEST_TIMEOUT_MS, UPLOAD_BATCH_SIZE } from './limits.js'

export interface TableOption {
  table: string
  /** Who wins where this device and the server changed the same column, or one side deleted what the other edited. Default: 'serverWins'. */
  conflict?: ConflictRule
}

export interface SyncClientOptions {
  /** The server's base with the prefix, e.g. `https://example.com/sync`. */
  url: string
  /** PostgreSQL schema of the tables. Default: 'public'. */
  schema?: string
  /** The tables to sync, by their names in SQLite. */
  tables: ReadonlyArray<string | TableOption>
  /**
   * Whose data the file holds: opaque, and compared on every opening, so that no one's changes go up under another name.
   * Without it the file stays as it is: with the user who is signed in, or nobody; then changes are noted and nothing is sent.
   */
  userId?: string
  /** Which of the user's streams, where the server has scopes. Default: the user's own. */
  scope?: string
  /** What to do where `url` is another one than before and leads to another history. Default: 'stop', until the app calls `rebuild()`. */
  onServerChange?: 'stop' | 'rebuild'
  /** This installation's id. Default: a random one, kept in the file. The file may move on to another (see `status().deviceId`). */
  deviceId?: string
  /** Gives a bearer token for that device. Default: no Authorization header. */
  getToken?: GetToken
  /** Default: the global fetch. */
  fetch?: Fetch
  /** Longest wait for one reply, in milliseconds. Default: 60,000. */
  timeoutMs?: number
  /** Most changes in one upload. Default: 1,000. */
  uploadBatchSize?: number
  /** Changes in one page of a download. Default: 1,000, which is also what a server allows by default. */
  downloadLimit?: number
  /** Further request headers. */
  headers?: Readonly<Record<string, string>>
}

/** Options with their defaults. */
export interface Settings {
  url: string
  schema: string
  tables: ReadonlyMap<string, ConflictRule>
  /** The url in one spelling. */
  serverUrl: string
  user: FileUser | null
  onServerChange: 'stop' | 'rebuild'
  deviceId: string | undefined
  getToken: GetToken | undefined
  fetch: Fetch
  timeoutMs: number
  uploadBatchSize: number
  downloadLimit: number
  headers: Readonly<Record<string, string>>
}

const OPTIONS = new Set(['url', 'schema', 'tables', 'userId', 'scope', 'onServerChange', 'deviceId', 'getToken', 'fetch', 'timeoutMs', 'uploadBatchSize', 'downloadLimit', 'headers'])

export function readOptions (options: SyncClientOptions): Settings {
  for (const name of Object.keys(options)) require(OPTIONS.has(name), `${name} is not known`)
  require(typeof options.url === 'string' && URL.canParse(options.url) && /^https?:\/\//i.test(options.url), 'url must begin with http:// or https://')
  require(options.userId !== undefined || options.scope === undefined, 'scope needs a userId')
  const { onServerChange = 'stop' } = options
  require(onServerChange === 'stop' || onServerChange === 'rebuild', "onServerChange must be 'stop' or 'rebuild'")
  // It travels as a header.
  require(options.deviceId === undefined || (/^[\x21-\x7e]{1,255}$/.test(options.deviceId) && !options.deviceId.startsWith('oversync:')), "deviceId must be 1 to 255 visible ASCII characters and not begin with 'oversync:'")
  const schema = (options.schema ?? 'public').trim().toLowerCase()
  require(/^[a-z0-9_]+$/.test(schema), 'schema must consist of a-z, 0-9 and _')
  require(options.tables.length > 0, 'tables must name at least one table')

  const tables = new Map<string, ConflictRule>()
  for (const option of options.tables) {
    const { table, conflict = 'serverWins' } = typeof option === 'string' ? { table: option } : option
    require(conflict === 'serverWins' || conflict === 'clientWins', `conflict of table ${table} must be 'serverWins' or 'clientWins'`)
    const name = table.trim().toLowerCase()
    require(!tables.has(name), `tables names ${name} twice`)
    tables.set(name, conflict)
  }
  return {
    url: options.url,
    schema,
    tables,
    serverUrl: normalUrl(options.url),
    user: options.userId === undefined ? null : readUser(options as UserOption),
    onServerChange,
    deviceId: options.deviceId,
    getToken: options.getToken,
    fetch: options.fetch ?? ((url, init) => fetch(url, init)),
    timeoutMs: count('timeoutMs', options.timeoutMs ?? REQUEST_TIMEOUT_MS),
    uploadBatchSize: count('uploadBatchSize', options.uploadBatchSize ?? UPLOAD_BATCH_SIZE),
    downloadLimit: count('downloadLimit', options.downloadLimit ?? DOWNLOAD_LIMIT),
    headers: options.headers ?? {}
  }
}

export interface UserOption {
  userId: string
  /** Default: the user's own stream. */
  scope?: string
}

export function readUser ({ userId, scope }: UserOption): FileUser {
  require(typeof userId === 'string' && userId !== '', 'userId must be a text that is not empty')
  require(scope === undefined || (typeof scope === 'string' && scope !== ''), 'scope must be a text that is not empty')
  return { userId, scope: scope ?? null }
}

/** Two spellings of one address are one server. */
function normalUrl (url: string): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname.replace(/\/+$/, '')
}

function count (name: string, value: number): number {
  require(Number.isSafeInteger(value) && value > 0 && value < 2 ** 31, `${name} must be a whole number from 1 to 2147483647`)
  return value
}

function require (claim: boolean, what: string): asserts claim {
  if (!claim) throw new SyncClientError('invalid_option', `Option ${what}.`)
}
