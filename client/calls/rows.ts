import type { ClientCore } from '../core.js'
import { afterTakingOver } from '../sqlite/apply.js'
import { applyTransaction } from '../sqlite/apply-context.js'
import { readConflicts, type ConflictRecord } from '../sqlite/conflict-log.js'
import { discardHeld, readHeld, retryHeld, type HeldRow } from '../sqlite/held.js'
import { readShadowRows, type ShadowRow } from '../sqlite/shadow.js'
import { transact } from '../sqlite/transaction.js'

export interface RowCalls {
  /** Rows that were refused or cannot be sent, with the reason. */
  held: () => HeldRow[]
  /** Make a held row pending again, or all of them; returns how many. */
  retryHeld: (id?: number) => number
  /** Give up the local change of a held row and take the server's row. False where the row is no longer held, or cannot be written. */
  discardHeld: (id: number) => boolean
  /** Rows of the server that cannot be shown yet, with the reason. */
  shadow: () => ShadowRow[]
  /** Automatic decisions, oldest first. */
  conflicts: () => ConflictRecord[]
}

export function rowCalls ({ session, now }: ClientCore): RowCalls {
  const { driver } = session
  return {
    held: () => now(() => readHeld(driver)),
    retryHeld: id => now(() => transact(driver, () => retryHeld(driver, id ?? null))),
    discardHeld: id => now(() => applyTransaction(session, context => {
      const isDone = discardHeld(context, id)
      afterTakingOver(context)
      return isDone
    })),
    shadow: () => now(() => readShadowRows(driver)),
    conflicts: () => now(() => readConflicts(driver))
  }
}
