import type { ApplyContext } from '../sqlite/apply-context.js'
import { overlay, type Row } from '../sqlite/cell.js'
import type { TableInfo } from '../sqlite/table-info.js'
import { merge, type ConflictKind, type RuleName } from './merge.js'
import { DEFAULT_RULE } from './resolver.js'

export interface Ruling {
  kind: ConflictKind
  columns: string[]
  rule: RuleName
  /** Whether a resolver made the row up. */
  isAnswer: boolean
}

export type Decided =
  | { result: Row | null, conflict: Ruling | null }
  /** Nothing can be done now; the server's row waits in shadow for this reason. */
  | { problem: string, reason: 'resolver' | 'undecided', isNew: boolean }

/** The row that comes of a local edit and the server's row, by the rules of its table. */
export function decide (context: ApplyContext, table: TableInfo, key: string, { image, local, server, version }: { image: Row | null, local: Row | null, server: Row | null, version: number }): Decided {
  const { conflict: rule, deleted } = context.rules.get(table.name) ?? DEFAULT_RULE
  if (typeof rule !== 'function') {
    const { result, conflict } = merge(image, local, server, rule, deleted)
    return { result, conflict: conflict === null ? null : { ...conflict, rule: isOverColumns(conflict.kind) ? rule : deleted, isAnswer: false } }
  }
  const taken = merge(image, local, server, 'serverWins', deleted)
  const { conflict } = taken
  if (conflict === null) return { result: taken.result, conflict }
  const { kind, columns } = conflict
  if (!isOverColumns(kind) || local === null || server === null) return { result: taken.result, conflict: { ...conflict, rule: deleted, isAnswer: false } }

  const earlier = hasFailed(context, table.name, key, version)
  if (earlier !== null) return { problem: earlier, reason: 'resolver', isNew: false }
  const decision = context.questions.decide({ table, key, base: image, local, server, columns, kind, resolver: rule })
  if (decision === 'open' || decision === 'later') return { problem: 'The app\'s rule has not been asked yet.', reason: 'undecided', isNew: true }
  if (typeof decision === 'object' && 'problem' in decision) return { problem: decision.problem, reason: 'resolver', isNew: true }
  const record = (more: string[] = []): Ruling => ({ kind, columns: [...new Set([...columns, ...more])], rule: 'resolver', isAnswer: typeof decision === 'object' })
  if (decision === 'take') return { result: taken.result, conflict: record() }
  if (decision === 'keep') return { result: merge(image, local, server, 'clientWins', deleted).result, conflict: record() }
  const changed = [...decision.row].filter(([column, cell]) => cell !== taken.result?.get(column)).map(([column]) => column)
  return { result: overlay(taken.result, decision.row), conflict: record(changed) }
}

function isOverColumns (kind: ConflictKind): kind is 'update-update' | 'insert-insert' {
  return kind === 'update-update' || kind === 'insert-insert'
}

/**
 * Why the resolver failed over this very version of the server's row; null where it did not. It is asked again when either
 * row is another one (a local edit makes the row pending: it is no longer held), by `retryHeld`, and when the file is opened
 * anew, for the app may have another resolver then.
 */
function hasFailed ({ driver }: ApplyContext, table: string, key: string, version: number): string | null {
  return driver.all<{ message: string }>(
    'select message from _sync_held where tbl = ? and key = ? and reason = \'resolver_failed\' and json_extract(details, \'$.server_version\') = ?',
    [table, key, version])[0]?.message ?? null
}
