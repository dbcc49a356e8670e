import type { ConflictRule, DeleteRule } from './conflict/merge.js'
import type { Resolver, TableRule } from './conflict/resolver.js'
import { SyncClientError } from './errors.js'
import type { Fetch, GetToken } from './http/transport.js'
import { DOWNLOAD_LIMIT, LOCAL_CHECK_MS, MAX_BACKOFF_MS, MIN_BACKOFF_MS, POLL_INTERVAL_MS, REQUEST_TIMEOUT_MS, UPLOAD_BATCH_SIZE } from './limits.js'
import type { Pace } from './loop/delay.js'
import type { AnyDatabase, TableName } from './table-types.js'
import type { FileUser } from './sqlite/claim.js'

/** A table and its rules, by name so that a resolver is typed by its table. */
export type TableOption<Database = AnyDatabase> = { [Table in TableName<Database>]: OptionOf<Database, Table> }[TableName<Database>]

interface OptionOf<Database, Table extends TableName<Database>> {
  table: Table
  /** Who wins a column that this device and the server changed to different values, or a function that decides. Default: 'serverWins'. */
  conflict?: ConflictRule | Resolver<Database, Table>
  /** Who wins where one side deleted the row that the other edited. Default: as `conflict` says, 'serverWins' where that is a function. */
  deleted?: DeleteRule
}

export interface SyncClientOptions<Database = AnyDatabase> {
  /** The server's base with the prefix, e.g. `https://example.com/sync`. */
  url: string
  /** PostgreSQL schema of the tables. Default: 'public'. */
  schema?: string
  /** The tables to sync, by their names in SQLite. */
  tables: ReadonlyArray<TableName<Database> | TableOption<Database>>
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
  /** Milliseconds between two looks at the server while the loop is idle. Default: 30,000. */
  pollIntervalMs?: number
  /** Milliseconds between two looks of the loop for local writes; 0 for none (call `wake()` then). Default: 1,000. */
  localCheckMs?: number
  /** The loop's wait after a first failure, in milliseconds; doubled with each further one. Default: 1,000. */
  minBackoffMs?: number
  /** The longest such wait. Default: 300,000. */
  maxBackoffMs?: number
  /** Further request headers. */
  headers?: Readonly<Record<string, string>>
}

/** Options with their defaults. */
export interface Settings {
  url: string
  schema: string
  tables: ReadonlyMap<string, TableRule>
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
  pace: Pace & { localCheckMs: number }
  headers: Readonly<Record<string, string>>
}

const OPTIONS = new Set(['url', 'schema', 'tables', 'userId', 'scope', 'onServerChange', 'deviceId', 'getToken', 'fetch', 'timeoutMs', 'uploadBatchSize', 'downloadLimit', 'headers', 'pollIntervalMs', 'localCheckMs', 'minBackoffMs', 'maxBackoffMs'])

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
  const tables = readTableOptions(options.tables)
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
    pace: {
      pollIntervalMs: count('pollIntervalMs', options.pollIntervalMs ?? POLL_INTERVAL_MS),
      localCheckMs: options.localCheckMs === 0 ? 0 : count('localCheckMs', options.localCheckMs ?? LOCAL_CHECK_MS),
      minBackoffMs: count('minBackoffMs', options.minBackoffMs ?? MIN_BACKOFF_MS),
      maxBackoffMs: count('maxBackoffMs', options.maxBackoffMs ?? MAX_BACKOFF_MS)
    },
    headers: options.headers ?? {}
  }
}

export function readTableOptions (options: SyncClientOptions['tables']): Map<string, TableRule> {
  require(options.length > 0, 'tables must name at least one table')
  const tables = new Map<string, TableRule>()
  for (const option of options) {
    const { table, ...rule } = typeof option === 'string' ? { table: option } : option
    const name = table.trim().toLowerCase()
    require(!tables.has(name), `tables names ${name} twice`)
    tables.set(name, readRule(table, rule))
  }
  return tables
}

const DELETE_RULES = ['serverWins', 'clientWins', 'editWins', 'deleteWins']

function readRule (table: string, rule: { conflict?: ConflictRule | Resolver, deleted?: DeleteRule }): TableRule {
  const { conflict = 'serverWins', deleted = typeof conflict === 'function' ? 'serverWins' : conflict, ...rest } = rule
  require(typeof conflict === 'function' || conflict === 'serverWins' || conflict === 'clientWins', `conflict of table ${table} must be 'serverWins', 'clientWins' or a function`)
  require(DELETE_RULES.includes(deleted), `deleted of table ${table} must be one of ${DELETE_RULES.join(', ')}`)
  for (const name of Object.keys(rest)) require(false, `${name} of table ${table} is not known`)
  return { conflict, deleted }
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
