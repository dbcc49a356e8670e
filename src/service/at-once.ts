import type { Transaction } from 'kysely'
import { strictStatements } from '../materializer/materializer.js'
import type { RowWrite } from '../materializer/row-write.js'
import type { Database } from '../storage/database.js'
import { asDatabaseError } from '../storage/database-error.js'
import { sendTogether } from '../storage/pipeline.js'
import type { Conclusion } from './conclude.js'
import type { Judgement } from './decide.js'
import type { PreparedChange } from './prepare.js'
import { mayDiffer } from './read-back.js'
import { isRowProblem } from './row-problem.js'
import { splitIntoRuns } from './write-order.js'

/** The database refuses a row of a batch that was to be committed at once. Nothing of it is stored, and who is to blame stays unsaid. */
export class NotAtOnce extends Error {
  constructor (cause: unknown) {
    super('The database refuses a row.', { cause })
  }
}

/** How an upload ends, once it is judged; null where its rows are to be written step by step. */
export type Lastly = ((judgement: Judgement) => Promise<Conclusion>) | null

/**
 * Writes rows with the upload's last statements and COMMIT behind them, in one round trip (docs/decisions/0023-committed-at-once.md).
 * Null, with nothing sent, where something needs a look at what became of the rows. Throws NotAtOnce.
 */
export async function commitAtOnce (trx: Transaction<Database>, lastly: Lastly, scope: string, judgement: Judgement, { rows, defaulted }: { rows: RowWrite[], defaulted: ReadonlySet<string> }): Promise<Conclusion | null> {
  if (lastly === null || rows.length === 0 || needsLook(judgement, defaulted)) return null
  const statements = strictStatements(splitIntoRuns(rows), scope)
  if (statements === null) return null
  const conclusion = await lastly(judgement)
  await orNotAtOnce(sendTogether(trx, [...statements, ...conclusion.statements], { commits: true }))
  return conclusion
}

/** Throws NotAtOnce in place of what the database says of a row. */
export async function orNotAtOnce<T> (answers: Promise<T>): Promise<T> {
  try {
    return await answers
  } catch (error) {
    const problem = asDatabaseError(error)
    throw problem !== null && isRowProblem(problem) ? new NotAtOnce(error) : error
  }
}

/** What the database has made of the rows, or of their tables, is to be asked before they are in the stream. */
export function needsLook ({ writes }: Judgement, defaulted: ReadonlySet<string>): boolean {
  return writes.some(({ change }) => mayDiffer(change, defaulted) || lacksColumns(change))
}

/** It has members for which its table has no column. */
export function lacksColumns ({ table, unknown }: PreparedChange): boolean {
  return table.materialize && unknown.length > 0
}
