import { Questions, Unanswered } from '../conflict/questions.js'
import type { TableRule } from '../conflict/resolver.js'
import type { Driver } from '../drivers/driver.js'
import { readState, writeState, type ClientState } from './client-state.js'
import type { Tables } from './open-file.js'
import { reviveEditedHeld } from './pending.js'
import { transact, withoutForeignKeys } from './transaction.js'

/** What the functions share that take over server rows inside one transaction. */
export interface ApplyContext {
  readonly driver: Driver
  readonly tables: Tables
  readonly rules: ReadonlyMap<string, TableRule>
  /** What resolvers of the app are asked, and answered. */
  readonly questions: Questions
  /** Number of this transaction. */
  readonly stamp: number
  /** Tables from which rows were removed: their children may dangle. */
  readonly removedFrom: Set<string>
  /** Tables in which rows were written or removed. */
  readonly changedTables: Set<string>
  /** Whether a later change of this row waits in the window: then the row may make way for another. */
  readonly comesAgain: (table: string, key: string) => boolean
  readonly counts: ApplyCounts
}

export interface ApplyCounts {
  /** Server rows taken over, merged ones included. */
  applied: number
  /** Changes that the device had already. */
  skipped: number
  /** Server rows that cannot be shown now. */
  shadowed: number
  /** Automatic decisions, see `conflicts()`. */
  conflicts: number
}

export interface ApplyHost {
  driver: Driver
  tables: Tables
  rules: ReadonlyMap<string, TableRule>
  /** Called after the transaction, with the tables that it changed. */
  afterCommit: (changedTables: ReadonlySet<string>) => void
}

/**
 * One transaction in which the client writes the app's tables: foreign keys off around it, capture off inside it. `fn` gets
 * the state as it is inside the transaction. It may run several times, each time from the start and each but the last rolled
 * back (see `Questions`): what it does outside the file must not add up.
 */
export function applyTransaction<T> (host: ApplyHost, fn: (context: ApplyContext, state: ClientState) => T, comesAgain: ApplyContext['comesAgain'] = () => false): T {
  const questions = new Questions()
  for (;;) {
    try {
      return runOnce(host, fn, comesAgain, questions)
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error
      questions.ask() // each pass asks something, and after MAX_QUESTION_PASSES nothing is open any more
    }
  }
}

function runOnce<T> (host: ApplyHost, fn: (context: ApplyContext, state: ClientState) => T, comesAgain: ApplyContext['comesAgain'], questions: Questions): T {
  const { driver, tables, rules } = host
  const changedTables = new Set<string>()
  const result = withoutForeignKeys(driver, () => transact(driver, () => {
    const state = readState(driver) as ClientState
    writeState(driver, { applying: 1 })
    reviveEditedHeld(driver)
    const context: ApplyContext = {
      driver, tables, rules, questions, comesAgain, stamp: state.stamp + 1, removedFrom: new Set(), changedTables, counts: { applied: 0, skipped: 0, shadowed: 0, conflicts: 0 }
    }
    const result = fn(context, state)
    if (questions.areOpen) throw new Unanswered()
    driver.run('delete from _sync_touched')
    writeState(driver, { applying: 0, stamp: context.stamp, ...(context.counts.applied > 0 ? { progress: context.stamp } : {}) })
    return result
  }))
  host.afterCommit(changedTables)
  return result
}
