import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Sql } from 'postgres'
import type { Test } from 'tap'
import { createBusinessSchema, SYNCED_TABLES } from '../../examples/server/business-schema.js'
import type { AppliedStatus, ConflictStatus, InvalidStatus } from '../../src/contract/change-status.js'
import type { DownloadResponse } from '../../src/contract/download-response.js'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { UploadResponse } from '../../src/contract/upload-response.js'
import oversync, { type OversyncOptions, type TableOptions } from '../../src/index.js'
import type { Reply } from './contract.js'
import { freshDb } from './db.js'
import { checkEveryReply } from './every-reply.js'

export interface AppOptions extends Partial<Omit<OversyncOptions, 'tables'>> {
  /** Tables beside the business tables of the example; `alone` leaves those out. */
  tables?: Array<string | TableOptions>
  alone?: boolean
  /** Fastify's own options. */
  fastify?: FastifyServerOptions
  /** SQL that makes what the tables need, run before the plugin starts. */
  schemaSql?: string
}

export interface World {
  app: FastifyInstance
  /** Connections to the app's database, for looking and for meddling. */
  sql: Sql
  /** Connection string of that database. */
  url: string
  /** A device of a user; newer client unless told otherwise. */
  user: (userId: string, deviceId?: string, options?: CallerOptions) => Caller
}

/** An app with the plugin on a database of its own, with the example's business tables and what the test adds. */
export async function buildApp (t: Test, { schemaSql, ...options }: AppOptions = {}): Promise<World> {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  if (schemaSql !== undefined) await sql.unsafe(schemaSql)
  const app = await startApp(t, { database: url, ...options })
  return { app, sql, url, user: (userId, deviceId, callerOptions) => caller(app, userId, deviceId, callerOptions) }
}

/** An app over a database that is there already: another process of the same server, as far as the database can tell. */
export async function startApp (t: Test, { tables = [], alone = false, fastify = {}, ...options }: Omit<AppOptions, 'schemaSql'>): Promise<FastifyInstance> {
  const app = Fastify(fastify)
  t.teardown(async () => { await app.close() })
  checkEveryReply(t, app, options.prefix)
  await app.register(oversync, { getIdentity: identityFromHeaders, tables: alone ? tables : [...SYNCED_TABLES, ...tables], ...options })
  await app.ready()
  return app
}

const identityFromHeaders: OversyncOptions['getIdentity'] = ({ headers }) => {
  const [userId, deviceId, scope] = [headers['x-user'], headers['x-device'], headers['x-scope']] as Array<string | undefined>
  return userId === undefined || deviceId === undefined ? null : { userId, deviceId, ...(scope === undefined ? {} : { scope }) }
}

export interface CallerOptions {
  scope?: string
  /** A client of the original generation: it sends no epoch. */
  older?: boolean
  /** Path under which the plugin lives. */
  prefix?: string
  /** Path before the admin routes. */
  adminPrefix?: string
}

export type Status = AppliedStatus | ConflictStatus | InvalidStatus
/** A reply, its parse and its text, in which numbers have their exact digits. */
export type Read<T> = T & { text: string }
type Query = Record<string, string | number | boolean>

export interface Caller {
  /** Uploads changes and expects 200. */
  upload: (changes: UploadChange[], fields?: Record<string, unknown>) => Promise<Read<UploadResponse>>
  /** Uploads a body as it is, whatever the answer. */
  uploadText: (body: string | Buffer, headers?: Record<string, string>) => Promise<Reply>
  /** Reads a page and expects 200. */
  download: (query?: Query) => Promise<Read<DownloadResponse>>
  /** Any request of this caller, whatever the answer. */
  request: (options: InjectOptions & { url: string }) => Promise<Reply>
  /** The same for an admin route, such as `/admin/materialize-failures`. */
  admin: (options: InjectOptions & { url: string }) => Promise<Reply>
  /** The epoch that this caller sends. */
  epoch: () => Promise<string>
}

/** A device as the server sees it: its requests and the replies. */
export function caller (app: FastifyInstance, userId: string, deviceId = 'phone', { scope, older = false, prefix = '/sync', adminPrefix = '' }: CallerOptions = {}): Caller {
  let known: Promise<string> | undefined
  const request: Caller['request'] = async options => {
    const headers = { 'x-user': userId, 'x-device': deviceId, ...(scope === undefined ? {} : { 'x-scope': scope }), ...options.headers }
    return await app.inject({ ...options, url: prefix + options.url, headers })
  }
  const admin: Caller['admin'] = async options =>
    await app.inject({ ...options, url: adminPrefix + options.url, headers: { 'x-user': userId, 'x-device': deviceId, ...options.headers } })
  const uploadText: Caller['uploadText'] = async (body, headers = {}) =>
    await request({ method: 'POST', url: '/upload', body, headers: { 'content-type': 'application/json', ...headers } })
  const epoch: Caller['epoch'] = async () => {
    known ??= uploadText('{}').then(reply => read<UploadResponse>(reply).epoch)
    return await known
  }
  return {
    request,
    admin,
    uploadText,
    epoch,
    upload: async (changes, fields = {}) =>
      read<UploadResponse>(await uploadText(JSON.stringify({ ...(older ? {} : { epoch: await epoch() }), changes, ...fields }))),
    download: async (query = {}) =>
      read<DownloadResponse>(await request({ url: `/download?${new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]))}` }))
  }
}

/** The parse of a reply that must be 200. */
export function read<T> ({ statusCode, body }: Reply): Read<T> {
  if (statusCode !== 200) throw new Error(`Answered ${statusCode}: ${body}`)
  return { ...JSON.parse(body) as T, text: body }
}

/** The nth uuid. */
export function uuid (n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
}

/** An INSERT or UPDATE as a device sends it. `table` is `schema.table`, or a table of the schema `business`. */
export function put (id: number, table: string, pk: string, payload: Record<string, unknown>, base = 0): UploadChange {
  return { source_change_id: id, ...named(table), op: base === 0 ? 'INSERT' : 'UPDATE', pk, server_version: base, payload: { id: pk, ...payload } }
}

export function del (id: number, table: string, pk: string, base: number): UploadChange {
  return { source_change_id: id, ...named(table), op: 'DELETE', pk, server_version: base }
}

/** The row of a user, short enough for tables of tests. */
export function john (name = 'John'): Record<string, unknown> {
  return { name, email: `${name.toLowerCase()}@example.com` }
}

function named (name: string): { schema: string, table: string } {
  const [schema, table] = name.includes('.') ? name.split('.') as [string, string] : ['business', name]
  return { schema, table }
}

/** Verdicts in one line each, for comparing with a table: `1 applied v1`, `2 conflict v3`, `3 invalid fk_missing`. */
export function verdicts ({ statuses }: { statuses: Status[] }): string[] {
  return statuses.map(status => `${status.source_change_id} ${verdict(status)}`)
}

export function verdict (status: Status): string {
  switch (status.status) {
    case 'applied': return `applied${status.new_server_version === undefined ? '' : ` v${status.new_server_version}`}${status.server_row === undefined ? '' : ` row ${serverRow(status.server_row)}`}`
    case 'conflict': return `conflict ${serverRow(status.server_row)}`
    case 'invalid': return `invalid ${status.invalid.reason}`
  }
}

function serverRow ({ server_version: version, deleted }: ConflictStatus['server_row']): string {
  return `v${version}${deleted ? ' deleted' : ''}`
}

/** The log of a scope in one line each: `1 users 1 I v1` for position, table, key's last digits, operation and version. */
export async function log (sql: Sql, scope: string): Promise<string[]> {
  const rows = await sql<Array<{ server_id: string, table_name: string, pk: string, op: string, version: string }>>`
    select server_id, table_name, pk, op, version from sync.changes where scope = ${scope} order by server_id`
  return rows.map(({ server_id: position, table_name: table, pk, op, version }) => `${position} ${table} ${shortKey(pk)} ${op[0] as string} v${version}`)
}

/** The last digits of a key that `uuid` made. */
export function shortKey (pk: string): string {
  return String(Number(pk.slice(-12)))
}

/** Throws where the stream of a scope is not what it must be after any history. */
export async function assertSound (t: Test, sql: Sql, scope: string): Promise<void> {
  const entries = await sql<Array<Record<'server_id' | 'source_no' | 'source_change_id' | 'table_id' | 'version', number> & { pk: string, op: string }>>`
    select l.server_id::int, l.source_no, l.source_change_id::float8, l.table_id, l.version::int, l.pk, l.op::text
    from sync.change_log l join sync.scope s using (scope_id) where s.name = ${scope} order by l.server_id`
  const [stream] = await sql<Array<{ head: number }>>`select st.head::int from sync.stream st join sync.scope s using (scope_id) where s.name = ${scope}`
  t.strictSame(entries.map(entry => entry.server_id), entries.map((_, i) => i + 1), 'the log is dense from 1')
  t.equal(stream?.head ?? 0, entries.length, 'the head is the last position')
  t.equal(new Set(entries.map(entry => `${entry.source_no} ${entry.source_change_id}`)).size, entries.length, 'at most one entry a source_change_id')
  const latest = new Map<string, { version: number, server_id: number, deleted: boolean }>()
  const gaps: string[] = []
  for (const entry of entries) {
    const row = `${entry.table_id} ${entry.pk}`
    if (entry.version !== (latest.get(row)?.version ?? 0) + 1) gaps.push(`${row} v${entry.version}`)
    latest.set(row, { version: entry.version, server_id: entry.server_id, deleted: entry.op === 'D' })
  }
  t.strictSame(gaps, [], 'versions of each row are 1, 2, 3 …')
  const states = await sql<Array<{ table_id: number, pk: string, version: number, server_id: number, deleted: boolean }>>`
    select r.table_id, r.pk, r.version::int, r.server_id::int, r.deleted from sync.row_state r join sync.scope s using (scope_id) where s.name = ${scope}`
  t.strictSame(new Map(states.map(({ table_id: table, pk, ...state }) => [`${table} ${pk}`, { ...state }] as const).sort()), new Map([...latest].sort()), 'row states tell the latest entries')
}
