import { sql, type Kysely } from 'kysely'
import type { TableRegistration } from '../options.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'

/** Gives each registered table its number, once and for all. Returns the numbers by `schema.table`. */
export async function numberTables (db: Kysely<Database>, metadata: Metadata, registrations: TableRegistration[]): Promise<Map<string, number>> {
  const known = await readNumbers(db)
  const missing = registrations.filter(({ schema, table }) => !known.has(`${schema}.${table}`))
  // Look before inserting: a smallint identity is spent even where the conflict makes the insert do nothing.
  if (missing.length === 0) return known
  const names = JSON.stringify(missing.map(({ schema, table }) => ({ schema_name: schema, table_name: table })))
  await sql`
    insert into ${metadata.table('synced_table')} (schema_name, table_name)
    select x.schema_name, x.table_name from json_to_recordset(${names}::text::json) as x (schema_name text, table_name text)
    where not exists (select from ${metadata.table('synced_table')} t where t.schema_name = x.schema_name and t.table_name = x.table_name)
    order by x.schema_name, x.table_name
    on conflict do nothing`.execute(db)
  return await readNumbers(db)
}

async function readNumbers (db: Kysely<Database>): Promise<Map<string, number>> {
  const rows = await db.selectFrom('synced_table').select(['table_id', 'schema_name', 'table_name']).execute()
  return new Map(rows.map(row => [`${row.schema_name}.${row.table_name}`, row.table_id]))
}
