import type { Sql } from 'postgres'

/** Tables of an app: one that stands alone, and three that refer to each other. */
export async function createTables (sql: Sql): Promise<void> {
  await sql.unsafe(`
    create schema business;
    create table business.notes (id uuid primary key, title text not null, body text not null, stars integer not null, done boolean not null, updated timestamptz not null);
    create table business.authors (id uuid primary key, name text not null);
    create table business.posts (id uuid primary key, author_id uuid not null references business.authors, title text not null);
    create table business.comments (id uuid primary key, post_id uuid not null references business.posts, body text not null);`)
}

export const SYNCED_TABLES = ['business.notes', 'business.authors', 'business.posts', 'business.comments']

/** The table of notes on a device. */
export const LOCAL_NOTES = 'create table notes (id text primary key, title text not null, body text not null, stars integer not null, done integer not null, updated text not null)'
