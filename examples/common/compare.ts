import { createHash } from 'node:crypto'
import type Database from 'better-sqlite3'
import type { Sql } from 'postgres'

/** A key or reference as the wire spells it, whether the device keeps text or 16 bytes. */
const uuid = (column: string): string =>
  `case typeof(${column}) when 'blob' then lower(${[[1, 8], [9, 4], [13, 4], [17, 4], [21, 12]].map(([from, length]) => `substr(hex(${column}), ${from}, ${length})`).join(" || '-' || ")}) else ${column} end as ${column}`

/*
 * Both sides spell each row the same way, value by value as text, so that equal means equal to the last digit.
 */
const ON_DEVICE: Record<string, string> = {
  users: `select ${uuid('id')}, name, email, created_at, updated_at from users`,
  posts: `select ${uuid('id')}, title, content, ${uuid('author_id')}, created_at, updated_at from posts`,
  files: `select ${uuid('id')}, name, lower(hex(data)) as data, data is null as empty from files`,
  file_reviews: `select ${uuid('id')}, review, ${uuid('file_id')} from file_reviews`,
  typed_rows: `select ${uuid('id')}, cast(big as text) as big, dec, flag, ratio, doc, note, lower(hex(blob)) as blob, blob is null as empty from typed_rows`
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
  /** Each row as one text, in order. */
  lines: string[]
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

/** What is different, in a line; null where both are equal. */
export function difference (actual: Contents, expected: Contents): string | null {
  const [has, should] = [new Set(actual.lines), new Set(expected.lines)]
  const missing = expected.lines.filter(line => !has.has(line))
  const extra = actual.lines.filter(line => !should.has(line))
  if (actual.digest === expected.digest) return null
  const some = (what: string, lines: string[]): string[] => lines.length === 0 ? [] : [`${what} ${lines.length}: ${lines[0]?.slice(0, 200) ?? ''}`]
  return [...some('lacks', missing), ...some('has besides', extra)].join('; ')
}

function summarize (tables: Array<[string, Array<Record<string, unknown>>]>): Contents {
  const counts: Record<string, number> = {}
  const lines: string[] = []
  const hash = createHash('sha256')
  for (const [table, rows] of tables) {
    counts[table] = rows.length
    for (const line of rows.map(spell).sort()) lines.push(`${table} ${line}`)
  }
  for (const line of lines) hash.update(`${line}\n`)
  return { counts, digest: hash.digest('hex').slice(0, 12), lines }
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
