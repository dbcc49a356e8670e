import { CompiledQuery, sql, type Transaction } from 'kysely'
import { MAX_CULPRITS, MAX_NAMED_COLUMNS } from '../limits.js'
import { stillAffected, type AffectedRow } from '../materializer/delete-effects.js'
import { findUnreadableColumn, writeRun, writeRunsTogether, type AskMaterializer, type StatementOrder, type WriteContext } from '../materializer/materializer.js'
import type { Refused, RowWrite } from '../materializer/row-write.js'
import type { Database } from '../storage/database.js'
import { asDatabaseError, type DatabaseError } from '../storage/database-error.js'
import { CONSTRAINTS_SPEAK } from '../storage/pipeline.js'
import { BatchTooLarge } from './batch-too-large.js'
import type { Refusal } from './prepare.js'
import { isRowProblem, isUnreadable, mayBeOrder, mayBePlace, reachesFurther, refusalFor, refusalOf } from './row-problem.js'
import { splitIntoRuns } from './write-order.js'

export interface WriteRowsContext {
  trx: Transaction<Database>
  scope: string
  askMaterializer: AskMaterializer
  /** Tells which of the rows, by their one text, are live in the scope. */
  isOurs: (rows: AffectedRow[]) => Promise<Set<string>>
  /** Throws where the tables are not what they were when their columns were read: then a refusal may mean nothing. */
  requireCatalog: () => Promise<void>
}

/** A change that cannot be written. */
export interface Culprit {
  refusal: Refusal
  write: RowWrite
  /** What the database said of it; null where nobody asked further. */
  problem: DatabaseError | null
}

export interface RowsOutcome {
  /** Changes that are refused, by index; where there are any, nothing was written. */
  culprits: Map<number, Culprit>
  /** Rows of the scope that deletions of the batch changed by a foreign key's action. */
  affected: AffectedRow[]
}

interface Failure {
  /** Exact culprits. */
  refused: Refused[]
  /** What the database said about one of the rows, or null. */
  error: unknown
}

interface Suspect extends Culprit {
  /** In another place among the others the row might have been taken. */
  mayBePlace: boolean
}

/**
 * Writes the accepted changes into the business tables and returns those that were refused, by index, with the reason.
 * Where there are any, nothing stays written: versions and children hang on them, so that the batch is judged again without
 * them. No row costs a statement of its own while none is refused. `ties` are pairs of rows of which one refers to the other.
 */
export async function writeRows (context: WriteRowsContext, rows: RowWrite[], ties: Array<[string, string]>): Promise<RowsOutcome> {
  if (rows.length === 0) return { culprits: new Map(), affected: [] }
  const { trx } = context
  const affected: AffectedRow[] = []
  const culprits = await writeOrBlame(context, rows, ties, affected)
  if (culprits.size > 0 || affected.length === 0) return { culprits, affected: [] }
  const remaining = await stillAffected(trx, affected)
  const ours = await context.isOurs(remaining)
  const foreign = remaining.filter(({ row }) => !ours.has(row))
  if (foreign.length === 0) return { culprits, affected: remaining }
  await sql`rollback to savepoint oversync_rows`.execute(trx)
  return { culprits: new Map(foreign.map(({ cause, constraint }) => [cause.index, { refusal: reachesFurther(constraint), write: cause, problem: null }])), affected: [] }
}

/** Writes the rows, or finds who is to blame. What deletions changed is added to `affected`. */
async function writeOrBlame (context: WriteRowsContext, rows: RowWrite[], ties: Array<[string, string]>, affected: AffectedRow[]): Promise<Map<number, Culprit>> {
  const isWritten = await attemptTogether(context, rows)
  if (isWritten === true) return new Map()
  for (const order of ['upserts-first', 'deletes-first', 'as-requested'] as const) {
    const failure = await attempt(context, rows, order, affected, order === 'upserts-first' && isWritten === null ? 'oversync_rows' : null)
    if (failure === null) return new Map()
    affected.length = 0
    await sql`rollback to savepoint oversync_rows`.execute(context.trx)
    if (order === 'upserts-first') await context.requireCatalog()
    if (failure.refused.length > 0) return new Map(failure.refused.map(refused => [refused.write.index, { refusal: refusalOf(refused), write: refused.write, problem: null }]))
    if (!mayBeOrder(failure.error)) break
  }
  const culprits = await findWhoIsToBlame(context, tieTogether(rows, ties), affected)
  // Undone savepoints let go of their locks: the tables may have changed while the culprits were looked for.
  if (culprits.size > 0) await context.requireCatalog()
  return culprits
}

async function findWhoIsToBlame (context: WriteRowsContext, groups: RowWrite[][], affected: AffectedRow[]): Promise<Map<number, Culprit>> {
  const asRequested = await findCulprits(context, groups, affected)
  // Those whose content is at fault go first: without them the others may find their place.
  const certain = new Map([...asRequested].filter(([, { mayBePlace }]) => !mayBePlace))
  if (asRequested.size === 0 || certain.size > 0) return certain
  const orders = [() => groups.map(group => splitIntoRuns(group).flatMap(deletionsFirst)).sort(byDeletions)]
  // Of the app's own tables nobody knows here which row needs which: those that were refused may find theirs at the end.
  if ([...asRequested.values()].some(({ write }) => write.table.materializer !== null)) orders.push(() => [...groups].sort((a, b) => Number(isSuspect(a)) - Number(isSuspect(b))))
  let best = asRequested
  for (const order of orders) {
    const culprits = await findCulprits(context, renumber(order()), affected)
    if (culprits.size < best.size) best = culprits
    // Nobody is to blame, and everything is written.
    if (culprits.size === 0) break
  }
  return best

  function isSuspect (group: RowWrite[]): boolean {
    return group.some(({ index }) => asRequested.has(index))
  }
}

/** Finds the rows that are refused, by index. Where there are none, everything is written; else nothing. */
async function findCulprits (context: WriteRowsContext, groups: RowWrite[][], affected: AffectedRow[]): Promise<Map<number, Suspect>> {
  const culprits = new Map<number, Suspect>()
  affected.length = 0
  await isolate(context, groups, culprits, new Set(), affected)
  if (culprits.size > 0) await sql`rollback to savepoint oversync_rows`.execute(context.trx)
  return culprits
}

/**
 * Finds who is to blame by halving, each half under a savepoint and on top of what has been written. Rows that are tied
 * to each other are only parted when their own group fails. Later changes of a refused row are left out: they will conflict.
 */
async function isolate (context: WriteRowsContext, groups: RowWrite[][], culprits: Map<number, Suspect>, refusedRows: Set<string>, affected: AffectedRow[]): Promise<void> {
  const { trx } = context
  const rows = groups.flat().filter(({ row }) => !refusedRows.has(row)).sort((a, b) => a.place - b.place)
  if (rows.length === 0) return
  const failure = await attempt(context, rows, 'as-requested', affected, 'oversync_part')
  if (failure !== null) await sql`rollback to savepoint oversync_part`.execute(trx)
  await sql`release savepoint oversync_part`.execute(trx)
  if (failure === null) return
  if (rows.length === 1) {
    const [write] = rows as [RowWrite]
    culprits.set(write.index, await blame(trx, write, failure, culprits.size < MAX_NAMED_COLUMNS))
    refusedRows.add(write.row)
    if (culprits.size > MAX_CULPRITS) throw new BatchTooLarge(`The database refuses more than ${MAX_CULPRITS} changes of this batch.`)
    return
  }
  const parts = groups.length > 1 ? groups : rows.map(row => [row])
  const middle = parts.length >> 1
  await isolate(context, parts.slice(0, middle), culprits, refusedRows, affected)
  await isolate(context, parts.slice(middle), culprits, refusedRows, affected)
}

async function blame (trx: Transaction<Database>, write: RowWrite, { refused, error }: Failure, namesColumn: boolean): Promise<Suspect> {
  const [certain] = refused
  if (certain !== undefined) return { refusal: refusalOf(certain), write, problem: null, mayBePlace: false }
  const column = isUnreadable(error) && namesColumn && write.table.materialize ? await findUnreadableColumn(trx, write) : null
  return { refusal: refusalFor(error, write, column), write, problem: asDatabaseError(error), mayBePlace: mayBePlace(error) }
}

/** Writes the rows, after a savepoint where it has a name, and makes deferred constraints speak. Null where all went well; throws what is not about the rows. */
async function attempt ({ trx, scope, askMaterializer }: WriteRowsContext, rows: RowWrite[], order: StatementOrder, affected: AffectedRow[], savepoint: string | null): Promise<Failure | null> {
  const refused: Refused[] = []
  const found: AffectedRow[] = []
  const context: WriteContext = { trx, scope, askMaterializer }
  try {
    // Both in one message: neither has parameters.
    await sql`${sql.raw(savepoint === null ? '' : `savepoint ${savepoint};`)} set constraints all deferred`.execute(trx)
    for (const run of splitIntoRuns(rows)) {
      const outcome = await writeRun(context, run, order)
      refused.push(...outcome.refused)
      found.push(...outcome.affected)
    }
    // At COMMIT it would be too late to tell whom they mean.
    await trx.executeQuery(CONSTRAINTS_SPEAK)
    if (refused.length > 0) return { refused, error: null }
    affected.push(...found)
    return null
  } catch (error) {
    const problem = asDatabaseError(error)
    if (problem === null || !isRowProblem(problem)) throw error
    return { refused, error }
  }
}

/**
 * The first attempt, in one round trip: nearly every batch needs no other. Where a row was not written it stays unsaid which,
 * and nothing is left but the savepoint. Null where the rows cannot be written so; then there is no savepoint either.
 */
async function attemptTogether ({ trx, scope, askMaterializer }: WriteRowsContext, rows: RowWrite[]): Promise<boolean | null> {
  try {
    const isWritten = await writeRunsTogether({ trx, scope, askMaterializer }, splitIntoRuns(rows), BEGIN_ROWS, CONSTRAINTS_SPEAK)
    if (isWritten !== false) return isWritten
  } catch (error) {
    const problem = asDatabaseError(error)
    if (problem === null || !isRowProblem(problem)) throw error
  }
  await sql`rollback to savepoint oversync_rows`.execute(trx)
  return false
}

/** Two statements in one message: neither has parameters. */
const BEGIN_ROWS = CompiledQuery.raw('savepoint oversync_rows; set constraints all deferred')

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

/** Rows that refer to each other, and changes of one row, in groups; groups and rows keep their order. */
function tieTogether (rows: RowWrite[], ties: Array<[string, string]>): RowWrite[][] {
  const leader = new Map<string, string>()
  const find = (row: string): string => {
    let root = row
    for (let next = leader.get(root); next !== undefined && next !== root; next = leader.get(root)) root = next
    leader.set(row, root)
    return root
  }
  for (const { row } of rows) leader.set(row, row)
  for (const [child, parent] of ties) {
    if (leader.has(parent) && leader.has(child)) leader.set(find(child), find(parent))
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
