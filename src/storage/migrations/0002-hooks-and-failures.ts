import { sql, type Kysely } from 'kysely'

/** What was sent where the database altered a row, and rows that could not be written to their table. */
export const hooksAndFailures = (schema: string) => ({
  async up (db: Kysely<any>): Promise<void> {
    const name = (table: string) => sql.table(`${schema}.${table}`)

    await sql`alter table ${name('change_log')} add column sent_digest text collate "C"`.execute(db)

    await sql`create table ${name('materialize_failure')} (
      id bigint not null generated always as identity primary key,
      scope_id bigint not null,
      version bigint not null,
      first_seen timestamptz not null default now(),
      last_seen timestamptz not null default now(),
      source_no integer not null,
      attempts integer not null default 1,
      table_id smallint not null,
      op "char" not null check (op in ('I', 'U', 'D')),
      in_table boolean not null,
      pk text collate "C" not null,
      reason text not null,
      message text not null,
      sqlstate text,
      constraint_name text,
      unique (scope_id, table_id, pk))`.execute(db)
  }
})
