import { createHash } from 'node:crypto'
import type Database from 'better-sqlite3'
import type { Sql } from 'postgres'

/*
 * Both sides spell each row the same way, value by value as text, so that equal means equal to the last digit.
 */
const ON_DEVICE: Record<string, string> = {
  users: 'select id, name, email, created_at, updated_at from users',
  posts: 'select id, title, content, author_id, created_at, updated_at from posts',
  files: 'select id, name, lower(hex(data)) as data, data is null as empty from files',
  file_reviews: 'select id, review, file_id from file_reviews',
  typed_rows: 'select id, cast(big as text) as big, dec, flag, ratio, doc, note, lower(hex(blob)) as blob, blob is null as empty from typed_rows'
}

const IN_POSTGRES: Record<string, string> = {
  users: 'id, name, email, extract(epoch from created_at)::bigint::text as created_at, extract(epoch from updated_at)::bigint::text as updated_at',
  posts: 'id, title, content, author_id, extract(epoch from created_at)::bigint::text as created_at, extract(epoch from updated_at)::bigint::text as updated_at',
  files: "id, name, coalesce(encode(data, 'hex'), '') as data, (data is null)::int as empty",
  file_reviews: 'id, review, file_id',
  typed_rows: "id, big::text as big, dec::text as dec, flag::int as flag, ratio, doc::text as doc, note, coalesce(encode(blob, 'hex'), '') as blob, (blob is null)::int as empty"
}

export const COMPARED_TABLES = Object.keys(ON_DEVICE)

/** Rows by table, and a digest over all of them. */
export interface Contents {
  counts: Record<string, number>
  digest: string
}

export function contentsOfDevice ({ db }: { db: Database.Database }): Contents {
  return summarize(COMPARED_TABLES.map(table => [table, db.prepare(ON_DEVICE[table] as string).all() as Array<Record<string, unknown>>]))
}

/** The business tables, limited to the rows that are live in the user's stream. */
export async function contentsOfPostgres (sql: Sql, user: string): Promise<Contents> {
  const tables: Array<[string, Array<Record<string, unknown>>]> = []
  for (const table of COMPARED_TABLES) {
    tables.push([table, await sql.unsafe(
      `select ${IN_POSTGRES[table] as string} from business.${table}
       where id::text in (select pk from sync.rows where scope = $1 and schema_name = 'business' and table_name = $2 and not deleted)`, [user, table])])
  }
  return summarize(tables)
}

function summarize (tables: Array<[string, Array<Record<string, unknown>>]>): Contents {
  const counts: Record<string, number> = {}
  const hash = createHash('sha256')
  for (const [table, rows] of tables) {
    counts[table] = rows.length
    for (const line of rows.map(spell).sort()) hash.update(`${table} ${line}\n`)
  }
  return { counts, digest: hash.digest('hex').slice(0, 12) }
}

function spell (row: Record<string, unknown>): string {
  const { doc, ...columns } = row
  const values = Object.fromEntries(Object.entries(columns).map(([name, value]) => [name, value === null ? null : String(value)]))
  return JSON.stringify({ ...values, ...(doc === undefined ? {} : { doc: doc === null ? null : sortKeys(JSON.parse(String(doc))) }) })
}

/** jsonb keeps no order of keys. */
function sortKeys (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, inner]) => [key, sortKeys(inner)]))
}
