import type { ClientCore } from '../core.js'
import { afterTakingOver, settleUndecided } from '../sqlite/apply.js'
import { applyTransaction } from '../sqlite/apply-context.js'
import { forgetConflicts, readConflicts, type ConflictRecord, type UndoChoice } from '../sqlite/conflict-log.js'
import { discardHeld, readHeld, retryHeld, type HeldRow } from '../sqlite/held.js'
import { readShadowRows, type ShadowRow } from '../sqlite/shadow.js'
import { transact } from '../sqlite/transaction.js'
import { undoConflict, type Undone } from '../sqlite/undo.js'
import type { AnyDatabase } from '../table-types.js'

export interface RowCalls<Database = AnyDatabase> {
  /** Rows that were refused or cannot be sent, with the reason. */
  held: () => Array<HeldRow<Database>>
  /** Make a held row pending again, or all of them; returns how many. */
  retryHeld: (id?: number) => number
  /** Give up the local change of a held row and take the server's row. False where the row is no longer held, its table is not open, or the server's row has no place here. */
  discardHeld: (id: number) => boolean
  /** Rows of the server that cannot be shown yet, with the reason. */
  shadow: () => ShadowRow[]
  /** Automatic decisions, oldest first. */
  conflicts: () => Array<ConflictRecord<Database>>
  /**
   * Put another row of the record in the place of what was decided, as an ordinary edit that is captured and sent; 'mine' by
   * default. Only the columns that were decided are written. Nothing is, where the row is no longer as it was decided,
   * unless `overwrite` is true.
   */
  undoConflict: (id: number, choice?: UndoChoice, options?: { overwrite?: boolean }) => Undone
  /** Take records out of the list: these, those decided before a time, or all. Returns how many. */
  forgetConflicts: (which?: number | readonly number[] | { before: Date }) => number
}

export function rowCalls ({ session, now }: ClientCore): RowCalls {
  const { driver } = session
  return {
    held: () => now(() => readHeld(session)),
    retryHeld: id => now(() => {
      const count = applyTransaction(session, context => {
        const count = retryHeld(driver, id ?? null)
        afterTakingOver(context) // a row over which a resolver failed is merged here, before there is something to send
        return count
      })
      settleUndecided(session)
      return count
    }),
    discardHeld: id => now(() => {
      const isDone = applyTransaction(session, context => {
        const isDone = discardHeld(context, id)
        afterTakingOver(context)
        return isDone
      })
      settleUndecided(session)
      return isDone
    }),
    shadow: () => now(() => readShadowRows(driver)),
    conflicts: () => now(() => readConflicts(driver)),
    undoConflict: (id, choice = 'mine', { overwrite = false } = {}) => now(() => undoConflict(session, id, choice, overwrite)),
    forgetConflicts: which => now(() => transact(driver, () => forgetConflicts(driver, which)))
  }
}
