export interface LocalTablesOptions {
  /** What keys and references are stored as: text as on the wire, or blobs of 16 bytes. */
  key?: 'text' | 'blob'
  /** Whether the device's tables declare the foreign keys that the server's have. */
  references?: boolean
}

/** What the app on the device creates for itself: plain SQLite tables, no sync columns. */
export function localTables ({ key = 'text', references = true }: LocalTablesOptions = {}): string {
  const refersTo = (parent: string): string => references ? ` references ${parent}` : ''
  return `
    create table users (id ${key} primary key, name text not null, email text not null, created_at integer, updated_at integer);
    create table posts (id ${key} primary key, title text not null, content text, author_id ${key}${refersTo('users (id)')}, created_at integer, updated_at integer);
    create table files (id ${key} primary key, name text not null, data blob);
    create table file_reviews (id ${key} primary key, review text, file_id ${key}${refersTo('files (id) on delete cascade')});
    create table typed_rows (id ${key} primary key, big integer, dec text, flag boolean, ratio real, doc json_text, note text, blob blob);
  `
}

export const LOCAL_TABLES = localTables()

export const TABLES = ['users', 'posts', 'files', 'file_reviews', 'typed_rows']
