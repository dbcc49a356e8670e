import { CompiledQuery, sql, type Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { asDatabaseError } from '../storage/database-error.js'
import { findCascaded, type CascadedRow } from './cascades.js'
import { deleteStatement, insertStatement, probeStatement, updateStatement } from './statements.js'
import type { ColumnSpec, TableSpec } from './table-spec.js'

/** A change on its way into its business table. */
export interface RowWrite {
  /** Place of its change in the request. */
  index: number
  /** Place in the order of writing. */
  place: number
  /** Table and key as one text. */
  row: string
  table: TableSpec
  /** By verdict: insert where the stream has no live row, update where it has. */
  verb: 'insert' | 'update' | 'delete'
  pk: string
  /** As sent; null for a deletion. */
  payload: string | null
  /** With what an update left out. */
  whole: string | null
  /** Columns of the table that the payload has. */
  columns: string[]
}

/** How the statements of a run are ordered. The first fits nearly always; the others serve rows that hand a unique value on. */
export type StatementOrder = 'upserts-first' | 'deletes-first' | 'as-requested'

/**
 * Writes a run of rows, no row twice, one statement for each table, verb and set of columns. Throws what the database says
 * about any of them.
 */
export async function writeRun (trx: Transaction<Database>, scope: string, run: RowWrite[], order: StatementOrder): Promise<RunOutcome> {
  const outcome: RunOutcome = { taken: [], cascaded: [] }
  for (const group of groupRun(run, order)) {
    const [{ table, verb }] = group as [RowWrite]
    if (verb === 'delete' && table.cascades.length > 0) outcome.cascaded.push(...await findCascaded(trx, group))
    outcome.taken.push(...await writeGroup(trx, scope, group))
  }
  return outcome
}

export interface RunOutcome {
  /** Rows whose key turned out to be taken by a row that this scope does not have. */
  taken: RowWrite[]
  /** Rows that deletions took along. */
  cascaded: CascadedRow[]
}

async function writeGroup (trx: Transaction<Database>, scope: string, group: RowWrite[]): Promise<RowWrite[]> {
  const { table, verb, columns } = group[0] as RowWrite
  const owner = table.owner === null ? [] : [scope]
  const keys = JSON.stringify(group.map(({ pk }) => pk))
  if (verb === 'delete') {
    // A row that is not there any more is as deleted as it should be; one that the app has given to somebody else is not ours to delete.
    const { rows } = await trx.executeQuery<{ pk: string }>(CompiledQuery.raw(deleteStatement(table), [keys, ...owner]))
    const kept = new Set(rows.map(({ pk }) => pk))
    return group.filter(({ pk }) => kept.has(pk))
  }
  const payloads = '[' + group.map(({ payload }) => payload).join(',') + ']'
  const statement = verb === 'insert' ? insertStatement(table, columns) : updateStatement(table, columns)
  const { rows } = await trx.executeQuery<{ pk: string }>(CompiledQuery.raw(statement, [payloads, keys, ...owner]))
  if (rows.length === group.length) return []
  const written = new Set(rows.map(({ pk }) => pk))
  const absent = group.filter(({ pk }) => !written.has(pk))
  // An insert without effect met a row of someone else. An update without effect met none: the app removed the row behind
  // the stream's back, and the device's row is whole, so that it can be put back.
  return verb === 'insert' ? absent : await writeRun(trx, scope, absent.map(wholeInsert), 'upserts-first').then(({ taken }) => taken)
}

/** The insert that puts an updated row back, with the columns that the update left out. */
function wholeInsert (write: RowWrite): RowWrite {
  const { table, whole } = write
  const columns = Object.keys(JSON.parse(whole as string) as object).filter(name => table.columns.has(name)).sort()
  return { ...write, verb: 'insert', payload: whole, columns }
}

/** The column whose value PostgreSQL cannot read, of a row that it refused with a data exception; null where it is none alone. */
export async function findUnreadableColumn (trx: Transaction<Database>, { table, payload, columns }: RowWrite): Promise<string | null> {
  for (const name of columns) {
    await sql`savepoint oversync_probe`.execute(trx)
    try {
      await trx.executeQuery(CompiledQuery.raw(probeStatement(table.columns.get(name) as ColumnSpec), [`[${payload}]`]))
      await sql`release savepoint oversync_probe`.execute(trx)
    } catch (error) {
      if (asDatabaseError(error) === null) throw error
      await sql`rollback to savepoint oversync_probe`.execute(trx)
      await sql`release savepoint oversync_probe`.execute(trx)
      return name
    }
  }
  return null
}

/** The statements of a run: parents before children for upserts, children before parents for deletions. */
function groupRun (run: RowWrite[], order: StatementOrder): RowWrite[][] {
  const groups: RowWrite[][] = []
  const open = new Map<string, RowWrite[]>()
  let last = ''
  for (const write of run) {
    const key = `${write.verb} ${write.table.id} ${write.verb === 'delete' ? '' : write.columns.join(' ')}`
    // As requested: only neighbours share a statement.
    if (order === 'as-requested' && key !== last) open.clear()
    last = key
    const group = open.get(key)
    if (group !== undefined) {
      group.push(write)
      continue
    }
    open.set(key, [write])
    groups.push(open.get(key) as RowWrite[])
  }
  if (order === 'as-requested') return groups
  const deletesLast = order === 'upserts-first' ? 1 : -1
  return groups.sort(([a], [b]) => {
    const [left, right] = [a as RowWrite, b as RowWrite]
    const deletes = Number(left.verb === 'delete') - Number(right.verb === 'delete')
    if (deletes !== 0) return deletes * deletesLast
    return (left.table.rank - right.table.rank) * (left.verb === 'delete' ? -1 : 1)
  })
}
