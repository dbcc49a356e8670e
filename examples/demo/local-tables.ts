/** What the app on the device creates for itself: plain SQLite tables, no sync columns. */
export const LOCAL_TABLES = `
  create table users (id text primary key, name text not null, email text not null, created_at integer, updated_at integer);
  create table posts (id text primary key, title text not null, content text, author_id text references users (id), created_at integer, updated_at integer);
  create table files (id text primary key, name text not null, data blob);
  create table file_reviews (id text primary key, review text, file_id text references files (id) on delete cascade);
  create table typed_rows (id text primary key, big integer, dec text, flag boolean, ratio real, doc json_text, note text, blob blob);
`

export const TABLES = ['users', 'posts', 'files', 'file_reviews', 'typed_rows']
