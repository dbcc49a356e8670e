import { sql } from 'kysely'
import type { Resolver } from '../../client/conflict/resolver.js'
import type { TableOption } from '../../client/index.js'
import type { Materializer, TableOptions } from '../../src/index.js'
import { groupValues, tokensOf, type GroupName, type RowName, type Values } from './certificate.js'

/** A token that ends so is refused: by a CHECK of PostgreSQL, or by a hook of the app. */
export const REFUSED_BY_DATABASE = '!'
export const REFUSED_BY_HOOK = '?'

export interface SimTable {
  name: string
  key: readonly string[]
  groups: readonly GroupName[]
  /** Columns of no group: their values are no more than of the right kind. */
  loose: readonly string[]
  /** What decides where both sides changed a column. */
  rule: 'serverWins' | 'clientWins' | 'union'
  /** A version of the app without this table, or this group, exists. */
  isLate?: true
  lateGroup?: GroupName
}

export const TABLES: readonly SimTable[] = [
  { name: 'authors', key: ['id'], groups: ['a', 'b'], loose: ['email'], rule: 'serverWins' },
  { name: 'posts', key: ['id'], groups: ['a', 'b', 'c'], loose: ['author_id'], rule: 'clientWins', lateGroup: 'c' },
  { name: 'items', key: ['id'], groups: ['a', 'b'], loose: ['author_id'], rule: 'union' },
  { name: 'notes', key: ['id'], groups: ['a', 'b'], loose: [], rule: 'serverWins' },
  { name: 'slots', key: ['kind', 'n'], groups: ['a', 'b'], loose: [], rule: 'serverWins', isLate: true }
]

const A = `a text not null check (a not like '%${REFUSED_BY_DATABASE}%'), a_num bigint, a_blob bytea`
const B = `b text check (b not like '%${REFUSED_BY_DATABASE}%'), b_dec numeric`
const C = `c text check (c not like '%${REFUSED_BY_DATABASE}%'), c_num bigint`

/** Deferred foreign keys and plain ones, one with an action; a unique value; a key of two columns; a table the app writes itself. */
export const SERVER_SCHEMA = `
  create schema sim;
  create table sim.authors (id uuid primary key, ${A}, ${B}, email text unique);
  create table sim.posts (id uuid primary key, ${A}, ${B}, ${C}, author_id uuid references sim.authors deferrable initially deferred);
  create table sim.items (id uuid primary key, ${A}, ${B}, author_id uuid not null references sim.authors on delete cascade);
  create table sim.slots (kind text, n integer, ${A}, ${B}, primary key (kind, n));
  create table sim.note_store (owner text, id text, body json not null, primary key (owner, id));`

const LOCAL_A = 'a text not null, a_num integer, a_blob blob'
const LOCAL_B = 'b text, b_dec text'

const LOCAL: Record<string, { first: string, second?: string }> = {
  authors: { first: `create table authors (id text primary key not null, ${LOCAL_A}, ${LOCAL_B}, email text unique);` },
  posts: {
    first: `create table posts (id text primary key not null, ${LOCAL_A}, ${LOCAL_B}, author_id text references authors (id));`,
    second: 'alter table posts add column c text; alter table posts add column c_num integer;'
  },
  items: { first: `create table items (id text primary key not null, ${LOCAL_A}, ${LOCAL_B}, author_id text not null references authors (id) on delete cascade);` },
  notes: { first: `create table notes (id text primary key not null, ${LOCAL_A}, ${LOCAL_B});` },
  slots: { first: '', second: `create table slots (kind text not null, n integer not null, ${LOCAL_A}, ${LOCAL_B}, primary key (kind, n)) without rowid;` }
}

/** What a version of the app has on a device: the first, and what the second adds. */
export function localSchema (tables: readonly string[], version: 'first' | 'second'): string {
  return tables.map(table => LOCAL[table]?.[version] ?? '').join('\n')
}

export const SERVER_TABLES: TableOptions[] = [
  ...['authors', 'posts', 'items', 'slots'].map(table => ({ table: `sim.${table}` })),
  { table: 'sim.notes', key: 'text', materializer: storeNotes() }
]

function storeNotes (): Materializer {
  return async ({ rows, identity, trx }) => {
    const refused = rows.filter(({ payloadText }) => payloadText?.includes(REFUSED_BY_HOOK) === true)
    if (refused.length > 0) return refused.map(change => ({ change, message: 'The app does not take it.' }))
    for (const { op, key, payloadText } of rows) {
      if (op === 'DELETE') await sql`delete from sim.note_store where owner = ${identity.scope} and id = ${key}`.execute(trx)
      else await sql`insert into sim.note_store values (${identity.scope}, ${key}, ${payloadText}::text::json) on conflict (owner, id) do update set body = excluded.body`.execute(trx)
    }
  }
}

/** The tables of a version of the app, with their rules. */
export function clientTables (tables: readonly string[], isOld: boolean, owner: string): TableOption[] {
  return openTables(tables, isOld).map(({ name, rule }) => ({
    table: name,
    conflict: rule === 'union' ? union(owner, isOld) : rule,
    deleted: name === 'posts' ? 'editWins' : name === 'notes' ? 'clientWins' : 'serverWins'
  }))
}

/** The story's tables that a version of the app has. */
export function openTables (tables: readonly string[], isOld: boolean): SimTable[] {
  return TABLES.filter(({ name, isLate }) => tables.includes(name) && (!isOld || isLate !== true))
}

/** Nobody's token is lost: the server's list, then what only this device has. */
function union (owner: string, isOld: boolean): Resolver {
  return ({ table, key, local, server }) => {
    const row: RowName = { owner, table, key }
    const answer: Record<string, unknown> = {}
    for (const group of groupsOf(tableOf(table), isOld)) {
      const [mine, theirs] = [local, server].map(values => tokensOf(values as Values, group))
      if (mine == null || theirs == null) continue
      const together = groupValues(row, group, [...theirs, ...mine.filter(token => !theirs.includes(token))])
      for (const [column, text] of Object.entries(together)) answer[column] = toSqlite(column, text)
    }
    return answer as Record<string, string>
  }
}

export function tableOf (name: string): SimTable {
  const table = TABLES.find(table => table.name === name)
  if (table === undefined) throw new Error(`There is no table ${name}.`)
  return table
}

export function groupsOf (table: SimTable, isOld: boolean): GroupName[] {
  return table.groups.filter(group => !isOld || group !== table.lateGroup)
}

/** A column's text as a value to bind. */
export function toSqlite (column: string, text: string | null): string | bigint | Uint8Array | null {
  if (text === null) return null
  if (column.endsWith('_num') || column === 'n') return BigInt(text)
  return column.endsWith('_blob') ? Buffer.from(text, 'hex') : text
}
