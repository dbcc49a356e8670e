import fs from 'node:fs'
import Database from 'better-sqlite3'
import Fastify from 'fastify'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { readTableInfo } from '../../client/sqlite/table-info.js'
import oversync, { type TableOptions } from '../../src/index.js'
import { buildApp, uuid, verdict, type Status } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const page = fs.readFileSync('docs/types.md', 'utf8')
const examplesSql = /```sql\n([^`]*)```/.exec(page)?.[1] as string
const section = (title: string): string => (page.split(`## ${title}\n`)[1] as string).split('\n## ')[0] as string
const codes = (cell: string): string[] => [...cell.matchAll(/`([^`]*)`/g)].map(match => match[1] as string)
/** The rows of each table in a part of the page, cell by cell. */
function tablesOf (markdown: string): string[][][] {
  return markdown.split('\n\n').filter(part => part.startsWith('| ')).map(part => part.trim().split('\n').slice(2).map(line => line.split('|').slice(1, -1).map(cell => cell.trim())))
}
const [synced] = tablesOf(section('Types that sync')) as [string[][]]
const [refusedTypes] = tablesOf(section('Types that do not')) as [string[][]]
const [keys, refusedKeys] = tablesOf(section('Keys')) as [string[][], string[][]]

/** Types that no column of an app has: PostgreSQL's own bookkeeping. */
const INTERNAL = ['aclitem', 'cid', 'gtsvector', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'pg_dependencies', 'pg_mcv_list', 'pg_ndistinct', 'pg_node_tree', 'tid', 'xid']

const columnType = (cell: string): string => (codes(cell)[0] as string).replace('multirange of speeds', 'speeds_multirange')

/** A database with what the examples need; without what needs citext where the server has none. */
async function prepare (sql: Sql): Promise<(row: string[]) => boolean> {
  const hasCitext = (await sql`select from pg_available_extensions where name = 'citext'`).length > 0
  await sql.unsafe(`${hasCitext ? 'create extension if not exists citext;' : ''} create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ${examplesSql.replace('(subtype = float8)', '(subtype = float8, multirange_type_name = speeds_multirange)')}`)
  return ([first]) => hasCitext || !(first as string).includes('citext')
}

/** The lines with which the plugin refuses to start, by table. */
async function refusals (t: Test, url: string, tables: TableOptions[]): Promise<Map<string, string>> {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  try {
    await app.register(oversync, { database: url, tables, getIdentity: () => null })
    await app.ready()
    return new Map()
  } catch (error) {
    return new Map((error as Error).message.split('\n').slice(1).map(line => /^ *public\.(\w+): (.*)$/.exec(line)?.slice(1) as [string, string]))
  }
}

t.test('every type on the page is registered or refused as the page says', async t => {
  const { sql, url } = await freshDb(t)
  const isThere = await prepare(sql)
  const tables: TableOptions[] = []
  const create = async (name: string, definition: string, codec?: string): Promise<void> => {
    await sql.unsafe(`create table ${name} (${definition})`)
    tables.push({ table: name, ...(codec === undefined ? {} : { columns: { v: codec as 'epoch_s' } }) })
  }
  for (const [i, row] of synced.filter(isThere).entries()) await create(`synced_${i}`, `id uuid primary key, v ${columnType(row[0] as string)}`, codes(row[0] as string)[1])
  for (const [i, row] of refusedTypes.filter(isThere).entries()) await create(`refused_${i}`, `id uuid primary key, v ${columnType(row[0] as string)}`)
  const found = await refusals(t, url, tables)
  t.strictSame([...found.keys()].filter(name => name.startsWith('synced_')).map(name => found.get(name)), [], 'none of those that sync is refused')
  for (const [i, row] of refusedTypes.filter(isThere).entries()) t.match(found.get(`refused_${i}`), /^column v: type .* is not supported/, row[0] as string)
  const started = await refusals(t, url, tables.filter(({ table }) => table.startsWith('synced_')))
  t.equal(started.size, 0, 'a server with the others starts')
  await sql`create table computed (id uuid primary key, a double precision, v point generated always as (point(a, a)) stored, w tsvector)`
  t.strictSame([...await refusals(t, url, [{ table: 'computed', exclude: ['w'] }])], [], 'what PostgreSQL computes, or the table excludes, may be of any type')
})

t.test('every type that PostgreSQL has is on the page', async t => {
  const { sql } = await freshDb(t)
  const isThere = await prepare(sql)
  const rows = [...synced, ...refusedTypes].filter(isThere)
  await sql.unsafe(`create table all_types (${rows.map((row, i) => `c${i} ${columnType(row[0] as string)}`).join(', ')})`)
  const missing = await sql`
    select t.typname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where t.typtype in ('b', 'e', 'r', 'm', 'd') and t.typcategory <> 'A' and n.nspname = 'pg_catalog' and t.typname <> all (${INTERNAL})
      and not exists (select from pg_catalog.pg_attribute a where a.attrelid = 'all_types'::regclass and a.attnum > 0 and a.atttypid = t.oid)
    order by 1`
  t.strictSame(missing.map(({ typname }) => typname as string), [])
  t.strictSame([...await sql`select typname from pg_catalog.pg_type where typname = any (${INTERNAL}) and typtype not in ('b', 'p')`], [], 'the internal ones are base types')
  const names = [...synced, ...refusedTypes].map(([type]) => type)
  t.equal(new Set(names).size, names.length, 'none is there twice')
})

t.test('every example on the page is stored or refused as the page says, and the column is named', async t => {
  const tables = synced.map((row, i) => ({ row, table: `synced_${i}` }))
  const { sql: probe } = await freshDb(t)
  const isThere = await prepare(probe)
  const there = tables.filter(({ row }) => isThere(row))
  const { user } = await buildApp(t, {
    schemaSql: `create extension if not exists citext; ${examplesSql} ${there.map(({ row, table }) => `create table ${table} (id uuid primary key, v ${columnType(row[0] as string)});`).join(' ')}`.replace(there.length < tables.length ? 'create extension if not exists citext;' : /$^/, ''),
    tables: there.map(({ row, table }) => ({ table, ...(codes(row[0] as string)[1] === undefined ? {} : { columns: { v: codes(row[0] as string)[1] as 'epoch_s' } }) }))
  })
  let id = 0
  for (const { row, table } of there) {
    const [type, declared, good, bad] = row as [string, string, string, string]
    t.ok(codes(good).length > 0 && (codes(bad).length > 0 || bad === '–'), `${type} has examples`)
    for (const [value, expected] of [...codes(good).map(value => [value, 'applied v1']), ...codes(bad).map(value => [value, 'invalid bad_payload'])] as Array<[string, string]>) {
      id++
      const { statusCode, body } = await user('alice').uploadText(`{"changes":[{"source_change_id":${id},"table":"${table}","op":"INSERT","pk":"${uuid(id)}","server_version":0,"payload":{"v":${value}}}]}`)
      const status = statusCode === 200 ? JSON.parse(body).statuses[0] as Status : undefined
      t.equal(status === undefined ? body : verdict(status), expected, `${type}: ${value}`)
      if (status?.status === 'invalid') t.match(status.message, / v /, `${type}: ${value} names the column`)
    }
    const local = new Database(':memory:')
    for (const type of codes(declared)) {
      local.exec(`create table ${type.toLowerCase()}_${id} (id text primary key, v ${type})`)
      const column = readTableInfo(betterSqlite3(local), `${type.toLowerCase()}_${id}`).byColumn.get('v')
      t.match(column, { isBlob: type === 'BLOB', isJson: type === 'JSON_TEXT', affinity: type === 'BLOB' ? 'none' : type === 'JSON_TEXT' ? 'text' : type.toLowerCase() })
    }
    t.ok(codes(declared).length > 0, `${type} says what to declare`)
    local.close()
  }
})

t.test('keys are taken and refused as the page says', async t => {
  const { sql, url } = await freshDb(t)
  const isThere = await prepare(sql)
  for (const [i, [definition]] of refusedKeys.filter(isThere).entries()) await sql.unsafe(`create table refused_${i} (${codes(definition as string)[0] as string}, note text)`)
  const found = await refusals(t, url, refusedKeys.filter(isThere).map((_, i) => ({ table: `refused_${i}` })))
  for (const [i, [definition, why]] of refusedKeys.filter(isThere).entries()) t.equal(found.get(`refused_${i}`), why, definition as string)

  const { user } = await buildApp(t, {
    schemaSql: `${examplesSql} ${keys.map(([definition], i) => `create table taken_${i} (${codes(definition as string)[0] as string}, note text);`).join(' ')}`,
    tables: keys.map((_, i) => `taken_${i}`)
  })
  let id = 0
  for (const [i, [definition, good, bad]] of (keys as Array<[string, string, string]>).entries()) {
    t.ok(codes(good).length > 0 && codes(bad).length > 0, `${definition} has examples`)
    for (const [pk, expected] of [...codes(good).map(value => [value, 'applied v1']), ...codes(bad).map(value => [value, 'invalid bad_payload'])] as Array<[string, string]>) {
      const { body } = await user('alice').uploadText(`{"changes":[{"source_change_id":${++id},"table":"taken_${i}","op":"INSERT","pk":${pk},"server_version":0,"payload":{"note":"n"}}]}`)
      t.equal(verdict(JSON.parse(body).statuses[0] as Status), expected, `${definition}: ${pk}`)
    }
  }
})
