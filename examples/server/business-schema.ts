import type { TableOptions } from 'fastify-oversync'
import type { Sql } from 'postgres'

/** The app's tables that sync. Devices keep whole seconds where PostgreSQL has timestamps. */
export const SYNCED_TABLES: TableOptions[] = [
  { table: 'business.users', columns: { created_at: 'epoch_s', updated_at: 'epoch_s' } },
  { table: 'business.posts', columns: { created_at: 'epoch_s', updated_at: 'epoch_s' } },
  { table: 'business.files' },
  { table: 'business.file_reviews' },
  { table: 'business.typed_rows' }
]

/** Two servers may start at once, and `if not exists` alone does not keep them apart. Any number will do; this is "business" on a telephone's keys. */
const LOCK = 28746377

/**
 * Creates what is missing. The columns are nullable and have no defaults unless the app needs it: rows are written on
 * devices, and a value that only PostgreSQL adds would be missing there.
 */
export async function createBusinessSchema (sql: Sql): Promise<void> {
  await sql.begin(async sql => {
    await sql`select pg_advisory_xact_lock(${LOCK})`
    await sql`create schema if not exists business`
    await sql`
      create table if not exists business.users (
        id uuid primary key,
        name text not null,
        email text not null,
        created_at timestamptz,
        updated_at timestamptz
      )`
    await sql`
      create table if not exists business.posts (
        id uuid primary key,
        title text not null,
        content text,
        author_id uuid references business.users,
        created_at timestamptz,
        updated_at timestamptz
      )`
    await sql`
      create table if not exists business.files (
        id uuid primary key,
        name text not null,
        data bytea
      )`
    await sql`
      create table if not exists business.file_reviews (
        id uuid primary key,
        review text,
        file_id uuid references business.files on delete cascade
      )`
    await sql`
      create table if not exists business.typed_rows (
        id uuid primary key,
        big bigint,
        dec numeric,
        flag boolean,
        ratio double precision,
        doc jsonb,
        note text check (length(note) <= 1000),
        blob bytea
      )`
    // PostgreSQL does not index the referring side by itself; without it every delete of a parent reads all children.
    await sql`create index if not exists posts_author_id on business.posts (author_id)`
    await sql`create index if not exists file_reviews_file_id on business.file_reviews (file_id)`
  })
}
