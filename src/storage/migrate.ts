import { sql, type Kysely, type Transaction } from 'kysely'
import { ConfigurationError } from '../errors.js'
import { IDLE_IN_TRANSACTION_TIMEOUT_MS, MIGRATION_LOCK_TIMEOUT_MS } from '../limits.js'
import type { Database } from './database.js'
import { readMigrations, requireMetadata } from './metadata-check.js'
import { initial } from './migrations/0001-initial.js'
import { hooksAndFailures } from './migrations/0002-hooks-and-failures.js'

interface Migration {
  up: (db: Kysely<any>) => Promise<void>
}

/** Advisory locks share one space of numbers in a database; this one is "oversync" as eight bytes of ASCII. */
const LOCK = '8031718527699873379'

/**
 * Brings the metadata schema to this version, in one transaction under an advisory lock that ends with it: many processes may
 * start at once on an empty database, one that is killed leaves nothing behind, and a pooler that gives each transaction
 * another connection cannot keep the lock. Where nothing is to be done nothing is locked or written.
 */
export async function migrate (db: Kysely<Database>, schema: string): Promise<void> {
  const migrations = new Map<string, Migration>([
    ['0001-initial', initial(schema)],
    ['0002-hooks-and-failures', hooksAndFailures(schema)]
  ])
  if ((await findPending(db, schema, migrations)).length > 0) {
    await db.transaction().setIsolationLevel('read committed').execute(async trx => {
      await waitForTurn(trx)
      for (const name of await findPending(trx, schema, migrations)) {
        await prepareSchema(trx, schema)
        await (migrations.get(name) as Migration).up(trx)
        await sql`insert into ${sql.table(`${schema}.migration`)} (name, timestamp) values (${name}, ${new Date().toISOString()})`.execute(trx)
      }
    })
  }
  await requirePrivileges(db, schema)
  await requireMetadata(db, schema)
  await requireDurableTables(db, schema)
}

/** Names of the migrations that are still to be done, in order. */
async function findPending (db: Kysely<any>, schema: string, migrations: ReadonlyMap<string, Migration>): Promise<string[]> {
  const known = [...migrations.keys()]
  const done = await readMigrations(db, schema, known)
  return known.filter(name => !done.has(name))
}

/** The statement after this one sees what another process did meanwhile: each has a snapshot of its own. */
async function waitForTurn (trx: Transaction<any>): Promise<void> {
  await sql`select
    set_config('lock_timeout', ${sql.lit(`${MIGRATION_LOCK_TIMEOUT_MS}ms`)}, true),
    set_config('idle_in_transaction_session_timeout', ${sql.lit(`${IDLE_IN_TRANSACTION_TIMEOUT_MS}ms`)}, true)`.execute(trx)
  await sql`select pg_catalog.pg_advisory_xact_lock(${sql.lit(LOCK)}::bigint)`.execute(trx)
}

async function prepareSchema (trx: Transaction<any>, schema: string): Promise<void> {
  // Look first: even with "if not exists" the statement needs the right to create schemas.
  const { rows } = await sql`select from pg_catalog.pg_namespace where nspname = ${schema}`.execute(trx)
  if (rows.length === 0) await sql`create schema ${sql.id(schema)}`.execute(trx)
  await sql`create table if not exists ${sql.table(`${schema}.migration`)} (name varchar(255) not null primary key, timestamp varchar(255) not null)`.execute(trx)
}

/** An unlogged log would be empty after a crash of the database, with devices told that all was well. */
async function requireDurableTables (db: Kysely<Database>, schema: string): Promise<void> {
  const { rows } = await sql<{ relname: string }>`
    select c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relkind in ('r', 'p') and c.relpersistence <> 'p'`.execute(db)
  if (rows.length > 0) throw new ConfigurationError(`Tables of schema ${schema} must be LOGGED: ${rows.map(({ relname }) => relname).join(', ')}.`)
}

/** What the plugin does with its tables. A missing right would otherwise show with the first device that needs it. */
const PRIVILEGES = {
  meta: ['select'],
  scope: ['select', 'insert'],
  stream: ['select', 'insert', 'update'],
  source: ['select', 'insert', 'update'],
  synced_table: ['select', 'insert'],
  row_state: ['select', 'insert', 'update'],
  change_log: ['select', 'insert', 'update'],
  materialize_failure: ['select', 'insert', 'update', 'delete']
} as const satisfies Record<keyof Database, string[]>

async function requirePrivileges (db: Kysely<Database>, schema: string): Promise<void> {
  const wanted = JSON.stringify(Object.entries(PRIVILEGES).flatMap(([table, privileges]) => privileges.map(privilege => ({ t: table, p: privilege }))))
  const { rows } = await sql<{ missing: string }>`
    select upper(x.p) || ' on ' || n.nspname || '.' || c.relname as missing
    from json_to_recordset(${wanted}::text::json) as x (t text, p text)
    join pg_catalog.pg_namespace n on n.nspname = ${schema}
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = x.t
    where not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, x.p))`.execute(db)
  if (rows.length > 0) throw new ConfigurationError(`The database role lacks rights on the metadata: ${rows.map(({ missing }) => missing).join(', ')}.`)
}
