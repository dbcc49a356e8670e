import { CompiledQuery, sql, type Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { asDatabaseError } from '../storage/database-error.js'
import { alteredStatement } from './statements.js'
import type { TableSpec } from './table-spec.js'

/** A row that the database holds otherwise than it was sent. */
export interface AlteredRow {
  row: string
  /** Members of its payload that are different, as JSON text without braces. */
  members: string
}

/** A row to be compared with what the database has. */
export interface StoredRow {
  row: string
  table: TableSpec
  pk: string
  /** As it is to be stored. */
  payload: string
  /** Columns of the table that the payload has. */
  columns: readonly string[]
  /** All of the payload has just been written by PostgreSQL; else it may hold what a column once could, or what the app's materializer made of it. */
  isRead: boolean
}

/** Reads rows back whose table says that the database may have altered them. */
export async function findAltered (trx: Transaction<Database>, rows: StoredRow[]): Promise<AlteredRow[]> {
  const groups = new Map<string, StoredRow[]>()
  for (const row of rows) {
    const key = `${row.table.id} ${String(row.isRead)} ${JSON.stringify(row.columns)}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [row])
    else group.push(row)
  }
  const altered: AlteredRow[] = []
  for (const group of groups.values()) altered.push(...await findAlteredOf(trx, group as [StoredRow]))
  return altered
}

async function findAlteredOf (trx: Transaction<Database>, group: [StoredRow, ...StoredRow[]]): Promise<AlteredRow[]> {
  const [{ table, columns, isRead }] = group
  const parameters = ['[' + group.map(({ payload }) => payload).join(',') + ']', JSON.stringify(group.map(({ pk }) => pk))]
  const compare = async (statement: string) => (await trx.executeQuery<{ pk: string, members: string }>(CompiledQuery.raw(statement, parameters))).rows
  const found = isRead ? await compare(alteredStatement(table, columns)) : await compareUnread()
  const byKey = new Map(group.map(({ pk, row }) => [pk, row]))
  return found.map(({ pk, members }) => ({ row: byKey.get(pk) as string, members }))

  async function compareUnread (): ReturnType<typeof compare> {
    await sql`savepoint oversync_altered`.execute(trx)
    let rows
    try {
      rows = await compare(alteredStatement(table, columns))
    } catch (error) {
      if (asDatabaseError(error)?.sqlstate.startsWith('22') !== true) throw error
      await sql`rollback to savepoint oversync_altered`.execute(trx)
      rows = await compare(alteredStatement(table, columns, { asJson: true }))
    }
    await sql`release savepoint oversync_altered`.execute(trx)
    return rows
  }
}
