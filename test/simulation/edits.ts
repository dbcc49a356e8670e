import type Database from 'better-sqlite3'
import { groupValues, tokensOf, type GroupName, type RowName, type Values } from './certificate.js'
import type { Edit, Statement } from './story.js'
import { groupsOf, REFUSED_BY_HOOK, tableOf, TABLES, toSqlite, type SimTable } from './tables.js'

/** The names that a run of a story uses: no other run meets its rows. */
export interface Names {
  /** Name of a user's stream. */
  owner: (user: number) => string
  /** A row's key as it travels. */
  key: (user: number, table: string, n: number) => string
}

export function namesOf (run: number): Names {
  const owner = (user: number): string => `u${run}${'xyz'[user]}`
  return {
    owner,
    key (user, table, n) {
      // Notes have the same keys for all users: the app keeps them apart.
      if (table === 'notes') return `note ${n}`
      if (table === 'slots') return JSON.stringify([owner(user), String(n)])
      return `${run.toString(16).padStart(8, '0')}-0000-4000-8${String(user)}0${TABLES.findIndex(({ name }) => name === table)}-${String(n).padStart(12, '0')}`
    }
  }
}

/** Columns of a row's key and their values. */
export function keyColumns (table: SimTable, key: string): Record<string, string> {
  if (table.key.length === 1) return { [table.key[0] as string]: key }
  const parts = JSON.parse(key) as string[]
  return Object.fromEntries(table.key.map((column, i) => [column, parts[i] as string]))
}

/** One local transaction of the app. What SQLite itself refuses (a parent that is missing, say) is the app's to handle: nothing happens. */
export function edit (db: Database.Database, names: Names, user: number, isOld: boolean, { statements, rollsBack }: Edit): boolean {
  try {
    db.transaction(() => {
      for (const statement of statements) run(db, names, user, isOld, statement)
      if (rollsBack === true) throw new Rollback()
    })()
    return true
  } catch (error) {
    if (error instanceof Rollback || (error as { code?: string }).code?.startsWith('SQLITE_CONSTRAINT') === true) return false
    throw error
  }
}

class Rollback extends Error {}

function run (db: Database.Database, names: Names, user: number, isOld: boolean, statement: Statement): void {
  const table = tableOf(statement.table)
  if (isOld && table.isLate === true) return
  const owner = names.owner(user)
  const keyUser = statement.foreign === true ? 1 - user : user
  const key = names.key(keyUser, table.name, statement.key)
  const groups = groupsOf(table, isOld)
  const chosen = groups.filter(group => statement.groups.includes(group))
  const parent = names.key(user, 'authors', statement.to)
  const where = table.key.map(column => `${column} = ?`).join(' and ')
  const keyValues = (key: string): unknown[] => Object.entries(keyColumns(table, key)).map(([column, text]) => toSqlite(column, text))
  const exec = (sql: string, values: unknown[]): void => { db.prepare(sql).run(...values) }
  const columnsOf = (row: RowName, of: readonly GroupName[], tokens: (group: GroupName) => string[]): Record<string, string> => Object.assign({}, ...of.map(group => groupValues(row, group, tokens(group)))) as Record<string, string>
  const bind = (columns: Record<string, string | null>): unknown[] => Object.entries(columns).map(([column, text]) => toSqlite(column, text))
  const assign = (columns: object): string => Object.keys(columns).map(column => `${column} = ?`).join(', ')
  const row = { owner, table: table.name, key }
  const stored = (): Values | undefined => db.prepare(`select ${groups.join(', ')} from ${table.name} where ${where}`).get(...keyValues(key)) as Values | undefined

  /** A new row: every group begins with this token. */
  const born = (key: string): Record<string, string | null> => ({
    ...keyColumns(table, key),
    ...columnsOf({ ...row, key }, groups, () => [statement.token]),
    ...loose(db, table, statement, parent)
  })
  const appended = (values: Values): Record<string, string> => columnsOf(row, chosen.length === 0 ? ['a'] : chosen, group => [...tokensOf(values, group) ?? [], statement.token])

  const isThere = stored() !== undefined
  if (table.name === 'items' && statement.op !== 'delete') makeParent(db, owner, parent, statement.token)

  switch (isThere || statement.op === 'delete' || statement.op === 'replace' ? statement.op : 'insert') {
    case 'insert':
    case 'replace':
    case 'upsert': {
      const values = born(key)
      const before = statement.op === 'upsert' ? stored() : undefined
      const update = before === undefined ? {} : appended(before)
      const insert = `insert${statement.op === 'replace' ? ' or replace' : ''} into ${table.name} (${Object.keys(values).join(', ')}) values (${Object.keys(values).map(() => '?').join(', ')})`
      if (statement.op !== 'upsert') return exec(insert, bind(values))
      return exec(`${insert} on conflict (${table.key.join(', ')}) do ${before === undefined ? 'nothing' : `update set ${assign(update)}`}`, [...bind(values), ...bind(update)])
    }
    case 'append': {
      const update = appended(stored() as Values)
      return exec(`update ${table.name} set ${assign(update)} where ${where}`, [...bind(update), ...keyValues(key)])
    }
    case 'delete': return exec(`delete from ${table.name} where ${where}`, keyValues(key))
    case 'move': {
      const target = born(names.key(user, table.name, statement.to))
      return exec(`update ${table.name} set ${assign(target)} where ${where}`, [...bind(target), ...keyValues(key)])
    }
    case 'loose': {
      const update = loose(db, table, statement, parent)
      if (Object.keys(update).length === 0) return
      return exec(`update ${table.name} set ${assign(update)} where ${where}`, [...bind(update), ...keyValues(key)])
    }
  }
}

/** Columns of no group. Few e-mail addresses, so that they collide; a post without its author has none. */
function loose (db: Database.Database, table: SimTable, { to, groups }: Statement, parent: string): Record<string, string | null> {
  switch (table.name) {
    case 'authors': return { email: groups.length === 2 ? `${parent}@${to}` : groups.length === 3 ? `${parent.slice(0, 8)}@shared` : null }
    case 'posts': return { author_id: groups.includes('b') && hasAuthor(db, parent) ? parent : null }
    case 'items': return { author_id: parent }
    default: return {}
  }
}

function hasAuthor (db: Database.Database, id: string): boolean {
  return db.prepare('select 1 from authors where id = ?').get(id) !== undefined
}

function makeParent (db: Database.Database, owner: string, id: string, token: string): void {
  if (hasAuthor(db, id)) return
  const row = { owner, table: 'authors', key: id }
  const columns = { id, ...groupValues(row, 'a', [token]), ...groupValues(row, 'b', [token]) }
  db.prepare(`insert into authors (${Object.keys(columns).join(', ')}) values (${Object.keys(columns).map(() => '?').join(', ')})`).run(...Object.entries(columns).map(([column, text]) => toSqlite(column, text)))
}

/** Tokens of changes that must not come through. */
export function isRefused (token: string): boolean {
  return token.endsWith(REFUSED_BY_HOOK) || token.endsWith('!')
}
