import type { ColumnType, Generated } from 'kysely'

/** The app's tables, as Kysely wants them; the sync client takes the same types. */
export interface AppDatabase {
  users: UsersTable
  posts: PostsTable
}

interface UsersTable {
  id: string
  name: string
  email: string
  created_at: Timestamp
  updated_at: Timestamp
}

interface PostsTable {
  id: string
  title: string
  content: Generated<string>
  author_id: string | null
  created_at: Timestamp
  updated_at: Timestamp
}

/** Whole seconds; may be left out of an insert. */
type Timestamp = ColumnType<number | null, number | undefined>

export const LOCAL_TABLES = `
  create table if not exists users (id text primary key, name text not null, email text not null, created_at integer, updated_at integer);
  create table if not exists posts (
    id text primary key, title text not null, content text not null default '', author_id text references users (id), created_at integer, updated_at integer)
`
