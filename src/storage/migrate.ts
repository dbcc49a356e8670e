import { sql, type Kysely, type Migration, type Migrator } from 'kysely'
import { ConfigurationError } from '../errors.js'
import type { Database } from './database.js'
import { requireMetadata, requireOwnSchema } from './metadata-check.js'
import { initial } from './migrations/0001-initial.js'
import { hooksAndFailures } from './migrations/0002-hooks-and-failures.js'

/**
 * Brings the metadata schema to this version. Kysely's migrator holds an advisory lock and one transaction, so that many
 * processes may start at once on an empty database; where nothing is to be done it writes nothing.
 */
export async function migrate (db: Kysely<Database>, schema: string): Promise<void> {
  const migrations: Record<string, Migration> = {
    '0001-initial': initial(schema),
    '0002-hooks-and-failures': hooksAndFailures(schema)
  }
  await requireOwnSchema(db, schema, Object.keys(migrations))
  const KyselyMigrator = await loadMigrator()
  const migrator = new KyselyMigrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableSchema: schema,
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock'
  })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) throw error
  await requireMetadata(db, schema)
  await requireDurableTables(db, schema)
}

/** Kysely 0.29 keeps its migrator in a module of its own; 0.28 has it among its main exports. */
async function loadMigrator (): Promise<typeof Migrator> {
  const place: string = 'kysely/migration'
  // Loaders report a missing path in ways of their own: whatever the reason, the other place is where it must be then.
  const found = await import(place).catch(async () => await import('kysely')) as { Migrator: typeof Migrator }
  return found.Migrator
}

/** An unlogged log would be empty after a crash of the database, with devices told that all was well. */
async function requireDurableTables (db: Kysely<Database>, schema: string): Promise<void> {
  const { rows } = await sql<{ relname: string }>`
    select c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relkind in ('r', 'p') and c.relpersistence <> 'p'`.execute(db)
  if (rows.length > 0) throw new ConfigurationError(`Tables of schema ${schema} must be LOGGED: ${rows.map(({ relname }) => relname).join(', ')}.`)
}
