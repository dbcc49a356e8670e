import { sql, type Kysely } from 'kysely'
import { ConfigurationError } from '../errors.js'
import type { Database } from './database.js'

/** Keys of the metadata's tables (primary and unique), and their columns: the types make sure that none is left out. */
const KEYS: { [T in keyof Database]: string[] } = {
  meta: ['singleton'],
  scope: ['scope_id', 'name'],
  stream: ['scope_id'],
  source: ['scope_id,source_no', 'scope_id,user_id,source_id'],
  synced_table: ['table_id', 'schema_name,table_name'],
  row_state: ['scope_id,table_id,pk'],
  change_log: ['scope_id,server_id', 'scope_id,source_no,source_change_id'],
  materialize_failure: ['id', 'scope_id,table_id,pk']
}

const COLUMNS: { [T in keyof Database]: Record<keyof Database[T], true> } = {
  meta: { singleton: true, epoch: true },
  scope: { scope_id: true, name: true },
  stream: { scope_id: true, head: true, floor: true, compacted_through: true },
  source: { scope_id: true, source_no: true, user_id: true, source_id: true, max_change_id: true, last_seen: true, cursor: true },
  synced_table: { table_id: true, schema_name: true, table_name: true },
  row_state: { scope_id: true, table_id: true, pk: true, version: true, deleted: true, server_id: true, shape: true },
  change_log: { scope_id: true, server_id: true, source_no: true, source_change_id: true, table_id: true, op: true, pk: true, version: true, payload: true, carried: true, sent_digest: true, payload_bytes: true, ts: true },
  materialize_failure: { id: true, scope_id: true, table_id: true, pk: true, source_no: true, version: true, op: true, in_table: true, reason: true, message: true, sqlstate: true, constraint_name: true, attempts: true, first_seen: true, last_seen: true }
}

const ANOTHER_SCHEMA = 'Give the metadata a schema of its own by the option schema, for example { schema: "oversync" }.'

/**
 * Names of the migrations that were done. Refuses a schema that is not this plugin's, or that a newer version of it has made:
 * one with migrations that are not among the `known`.
 */
export async function readMigrations (db: Kysely<any>, schema: string, known: readonly string[]): Promise<Set<string>> {
  // First the tables, then what was done: a process that migrates at this moment shows them in that order at the earliest.
  const columns = await readColumns(db, schema)
  const ledger = columns.get('migration')
  const done = new Set<string>()
  if (ledger !== undefined) {
    if (!ledger.has('name') || !ledger.has('timestamp')) throw new ConfigurationError(`The table migration of schema ${schema} belongs to something else. ${ANOTHER_SCHEMA}`)
    const { rows } = await sql<{ name: string }>`select name from ${sql.table(`${schema}.migration`)} order by name`.execute(db)
    for (const { name } of rows) done.add(name)
  }
  const unknown = [...done].filter(name => !known.includes(name))
  if (unknown.length > 0) {
    throw new ConfigurationError(`Schema ${schema} was made by a newer version of fastify-oversync (${unknown.join(', ')}). Update this server. If the schema is not the plugin's: ${ANOTHER_SCHEMA}`)
  }
  const foreign = Object.keys(COLUMNS).filter(table => columns.has(table))
  if (done.size === 0 && foreign.length > 0) {
    throw new ConfigurationError(`Schema ${schema} has tables that fastify-oversync did not make: ${foreign.join(', ')}. ${ANOTHER_SCHEMA} If the table ${schema}.migration was lost, restore it from a backup.`)
  }
  return done
}

/**
 * After migrating: what the plugin relies on must be there. More is allowed, since a newer version that is being rolled out
 * adds before it takes away.
 */
export async function requireMetadata (db: Kysely<any>, schema: string): Promise<void> {
  const [columns, keys] = [await readColumns(db, schema), await readKeys(db, schema)]
  const missing: string[] = []
  for (const [table, names] of Object.entries(COLUMNS)) {
    const found = columns.get(table)
    if (found === undefined) {
      missing.push(`table ${table}`)
      continue
    }
    missing.push(...Object.keys(names).filter(name => !found.has(name)).map(name => `column ${table}.${name}`))
    missing.push(...KEYS[table as keyof Database].filter(key => keys.get(table)?.has(key) !== true).map(key => `key ${table} (${key.replaceAll(',', ', ')})`))
  }
  if (missing.length === 0) {
    const { rows: [meta] } = await sql<{ count: number }>`select count(*)::int as count from ${sql.table(`${schema}.meta`)}`.execute(db)
    if (meta?.count !== 1) missing.push('the row of meta, which holds the epoch')
  }
  if (missing.length > 0) {
    throw new ConfigurationError(`Schema ${schema} is damaged. Missing: ${missing.join('; ')}. Restore it from a backup together with the business tables and renew the epoch; do not make it by hand, devices would lose changes.`)
  }
}

/** As JSON text: an instance of the app's own may not read arrays (`fetch_types` of postgres.js). */
async function readColumns (db: Kysely<any>, schema: string): Promise<Map<string, Set<string>>> {
  const { rows } = await sql<{ name: string, columns: string }>`
    select c.relname as name, json_agg(a.attname)::text as columns
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = ${schema} and c.relkind in ('r', 'p', 'v', 'm', 'f')
    group by c.oid, c.relname`.execute(db)
  return new Map(rows.map(({ name, columns }) => [name, new Set(JSON.parse(columns) as string[])]))
}

/** Unique indexes that PostgreSQL enforces over all rows, as their columns in order. */
async function readKeys (db: Kysely<any>, schema: string): Promise<Map<string, Set<string>>> {
  const { rows } = await sql<{ name: string, keys: string }>`
    select c.relname as name, json_agg(k.columns)::text as keys
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join lateral (
      select string_agg(a.attname::text, ',' order by x.place) as columns
      from unnest(i.indkey) with ordinality as x (number, place)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = x.number) k
    where n.nspname = ${schema} and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
    group by c.oid, c.relname`.execute(db)
  return new Map(rows.map(({ name, keys }) => [name, new Set(JSON.parse(keys) as string[])]))
}
