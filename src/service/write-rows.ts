import { sql, type Transaction } from 'kysely'
import { MAX_CULPRITS, MAX_NAMED_COLUMNS } from '../limits.js'
import { stillGone, type CascadedRow } from '../materializer/cascades.js'
import { findUnreadableColumn, writeRun, type RowWrite, type StatementOrder } from '../materializer/materializer.js'
import type { Database } from '../storage/database.js'
import { asDatabaseError } from '../storage/database-error.js'
import { BatchTooLarge } from './batch-too-large.js'
import type { Write } from './decide.js'
import type { Refusal } from './prepare.js'
import { isRowProblem, isUnreadable, mayBeOrder, mayBePlace, reachesFurther, refusalFor, taken } from './row-problem.js'
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
export async function writeRows (trx: Transaction<Database>, scope: string, writes: Write[], isOurs: IsOurs): Promise<RowsOutcome> {
  const rows = writes.filter(({ change }) => change.table.materialize).map(toRowWrite)
  if (rows.length === 0) return { culprits: new Map(), cascaded: [] }
  await sql`savepoint oversync_rows`.execute(trx)
  const cascaded: CascadedRow[] = []
  const culprits = await writeOrBlame(trx, scope, rows, writes, cascaded)
  if (culprits.size > 0 || cascaded.length === 0) return { culprits, cascaded: [] }
  const gone = await stillGone(trx, cascaded)
  const ours = await isOurs(gone)
  const foreign = gone.filter(({ row }) => !ours.has(row))
  if (foreign.length === 0) return { culprits, cascaded: gone }
  await sql`rollback to savepoint oversync_rows`.execute(trx)
  return { culprits: new Map(foreign.map(({ cause, constraint }) => [cause.index, reachesFurther(constraint)])), cascaded: [] }
}

export interface RowsOutcome {
  /** Changes that the database refuses, by index; where there are any, nothing was written. */
  culprits: Map<number, Refusal>
  /** Rows of the scope that deletions of the batch took along (ON DELETE CASCADE). */
  cascaded: CascadedRow[]
}

/** Tells which of the rows, by their one text, are live in the scope. */
export type IsOurs = (rows: CascadedRow[]) => Promise<Set<string>>

/** Writes the rows, or finds who is to blame. What deletions took along is added to `cascaded`. */
async function writeOrBlame (trx: Transaction<Database>, scope: string, rows: RowWrite[], writes: Write[], cascaded: CascadedRow[]): Promise<Map<number, Refusal>> {
  for (const order of ['upserts-first', 'deletes-first', 'as-requested'] as const) {
    const failure = await attempt(trx, scope, rows, order, cascaded)
    if (failure === null) return new Map()
    cascaded.length = 0
    await sql`rollback to savepoint oversync_rows`.execute(trx)
    if (failure.taken.length > 0) return new Map(failure.taken.map(row => [row.index, taken(row)]))
    if (!mayBeOrder(failure.error)) break
  }
  const groups = tieTogether(rows, writes)
  const asRequested = await findCulprits(trx, scope, groups, cascaded)
  // Those whose content is at fault go first: without them the others may find their place.
  const certain = [...asRequested].filter(([, { mayBePlace }]) => !mayBePlace)
  if (asRequested.size === 0 || certain.length > 0) return refusals(certain)
  const deletesFirst = await findCulprits(trx, scope, renumber(groups.map(group => splitIntoRuns(group).flatMap(deletionsFirst)).sort(byDeletions)), cascaded)
  return refusals(deletesFirst.size < asRequested.size ? deletesFirst : asRequested)
}

/** Finds the rows that the database refuses, by index. Where there are none, everything is written; else nothing. */
async function findCulprits (trx: Transaction<Database>, scope: string, groups: RowWrite[][], cascaded: CascadedRow[]): Promise<Map<number, Culprit>> {
  const culprits = new Map<number, Culprit>()
  cascaded.length = 0
  await isolate(trx, scope, groups, culprits, new Set(), cascaded)
  if (culprits.size > 0) await sql`rollback to savepoint oversync_rows`.execute(trx)
  return culprits
}

/**
 * Finds who is to blame by halving, each half under a savepoint and on top of what has been written. Rows that are tied
 * to each other are only parted when their own group fails. Later changes of a refused row are left out: they will conflict.
 */
async function isolate (trx: Transaction<Database>, scope: string, groups: RowWrite[][], culprits: Map<number, Culprit>, refusedRows: Set<string>, cascaded: CascadedRow[]): Promise<void> {
  const rows = groups.flat().filter(({ row }) => !refusedRows.has(row)).sort((a, b) => a.place - b.place)
  if (rows.length === 0) return
  await sql`savepoint oversync_part`.execute(trx)
  const failure = await attempt(trx, scope, rows, 'as-requested', cascaded)
  if (failure !== null) await sql`rollback to savepoint oversync_part`.execute(trx)
  await sql`release savepoint oversync_part`.execute(trx)
  if (failure === null) return
  if (rows.length === 1) {
    const [row] = rows as [RowWrite]
    const column = isUnreadable(failure.error) && culprits.size < MAX_NAMED_COLUMNS ? await findUnreadableColumn(trx, row) : null
    culprits.set(row.index, failure.taken.length > 0
      ? { refusal: taken(row), mayBePlace: false }
      : { refusal: refusalFor(failure.error, row, column), mayBePlace: mayBePlace(failure.error) })
    refusedRows.add(row.row)
    if (culprits.size > MAX_CULPRITS) throw new BatchTooLarge(`The database refuses more than ${MAX_CULPRITS} changes of this batch.`)
    return
  }
  const parts = groups.length > 1 ? groups : rows.map(row => [row])
  const middle = parts.length >> 1
  await isolate(trx, scope, parts.slice(0, middle), culprits, refusedRows, cascaded)
  await isolate(trx, scope, parts.slice(middle), culprits, refusedRows, cascaded)
}

/** Writes the rows and makes deferred constraints speak. Null where all went well; throws what is not about the rows. */
async function attempt (trx: Transaction<Database>, scope: string, rows: RowWrite[], order: StatementOrder, cascaded: CascadedRow[]): Promise<Failure | null> {
  const taken: RowWrite[] = []
  const gone: CascadedRow[] = []
  try {
    await sql`set constraints all deferred`.execute(trx)
    for (const run of splitIntoRuns(rows)) {
      const outcome = await writeRun(trx, scope, run, order)
      taken.push(...outcome.taken)
      gone.push(...outcome.cascaded)
    }
    // A deferred constraint would speak at COMMIT, when it is too late to tell whom it means.
    await sql`set constraints all immediate`.execute(trx)
    if (taken.length > 0) return { taken, error: null }
    cascaded.push(...gone)
    return null
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

function renumber (groups: RowWrite[][]): RowWrite[][] {
  let place = 0
  return groups.map(group => group.map(write => ({ ...write, place: place++ })))
}

/** Groups that only delete, before the others. */
function byDeletions (a: RowWrite[], b: RowWrite[]): number {
  const onlyDeletes = (group: RowWrite[]) => Number(group.every(({ verb }) => verb === 'delete'))
  return onlyDeletes(b) - onlyDeletes(a)
}

function toRowWrite ({ change, hadLiveRow, stored }: Write, place: number): RowWrite {
  const { index, row, table, op, pk, payload, columns } = change
  return { index, place, row, table, pk, payload, whole: stored.text, columns, verb: op === 'DELETE' ? 'delete' : hadLiveRow ? 'update' : 'insert' }
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
