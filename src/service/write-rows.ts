import { sql, type Transaction } from 'kysely'
import { MAX_NAMED_COLUMNS } from '../limits.js'
import { findUnreadableColumn, writeRun, type RowWrite, type StatementOrder } from '../materializer/materializer.js'
import type { Database } from '../storage/database.js'
import { asDatabaseError } from '../storage/database-error.js'
import type { Write } from './decide.js'
import type { Refusal } from './prepare.js'
import { isRowProblem, isUnreadable, mayBeOrder, mayBePlace, refusalFor, taken } from './row-problem.js'
import { splitIntoRuns } from './write-order.js'

interface Failure {
  /** Rows whose key belongs to someone else: exact culprits. */
  taken: RowWrite[]
  /** What the database said about one of the rows, or null. */
  error: unknown
}

interface Culprit {
  refusal: Refusal
  /** In another place among the others the row might have been taken. */
  mayBePlace: boolean
}

/**
 * Writes the accepted changes into the business tables and returns those that the database refused, by index, with the
 * reason. Where there are any, nothing stays written: versions and children hang on them, so that the batch is judged
 * again without them. No row costs a statement of its own while the database refuses none.
 */
export async function writeRows (trx: Transaction<Database>, scope: string, writes: Write[]): Promise<Map<number, Refusal>> {
  const rows = writes.filter(({ change }) => change.table.materialize).map(toRowWrite)
  if (rows.length === 0) return new Map()
  await sql`savepoint oversync_rows`.execute(trx)
  for (const order of ['upserts-first', 'deletes-first', 'as-requested'] as const) {
    const failure = await attempt(trx, scope, rows, order)
    if (failure === null) return new Map()
    await sql`rollback to savepoint oversync_rows`.execute(trx)
    if (failure.taken.length > 0) return new Map(failure.taken.map(row => [row.index, taken(row)]))
    if (!mayBeOrder(failure.error)) break
  }
  const groups = tieTogether(rows, writes)
  const asRequested = await findCulprits(trx, scope, groups)
  // Those whose content is at fault go first: without them the others may find their place.
  const certain = [...asRequested].filter(([, { mayBePlace }]) => !mayBePlace)
  if (asRequested.size === 0 || certain.length > 0) return refusals(certain)
  const deletesFirst = await findCulprits(trx, scope, groups.map(group => splitIntoRuns(group).flatMap(deletionsFirst)).sort(byDeletions))
  return refusals(deletesFirst.size < asRequested.size ? deletesFirst : asRequested)
}

/** Finds the rows that the database refuses, by index. Where there are none, everything is written; else nothing. */
async function findCulprits (trx: Transaction<Database>, scope: string, groups: RowWrite[][]): Promise<Map<number, Culprit>> {
  const culprits = new Map<number, Culprit>()
  await isolate(trx, scope, groups, culprits, new Set())
  if (culprits.size > 0) await sql`rollback to savepoint oversync_rows`.execute(trx)
  return culprits
}

/**
 * Finds who is to blame by halving, each half under a savepoint and on top of what has been written. Rows that are tied
 * to each other are only parted when their own group fails. Later changes of a refused row are left out: they will conflict.
 */
async function isolate (trx: Transaction<Database>, scope: string, groups: RowWrite[][], culprits: Map<number, Culprit>, refusedRows: Set<string>): Promise<void> {
  const rows = groups.flat().filter(({ row }) => !refusedRows.has(row))
  if (rows.length === 0) return
  await sql`savepoint oversync_part`.execute(trx)
  const failure = await attempt(trx, scope, rows, 'as-requested')
  if (failure !== null) await sql`rollback to savepoint oversync_part`.execute(trx)
  await sql`release savepoint oversync_part`.execute(trx)
  if (failure === null) return
  if (rows.length === 1) {
    const [row] = rows as [RowWrite]
    const column = isUnreadable(failure.error) && culprits.size < MAX_NAMED_COLUMNS ? await findUnreadableColumn(trx, row) : null
    culprits.set(row.index, failure.taken.length > 0
      ? { refusal: taken(row), mayBePlace: false }
      : { refusal: refusalFor(failure.error, row, column), mayBePlace: mayBePlace(failure.error, row) })
    refusedRows.add(row.row)
    return
  }
  const parts = groups.length > 1 ? groups : rows.map(row => [row])
  const middle = parts.length >> 1
  await isolate(trx, scope, parts.slice(0, middle), culprits, refusedRows)
  await isolate(trx, scope, parts.slice(middle), culprits, refusedRows)
}

/** Writes the rows and makes deferred constraints speak. Null where all went well; throws what is not about the rows. */
async function attempt (trx: Transaction<Database>, scope: string, rows: RowWrite[], order: StatementOrder): Promise<Failure | null> {
  const taken: RowWrite[] = []
  try {
    await sql`set constraints all deferred`.execute(trx)
    for (const run of splitIntoRuns(rows)) taken.push(...await writeRun(trx, scope, run, order))
    // A deferred constraint would speak at COMMIT, when it is too late to tell whom it means.
    await sql`set constraints all immediate`.execute(trx)
    return taken.length > 0 ? { taken, error: null } : null
  } catch (error) {
    const problem = asDatabaseError(error)
    if (problem === null || !isRowProblem(problem)) throw error
    return { taken, error }
  }
}

function refusals (culprits: Iterable<[number, Culprit]>): Map<number, Refusal> {
  return new Map([...culprits].map(([index, { refusal }]) => [index, refusal]))
}

function deletionsFirst (run: RowWrite[]): RowWrite[] {
  return [...run].sort((a, b) => Number(b.verb === 'delete') - Number(a.verb === 'delete'))
}

/** Groups that only delete, before the others. */
function byDeletions (a: RowWrite[], b: RowWrite[]): number {
  const onlyDeletes = (group: RowWrite[]) => Number(group.every(({ verb }) => verb === 'delete'))
  return onlyDeletes(b) - onlyDeletes(a)
}

function toRowWrite ({ change, hadLiveRow, stored }: Write): RowWrite {
  const { index, row, table, op, pk, payload, columns } = change
  return { index, row, table, pk, payload, whole: stored.text, columns, verb: op === 'DELETE' ? 'delete' : hadLiveRow ? 'update' : 'insert' }
}

/** Rows that refer to each other, and changes of one row, in groups; groups and rows keep their order. */
function tieTogether (rows: RowWrite[], writes: Write[]): RowWrite[][] {
  const leader = new Map<string, string>()
  const find = (row: string): string => {
    let root = row
    for (let next = leader.get(root); next !== undefined && next !== root; next = leader.get(root)) root = next
    leader.set(row, root)
    return root
  }
  for (const { row } of rows) leader.set(row, row)
  for (const { change } of writes) {
    for (const parent of change.parents) {
      if (leader.has(parent.row) && leader.has(change.row)) leader.set(find(change.row), find(parent.row))
    }
  }
  const groups = new Map<string, RowWrite[]>()
  for (const row of rows) {
    const root = find(row.row)
    const group = groups.get(root)
    if (group === undefined) groups.set(root, [row])
    else group.push(row)
  }
  return [...groups.values()]
}
