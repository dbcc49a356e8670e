import { sql, type Kysely } from 'kysely'

/** The stream, its ledger and the truth about rows. `schema` is where the metadata lives. */
export const initial = (schema: string) => ({
  async up (db: Kysely<any>): Promise<void> {
    const name = (table: string) => sql.table(`${schema}.${table}`)

    await sql`create table ${name('meta')} (
      singleton boolean not null primary key default true check (singleton),
      epoch text not null)`.execute(db)
    await sql`insert into ${name('meta')} (epoch) values (gen_random_uuid()::text)`.execute(db)

    await sql`create table ${name('scope')} (
      scope_id bigint not null generated always as identity primary key,
      name text collate "C" not null unique)`.execute(db)

    await sql`create table ${name('stream')} (
      scope_id bigint not null primary key references ${name('scope')},
      head bigint not null default 0,
      floor bigint not null default 0,
      compacted_through bigint not null default 0)`.execute(db)

    await sql`create table ${name('source')} (
      scope_id bigint not null,
      source_no integer not null,
      user_id text collate "C" not null,
      source_id text collate "C" not null,
      max_change_id bigint not null default 0,
      last_seen timestamptz not null default now(),
      cursor bigint,
      primary key (scope_id, source_no),
      unique (scope_id, user_id, source_id))`.execute(db)

    await sql`create table ${name('synced_table')} (
      table_id smallint not null generated always as identity primary key,
      schema_name text collate "C" not null,
      table_name text collate "C" not null,
      unique (schema_name, table_name))`.execute(db)

    await sql`create table ${name('row_state')} (
      scope_id bigint not null,
      server_id bigint not null,
      version bigint not null,
      shape bigint not null,
      table_id smallint not null,
      deleted boolean not null,
      pk text collate "C" not null,
      primary key (scope_id, table_id, pk))`.execute(db)

    // No foreign keys to scope and source: the stream lock already guards them, and checks would cost each row.
    await sql`create table ${name('change_log')} (
      scope_id bigint not null,
      server_id bigint not null,
      source_change_id bigint not null,
      version bigint not null,
      ts timestamptz not null default now(),
      source_no integer not null,
      payload_bytes integer not null default 0,
      table_id smallint not null,
      carried smallint not null default 0,
      op "char" not null check (op in ('I', 'U', 'D')),
      pk text collate "C" not null,
      payload json,
      primary key (scope_id, server_id),
      unique (scope_id, source_no, source_change_id),
      check ((op = 'D') = (payload is null)))`.execute(db)

    await sql`create view ${name('changes')} as
      select sc.name as scope, l.server_id, t.schema_name, t.table_name,
        case l.op when 'I' then 'INSERT' when 'U' then 'UPDATE' else 'DELETE' end as op,
        l.pk, l.version, so.user_id, so.source_id, l.source_change_id, l.ts, l.payload
      from ${name('change_log')} l
      join ${name('scope')} sc using (scope_id)
      join ${name('synced_table')} t using (table_id)
      left join ${name('source')} so using (scope_id, source_no)`.execute(db)

    await sql`create view ${name('rows')} as
      select sc.name as scope, t.schema_name, t.table_name, r.pk, r.version, r.deleted, r.server_id, l.payload
      from ${name('row_state')} r
      join ${name('scope')} sc using (scope_id)
      join ${name('synced_table')} t using (table_id)
      left join ${name('change_log')} l on l.scope_id = r.scope_id and l.server_id = r.server_id`.execute(db)
  }
})
