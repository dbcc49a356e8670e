import { Questions, Unanswered } from '../conflict/questions.js'
import type { TableRule } from '../conflict/resolver.js'
import type { Driver } from '../drivers/driver.js'
import type { AppTrigger } from './app-triggers.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { watchAppTriggers } from './echo.js'
import { repairEchoes } from './echo-repair.js'
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
  /** The app's triggers: all, and those that the client's writes can fire. */
  readonly appTriggers: { readonly all: readonly AppTrigger[], readonly onSynced: readonly AppTrigger[] }
  /** Whether this window also looks for edits that were missed. */
  readonly recheck: boolean
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
  /** The synced tables, as they are now: call inside the transaction, for another process may have migrated them. */
  refreshTables: () => Tables
  /** The synced tables as they were last read, for what only looks. */
  knownTables: () => Tables
  /** Whether the file's schema is another than when they were read. */
  schemaHasChanged: () => boolean
  /** Called before a transaction of the client's ends: its own changes of the schema are no news. */
  schemaIsMine: () => void
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
  const { driver, rules } = host
  const changedTables = new Set<string>()
  const result = withoutForeignKeys(driver, () => transact(driver, () => {
    const tables = host.refreshTables()
    const state = readState(driver) as ClientState
    const appTriggers = watchAppTriggers(driver, tables)
    writeState(driver, { applying: appTriggers.onSynced.length > 0 ? 2 : 1 })
    reviveEditedHeld(driver)
    const context: ApplyContext = {
      driver, tables, rules, questions, comesAgain, appTriggers, recheck: state.recheck, stamp: state.stamp + 1, removedFrom: new Set(), changedTables, counts: { applied: 0, skipped: 0, shadowed: 0, conflicts: 0 }
    }
    const result = fn(context, state)
    if (questions.areOpen) throw new Unanswered()
    repairEchoes(context)
    driver.run('delete from _sync_touched')
    if (appTriggers.onSynced.length > 0) driver.run('delete from _sync_echo')
    writeState(driver, { applying: 0, stamp: context.stamp, ...(context.counts.applied > 0 ? { progress: context.stamp } : {}) })
    host.schemaIsMine()
    return result
  }))
  host.afterCommit(changedTables)
  return result
}
