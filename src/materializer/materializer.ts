import { CompiledQuery, sql, type Transaction } from 'kysely'
import type { Database } from '../storage/database.js'
import { IS_AS_ASSUMED } from '../storage/append-where-assumed.js'
import { asDatabaseError } from '../storage/database-error.js'
import { jsonArray } from '../storage/json-array.js'
import { sendTogether } from '../storage/pipeline.js'
import { traitsOf, withTraits } from '../storage/statement-traits.js'
import { findAffected, type AffectedRow } from './delete-effects.js'
import type { Refused, RowWrite } from './row-write.js'
import { deleteStatement, insertStatement, ownedStatement, presentStatement, probeStatement, updateStatement, type Strictness } from './statements.js'
import { isWritable, type ColumnSpec, type TableSpec } from './table-spec.js'

/** How the statements of a run are ordered. The first fits nearly always; the others serve rows that hand a unique value on. */
export type StatementOrder = 'upserts-first' | 'deletes-first' | 'as-requested'

/** Asks the app's own materializer to write rows of its table. */
export type AskMaterializer = (trx: Transaction<Database>, table: TableSpec, rows: RowWrite[]) => Promise<Refused[]>

export interface WriteContext {
  trx: Transaction<Database>
  scope: string
  askMaterializer: AskMaterializer
}

export interface RunOutcome {
  refused: Refused[]
  /** Rows of other tables, or of the same, that deletions change. */
  affected: AffectedRow[]
}

/**
 * Writes a run of rows, no row twice, one statement for each table, verb and set of columns. Throws what the database says
 * about any of them.
 */
export async function writeRun (context: WriteContext, run: RowWrite[], order: StatementOrder): Promise<RunOutcome> {
  const outcome: RunOutcome = { refused: [], affected: [] }
  for (const group of groupRun(run, order)) {
    const [{ table, verb }] = group as [RowWrite]
    if (table.materializer !== null) {
      outcome.refused.push(...await context.askMaterializer(context.trx, table, group))
      continue
    }
    if (verb === 'delete' && table.deleteActions.length > 0) outcome.affected.push(...await findAffected(context.trx, group))
    outcome.refused.push(...await writeGroup(context, group))
  }
  return outcome
}

/**
 * Writes runs of rows in one round trip, if it can be done without a look at anything in between, and as a rule it can: then
 * tells whether every row was written. Null where it cannot, with nothing sent. `before` and `after` go along.
 */
export async function writeRunsTogether ({ trx, scope }: WriteContext, runs: RowWrite[][], before: CompiledQuery, after: CompiledQuery): Promise<boolean | null> {
  const groups = plainGroups(runs)
  if (groups === null) return null
  const answers = (await sendTogether(trx, [before, ...groups.map(group => groupStatement(group, scope)), after])).slice(1, -1)
  return groups.every(([write, ...others], i) => write?.verb === 'delete' || answers[i]?.rows.length === 1 + others.length)
}

/**
 * The statements that write runs of rows, for one round trip with COMMIT: each fails where it has not written all of its rows,
 * so that the transaction fails with it. Null where the rows cannot be written without a look at anything in between.
 */
export function strictStatements (runs: RowWrite[][], scope: string, strictness: Exclude<Strictness, 'lenient'> = 'strict'): CompiledQuery[] | null {
  const groups = plainGroups(runs)
  if (groups === null) return null
  // What is not to write must not be noticed either.
  if (strictness === 'strict where assumed' && groups.some(([write]) => write?.verb === 'delete' && write.table.watchesDeletions)) return null
  const statements = groups.map(group => failUnlessAll(group, groupStatement(group, scope, strictness), strictness))
  // Rows of different statements may need each other, in either direction.
  return statements.length > 1 ? [CONSTRAINTS_WAIT, ...statements] : statements
}

const CONSTRAINTS_WAIT = CompiledQuery.raw('set constraints all deferred')

/** A row that is not there any more is as deleted as it should be. */
function failUnlessAll (group: RowWrite[], query: CompiledQuery, strictness: Strictness): CompiledQuery {
  if (group[0]?.verb === 'delete') return query
  const { sql: text, parameters } = query
  // The cast of a text that is no integer is the one way to raise an error from within an expression.
  const expected = strictness === 'strict' ? '' : ` * (${IS_AS_ASSUMED})::int`
  const counted = `with written as (${text}) select case when count(*) = $${parameters.length + 1}::int${expected} then 0 else ('oversync: rows written: ' || count(*))::int end as missing from written`
  return withTraits(CompiledQuery.raw(counted, [...parameters, group.length]), traitsOf(query))
}

/** The statements' rows, parents first, where the database says by itself all that there is to know about each; else null. */
function plainGroups (runs: RowWrite[][]): RowWrite[][] | null {
  const groups = runs.flatMap(run => groupRun(run, 'upserts-first'))
  return groups.every(isPlain) ? groups : null
}

/** Whether the database says by itself all that there is to know about rows of one table and verb. */
function isPlain (group: RowWrite[]): boolean {
  const { table, verb } = group[0] as RowWrite
  return table.materializer === null && (verb !== 'delete' || (table.deleteActions.length === 0 && !needsExplaining(table)))
}

/** Rows of the table may still be there after their deletion. */
function needsExplaining ({ owner, mayKeep }: TableSpec): boolean {
  return owner !== null || mayKeep
}

/** The statement that writes rows of one table, verb and set of columns. */
function groupStatement (group: RowWrite[], scope: string, strictness: Strictness = 'lenient'): CompiledQuery<{ pk: string }> {
  const { table, verb, columns } = group[0] as RowWrite
  const owner = table.owner === null ? [] : [scope]
  const keys = JSON.stringify(group.map(({ pk }) => pk))
  if (verb === 'delete') return CompiledQuery.raw(deleteStatement(table, strictness), [keys, ...owner]) as CompiledQuery<{ pk: string }>
  const payloads = jsonArray(group.map(({ payload }) => payload as string))
  const parameters = [payloads, keys, ...owner]
  if (verb === 'update') return CompiledQuery.raw(updateStatement(table, columns, strictness), parameters) as CompiledQuery<{ pk: string }>
  const isWhole = columns.filter(name => isWritable(table, name)).length === writableColumns(table)
  // A name for each table and no more: other sets of columns are as many as devices like. Nothing here is for the planner to choose, unless a policy or a rule adds to it.
  return withTraits(CompiledQuery.raw(isWhole ? wholeInsertOf(table, strictness) : insertStatement(table, columns, strictness), parameters) as CompiledQuery<{ pk: string }>, { named: isWhole && !table.mayKeep })
}

function writableColumns (table: TableSpec): number {
  let count = 0
  for (const { isWritable } of table.columns.values()) if (isWritable) count++
  return count
}

const WHOLE_INSERTS: Record<Strictness, WeakMap<TableSpec, string>> = { lenient: new WeakMap(), strict: new WeakMap(), 'strict where assumed': new WeakMap() }

/** The statement that inserts rows with every column that can be written, made once. */
function wholeInsertOf (table: TableSpec, strictness: Strictness): string {
  const made = WHOLE_INSERTS[strictness]
  const text = made.get(table) ?? insertStatement(table, [...table.columns.keys()].sort(), strictness)
  made.set(table, text)
  return text
}

async function writeGroup (context: WriteContext, group: RowWrite[]): Promise<Refused[]> {
  const { trx, scope } = context
  const { table, verb } = group[0] as RowWrite
  const { rows } = await trx.executeQuery(groupStatement(group, scope))
  // A row that is not there any more is as deleted as it should be.
  if (verb === 'delete') return needsExplaining(table) ? await explain(context, group) : []
  if (rows.length === group.length) return []
  const written = new Set(rows.map(({ pk }) => pk))
  const absent = group.filter(({ pk }) => !written.has(pk))
  // An insert without effect met a row of someone else. An update without effect met none: the app removed the row behind
  // the stream's back, and the device's row is whole, so that it can be put back.
  if (verb === 'update') return (await writeRun(context, absent.map(wholeInsert), 'upserts-first')).refused
  // A trigger may have swallowed the row; then nobody else has its key.
  const found = await present(context, table, absent)
  return absent.map(write => ({ write, why: found.get(write.pk) === false || (found.has(write.pk) && !write.hadRow) ? 'taken' : 'kept', message: null }))
}

/** Why rows are still there after their deletion: they have another owner, or the database kept them. */
async function explain (context: WriteContext, group: RowWrite[]): Promise<Refused[]> {
  const found = await present(context, (group[0] as RowWrite).table, group)
  return group.filter(({ pk }) => found.has(pk)).map(write => ({ write, why: found.get(write.pk) === true ? 'kept' : 'taken', message: null }))
}

/** Which of the rows are in the table, by key, and whether they are the scope's own as far as an owner column tells. */
async function present ({ trx, scope }: WriteContext, table: TableSpec, group: RowWrite[]): Promise<Map<string, boolean>> {
  const keys = JSON.stringify(group.map(({ pk }) => pk))
  const query = table.owner === null ? CompiledQuery.raw(presentStatement(table), [keys]) : CompiledQuery.raw(ownedStatement(table, table.owner), [keys, scope])
  const { rows } = await trx.executeQuery<{ pk: string, own?: boolean }>(query)
  return new Map(rows.map(({ pk, own = true }) => [pk, own]))
}

/** The insert that puts an updated row back, with the columns that the update left out. */
function wholeInsert (write: RowWrite): RowWrite {
  const { table, whole } = write
  const columns = Object.keys(JSON.parse(whole as string) as object).filter(name => isWritable(table, name)).sort()
  return { ...write, verb: 'insert', hadRow: true, payload: whole, columns }
}

/** The column whose value PostgreSQL cannot read, of a row that it refused with a data exception; null where it is none alone. */
export async function findUnreadableColumn (trx: Transaction<Database>, { table, payload, columns }: RowWrite): Promise<string | null> {
  for (const name of columns.filter(name => isWritable(table, name))) {
    await sql`savepoint oversync_probe`.execute(trx)
    try {
      await trx.executeQuery(CompiledQuery.raw(probeStatement(table.columns.get(name) as ColumnSpec), [`[${payload as string}]`]))
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
  let [last, group]: [string, RowWrite[]] = ['', []]
  for (const write of run) {
    // Most writes are like the one before.
    if (!isAlike(group.at(-1), write)) {
      const key = groupOf(write)
      // As requested: only neighbours share a statement.
      if (order === 'as-requested' && key !== last) open.clear()
      last = key
      const known = open.get(key)
      group = known ?? []
      if (known === undefined) {
        open.set(key, group)
        groups.push(group)
      }
    }
    group.push(write)
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

const TEXTS = new WeakMap<readonly string[], string>()

/** Rows with the same members have the same list of columns: its text is made once. */
function textOf (columns: readonly string[]): string {
  const text = TEXTS.get(columns) ?? JSON.stringify(columns)
  TEXTS.set(columns, text)
  return text
}

/** Whether two writes are for one statement, as far as a glance tells. */
function isAlike (a: RowWrite | undefined, b: RowWrite): boolean {
  return a !== undefined && a.table === b.table && a.verb === b.verb && a.columns === b.columns
}

/** A materializer gets rows of all columns at once. */
function groupOf ({ verb, table, columns }: RowWrite): string {
  const kind = table.materializer !== null && verb !== 'delete' ? 'upsert' : verb
  return `${kind} ${table.id} ${verb === 'delete' || table.materializer !== null ? '' : textOf(columns)}`
}
