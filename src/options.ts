import type { FastifyRequest } from 'fastify'
import type { Kysely } from 'kysely'
import type { Sql } from 'postgres'
import { ConfigurationError } from './errors.js'
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
  /** Where counters and histograms go; docs/metrics.md lists them. Default: nowhere. */
  metrics?: Metrics
}

/** A table as registered: names checked, defaults filled in, not yet compared with the catalog. */
export interface TableRegistration {
  schema: string
  table: string
  owner: string | null
  columns: ReadonlyMap<string, ColumnCodec>
  materialize: boolean
  shared: boolean
}

export interface ResolvedOptions {
  tables: TableRegistration[]
  getIdentity: OversyncOptions['getIdentity']
  database: string | Sql | Kysely<any>
  prefix: string
  schema: string
  appName: string
  schemaVersion: number
  minSchemaVersion: number
  maxUploadBatchSize: number
  maxPayloadBytes: number
  maxBodyBytes: number
  maxDownloadLimit: number
  metrics: Metrics | null
}

const NAME = /^[a-z0-9_]{1,63}$/

/** Checks the options and fills in the defaults. Throws a ConfigurationError that names the option. */
export function resolveOptions (options: OversyncOptions): ResolvedOptions {
  if (typeof options?.getIdentity !== 'function') throw new ConfigurationError('Option getIdentity must be a function (request) => { userId, deviceId }.')
  if (!Array.isArray(options.tables) || options.tables.length === 0) throw new ConfigurationError('Option tables must list at least one table, for example ["business.users"].')
  const database = options.database ?? process.env['DATABASE_URL']
  if (database === undefined || database === '') throw new ConfigurationError('Option database is missing and DATABASE_URL is not set.')
  if (typeof database === 'string' ? !URL.canParse(database) : typeof database !== 'function' && typeof database.withoutPlugins !== 'function') {
    throw new ConfigurationError('Option database must be a connection string (postgres://…), a postgres.js instance or a Kysely instance.')
  }
  if (options.metrics !== undefined && (typeof options.metrics?.add !== 'function' || typeof options.metrics.observe !== 'function')) {
    throw new ConfigurationError('Option metrics must have the functions add(name, by, labels) and observe(name, value, labels).')
  }
  const schema = options.schema ?? 'sync'
  if (!NAME.test(schema)) throw new ConfigurationError(`Option schema "${schema}" must match ${NAME}.`)
  const prefix = options.prefix ?? '/sync'
  if (!/^(\/[^/\s]+)+$/.test(prefix)) throw new ConfigurationError(`Option prefix "${prefix}" must begin with a slash and not end with one.`)
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
    prefix,
    schema,
    appName: options.appName ?? 'fastify-oversync',
    schemaVersion: integer('schemaVersion', options.schemaVersion, 1, 0),
    minSchemaVersion: integer('minSchemaVersion', options.minSchemaVersion, 0, 0),
    maxUploadBatchSize: integer('maxUploadBatchSize', options.maxUploadBatchSize, MAX_UPLOAD_BATCH_SIZE, 1),
    maxPayloadBytes: integer('maxPayloadBytes', options.maxPayloadBytes, MAX_PAYLOAD_BYTES, 1),
    maxBodyBytes: integer('maxBodyBytes', options.maxBodyBytes, MAX_BODY_BYTES, 1),
    maxDownloadLimit: integer('maxDownloadLimit', options.maxDownloadLimit, MAX_DOWNLOAD_LIMIT, 1),
    metrics: options.metrics ?? null
  }
}

/** A misspelt `owner` must not leave a table open. */
const TABLE_OPTIONS = new Set(['table', 'owner', 'columns', 'materialize', 'shared'])

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
  for (const [column, codec] of Object.entries(options.columns ?? {})) {
    if (codec !== 'epoch_s' && codec !== 'epoch_ms') throw new ConfigurationError(`Table ${schema}.${table}, column ${column}: unknown codec "${String(codec)}"; there are epoch_s and epoch_ms.`)
  }
  const materialize = options.materialize ?? true
  if (!materialize && (options.owner !== undefined || options.columns !== undefined)) {
    throw new ConfigurationError(`Table ${schema}.${table}: owner and columns need materialize.`)
  }
  return { schema, table, owner: options.owner ?? null, columns: new Map(Object.entries(options.columns ?? {})), materialize, shared: options.shared ?? false }
}

function integer (name: string, value: number | undefined, fallback: number, minimum: number): number {
  if (value === undefined) return fallback
  if (!Number.isSafeInteger(value) || value < minimum) throw new ConfigurationError(`Option ${name} must be an integer of at least ${minimum}.`)
  return value
}
