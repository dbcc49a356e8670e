import { sql, type Kysely } from 'kysely'
import type { TableRegistration } from '../options.js'
import type { Database } from './database.js'
import type { Metadata } from './metadata.js'

/** Gives each registered table its number, once and for all. Returns the numbers by `schema.table`. */
export async function numberTables (db: Kysely<Database>, metadata: Metadata, registrations: TableRegistration[]): Promise<Map<string, number>> {
  const names = JSON.stringify(registrations.map(({ schema, table }) => ({ schema_name: schema, table_name: table })))
  // Look before inserting: a smallint identity is spent even where the conflict makes the insert do nothing.
  await sql`
    insert into ${metadata.table('synced_table')} (schema_name, table_name)
    select x.schema_name, x.table_name from json_to_recordset(${names}::text::json) as x (schema_name text, table_name text)
    where not exists (select from ${metadata.table('synced_table')} t where t.schema_name = x.schema_name and t.table_name = x.table_name)
    order by x.schema_name, x.table_name
    on conflict do nothing`.execute(db)
  const rows = await db.selectFrom('synced_table').select(['table_id', 'schema_name', 'table_name']).execute()
  return new Map(rows.map(row => [`${row.schema_name}.${row.table_name}`, row.table_id]))
}
