import type { FastifyRequest } from 'fastify'
import type { Kysely } from 'kysely'
import type { Sql } from 'postgres'
import { ConfigurationError } from './errors.js'
import type { Authorize, BeforeApply, Materializer } from './hooks.js'
import { MAX_BODY_BYTES, MAX_DOWNLOAD_LIMIT, MAX_PAYLOAD_BYTES, MAX_UPLOAD_BATCH_SIZE } from './limits.js'
import type { Metrics } from './metrics.js'

/** Who calls, as the app's sign-in knows it. All three are opaque text. */
export interface Identity {
  /** The signed-in person. */
  userId: string
  /** The installation that calls, one id for each device; the wire's source_id. */
  deviceId: string
  /** Whose stream it is: the user (default), or a workspace that several users share. */
  scope?: string
}

/** How a column travels where the wire's form is not what PostgreSQL reads: whole seconds or milliseconds since 1970 for a timestamp. */
export type ColumnCodec = 'epoch_s' | 'epoch_ms'

/** `both`; `down`: devices receive rows and may not write them; `up`: devices write rows and do not receive them. */
export type Direction = 'both' | 'down' | 'up'

export type KeyKind = 'uuid' | 'text' | 'integer'

export type { Materializer } from './hooks.js'

export interface TableOptions {
  /** `schema.table`; without a schema, `public`. */
  table: string
  /** Column that holds the scope's name (by default the userId), in a type that can hold it. The server writes it and checks it on every change. */
  owner?: string
  /** Codecs by column. */
  columns?: Record<string, ColumnCodec>
  /** `false`: the rows live in the stream only and no business table is needed. Default `true`. */
  materialize?: boolean
  /** `true`: reference rows that rows of every scope may refer to by foreign key. Default `false`. */
  shared?: boolean
  /** Columns that never travel: not sent to devices, and removed from what they send. */
  exclude?: string[]
  /** Default `both`. */
  direction?: Direction
  /**
   * The key of a table that is not materialized by the plugin (`materialize: false`, or a `materializer`), by column:
   * `{ id: 'uuid' }`, `{ list: 'text', position: 'integer' }`, or its kind alone, `'text'`. Default `'uuid'`. The key of
   * any other table is read from the catalog.
   */
  key?: KeyKind | Record<string, KeyKind>
  /** Writes the rows in place of the plugin, wherever the app keeps them. No table of this name is needed. */
  materializer?: Materializer
  /**
   * `reject` (default): a row that the database refuses is answered `invalid`. `record`: the change enters the stream all
   * the same, and what the database said is noted for an operator (see the option `admin`).
   */
  onMaterializeError?: 'reject' | 'record'
}

export interface OversyncOptions {
  /** Tables that sync, as `schema.table` or with options. */
  tables: Array<string | TableOptions>
  /**
   * Tells who calls, from the app's own sign-in. Null or an exception answers 401. An exception with `statusCode` 403
   * answers 403; with 503, when a session store is away, 503, so that devices wait instead of signing out.
   */
  getIdentity: (request: FastifyRequest) => Identity | null | undefined | Promise<Identity | null | undefined>
  /** Connection string, postgres.js instance or Kysely instance. Default: the environment's DATABASE_URL. An instance stays the app's to close. */
  database?: string | Sql | Kysely<any>
  /** A hot standby that downloads read from, in the same forms. It may lag: devices get what it has. Default: none. */
  replica?: string | Sql | Kysely<any>
  /**
   * Whether the statements of every request are parsed and planned once a session, which makes polls and small uploads
   * cheaper. Default `'auto'`: where nothing stands between that hands sessions around, which is found out at start. `true`
   * also behind a pooler, if it knows named statements (PgBouncer 1.21 and newer, with max_prepared_statements). No effect on
   * a Kysely instance, nor on a postgres.js instance with `prepare: false`.
   */
  preparedStatements?: boolean | 'auto'
  /** Path under which the routes live. Default `/sync`. */
  prefix?: string
  /** PostgreSQL schema of the sync metadata. Default `sync`. */
  schema?: string
  /** Name of the app in GET /status. Default `fastify-oversync`. */
  appName?: string
  /** Version of the app's schema in GET /schema-version. Default 1. */
  schemaVersion?: number
  /** Devices that send a lower schema_version are answered 426. Default: none. */
  minSchemaVersion?: number
  /** Most changes in one upload. Default 10,000. */
  maxUploadBatchSize?: number
  /** Most bytes in one payload. Default 10 MiB. */
  maxPayloadBytes?: number
  /** Most bytes in one request body. Default 32 MiB. */
  maxBodyBytes?: number
  /** Highest `limit` of a download. Default 1,000. */
  maxDownloadLimit?: number
  /** Says of each change whether its author may make it. */
  authorize?: Authorize
  /** Says of all changes of an upload together whether they may be made, with a transaction to read in. */
  beforeApply?: BeforeApply
  /**
   * Tells whether the caller may see and retry what could not be materialized: false answers 403, null or an exception 401.
   * Only with it are the admin routes there.
   */
  admin?: (request: FastifyRequest) => boolean | null | undefined | Promise<boolean | null | undefined>
  /** Path before `/admin/materialize-failures`. Default: none. */
  adminPrefix?: string
  /** Where counters and histograms go; docs/metrics.md lists them. Default: nowhere. */
  metrics?: Metrics
}

/** A table as registered: names checked, defaults filled in, not yet compared with the catalog. */
export interface TableRegistration {
  schema: string
  table: string
  owner: string | null
  columns: ReadonlyMap<string, ColumnCodec>
  /** The plugin writes the rows into a business table of this name. */
  materialize: boolean
  materializer: Materializer | null
  shared: boolean
  exclude: ReadonlySet<string>
  direction: Direction
  /** Columns and kinds of the key; of a materialized table null, the catalog has it. A name is null where the app gave none. */
  key: Array<{ name: string | null, kind: KeyKind }> | null
  recordsFailures: boolean
}

export interface ResolvedOptions {
  tables: TableRegistration[]
  getIdentity: OversyncOptions['getIdentity']
  database: string | Sql | Kysely<any>
  replica: string | Sql | Kysely<any> | null
  preparedStatements: boolean | 'auto'
  prefix: string
  schema: string
  appName: string
  schemaVersion: number
  minSchemaVersion: number
  maxUploadBatchSize: number
  maxPayloadBytes: number
  maxBodyBytes: number
  maxDownloadLimit: number
  authorize: Authorize | null
  beforeApply: BeforeApply | null
  admin: NonNullable<OversyncOptions['admin']> | null
  adminPrefix: string
  metrics: Metrics | null
}

const NAME = /^[a-z0-9_]{1,63}$/

/** Checks the options and fills in the defaults. Throws a ConfigurationError that names the option. */
export function resolveOptions (options: OversyncOptions): ResolvedOptions {
  if (typeof options?.getIdentity !== 'function') throw new ConfigurationError('Option getIdentity must be a function (request) => { userId, deviceId }.')
  if (!Array.isArray(options.tables) || options.tables.length === 0) throw new ConfigurationError('Option tables must list at least one table, for example ["business.users"].')
  const database = options.database ?? process.env['DATABASE_URL']
  if (database === undefined || database === '') throw new ConfigurationError('Option database is missing and DATABASE_URL is not set.')
  const replica = options.replica ?? null
  for (const [name, given] of Object.entries({ database, replica })) {
    if (given === null || (typeof given === 'string' ? URL.canParse(given) : typeof given === 'function' || typeof given.withoutPlugins === 'function')) continue
    throw new ConfigurationError(`Option ${name} must be a connection string (postgres://…), a postgres.js instance or a Kysely instance.`)
  }
  if (options.metrics !== undefined && (typeof options.metrics?.add !== 'function' || typeof options.metrics.observe !== 'function')) {
    throw new ConfigurationError('Option metrics must have the functions add(name, by, labels) and observe(name, value, labels).')
  }
  if (![undefined, true, false, 'auto'].includes(options.preparedStatements)) throw new ConfigurationError("Option preparedStatements must be true, false or 'auto'.")
  const schema = options.schema ?? 'sync'
  if (!NAME.test(schema)) throw new ConfigurationError(`Option schema "${schema}" must match ${NAME}.`)
  const prefix = options.prefix ?? '/sync'
  if (!/^(\/[^/\s]+)+$/.test(prefix)) throw new ConfigurationError(`Option prefix "${prefix}" must begin with a slash and not end with one.`)
  const adminPrefix = options.adminPrefix ?? ''
  if (!/^(\/[^/\s]+)*$/.test(adminPrefix)) throw new ConfigurationError(`Option adminPrefix "${adminPrefix}" must be empty, or begin with a slash and not end with one.`)
  for (const hook of ['authorize', 'beforeApply', 'admin'] as const) {
    if (options[hook] !== undefined && typeof options[hook] !== 'function') throw new ConfigurationError(`Option ${hook} must be a function.`)
  }
  const tables = options.tables.map(resolveTable)
  const seen = new Set<string>()
  for (const { schema, table } of tables) {
    if (seen.has(`${schema}.${table}`)) throw new ConfigurationError(`Table ${schema}.${table} is registered twice.`)
    seen.add(`${schema}.${table}`)
  }
  return {
    tables,
    getIdentity: options.getIdentity,
    database,
    replica,
    preparedStatements: options.preparedStatements ?? 'auto',
    prefix,
    schema,
    appName: options.appName ?? 'fastify-oversync',
    schemaVersion: integer('schemaVersion', options.schemaVersion, 1, 0),
    minSchemaVersion: integer('minSchemaVersion', options.minSchemaVersion, 0, 0),
    maxUploadBatchSize: integer('maxUploadBatchSize', options.maxUploadBatchSize, MAX_UPLOAD_BATCH_SIZE, 1),
    maxPayloadBytes: integer('maxPayloadBytes', options.maxPayloadBytes, MAX_PAYLOAD_BYTES, 1),
    maxBodyBytes: integer('maxBodyBytes', options.maxBodyBytes, MAX_BODY_BYTES, 1),
    maxDownloadLimit: integer('maxDownloadLimit', options.maxDownloadLimit, MAX_DOWNLOAD_LIMIT, 1),
    authorize: options.authorize ?? null,
    beforeApply: options.beforeApply ?? null,
    admin: options.admin ?? null,
    adminPrefix,
    metrics: options.metrics ?? null
  }
}

/** A misspelt `owner` must not leave a table open. */
const TABLE_OPTIONS = new Set(['table', 'owner', 'columns', 'materialize', 'shared', 'exclude', 'direction', 'key', 'materializer', 'onMaterializeError'])
const KEY_KINDS = ['uuid', 'text', 'integer']

function resolveTable (entry: string | TableOptions): TableRegistration {
  const options = typeof entry === 'string' ? { table: entry } : entry
  if (typeof options?.table !== 'string') throw new ConfigurationError('Option tables has an entry without a table name.')
  for (const name of Object.keys(options)) {
    if (!TABLE_OPTIONS.has(name)) throw new ConfigurationError(`Table "${options.table}": there is no option ${name}.`)
  }
  const parts = options.table.split('.')
  const [schema, table] = parts.length === 1 ? ['public', parts[0] as string] : parts as [string, string]
  if (parts.length > 2 || !NAME.test(schema) || !NAME.test(table)) {
    throw new ConfigurationError(`Table "${options.table}" must be schema.table, each part matching ${NAME} (the wire has no other names).`)
  }
  const wrong = (what: string) => new ConfigurationError(`Table ${schema}.${table}${what}`)
  for (const [column, codec] of Object.entries(options.columns ?? {})) {
    if (codec !== 'epoch_s' && codec !== 'epoch_ms') throw wrong(`, column ${column}: unknown codec "${String(codec)}"; there are epoch_s and epoch_ms.`)
  }
  const { materializer = null, exclude = [], direction = 'both', onMaterializeError = 'reject' } = options
  const materialize = (options.materialize ?? true) && materializer === null
  if (materializer !== null && typeof materializer !== 'function') throw wrong(': materializer must be a function.')
  if (materializer !== null && options.materialize === false) throw wrong(': materialize false and a materializer exclude each other.')
  if (!['both', 'down', 'up'].includes(direction)) throw wrong(`: unknown direction "${String(direction)}"; there are both, down and up.`)
  if (!['reject', 'record'].includes(onMaterializeError)) throw wrong(`: unknown onMaterializeError "${String(onMaterializeError)}"; there are reject and record.`)
  if (!Array.isArray(exclude) || exclude.some(column => typeof column !== 'string')) throw wrong(': exclude must be a list of columns.')
  if (!materialize && (options.owner !== undefined || options.columns !== undefined)) throw wrong(': owner and columns need a table that the plugin writes.')
  if (materialize && options.key !== undefined) throw wrong(': its key is read from the catalog; the option key is for tables that the plugin does not write.')
  if (!materialize && materializer === null && onMaterializeError === 'record') throw wrong(': onMaterializeError needs materialize or a materializer.')
  return {
    schema,
    table,
    owner: options.owner ?? null,
    columns: new Map(Object.entries(options.columns ?? {})),
    materialize,
    materializer,
    shared: options.shared ?? false,
    exclude: new Set(exclude),
    direction,
    key: materialize ? null : resolveKey(options.key ?? 'uuid', wrong),
    recordsFailures: onMaterializeError === 'record'
  }
}

function resolveKey (key: NonNullable<TableOptions['key']>, wrong: (what: string) => ConfigurationError): NonNullable<TableRegistration['key']> {
  const parts = typeof key === 'string' ? [{ name: null, kind: key }] : Object.entries(key).map(([name, kind]) => ({ name, kind }))
  if (parts.length === 0 || parts.some(({ kind }) => !KEY_KINDS.includes(kind))) throw wrong(': its key must be uuid, text or integer, or name its columns with these kinds.')
  return parts
}

function integer (name: string, value: number | undefined, fallback: number, minimum: number): number {
  if (value === undefined) return fallback
  if (!Number.isSafeInteger(value) || value < minimum) throw new ConfigurationError(`Option ${name} must be an integer of at least ${minimum}.`)
  return value
}
