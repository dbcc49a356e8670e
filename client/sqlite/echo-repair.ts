import { READ_CHUNK_ROWS } from '../limits.js'
import type { ApplyContext } from './apply-context.js'
import { withoutTriggers, writingTo } from './app-triggers.js'
import { decodeRow, type Row } from './cell.js'
import { deleteRow, tryWrite } from './local-row.js'
import { writePayload } from './payload.js'
import { tableSql } from './quote.js'
import { hasKeySql, imageSql, keySql } from './row-sql.js'
import { readRowState } from './row-state.js'
import { putShadow } from './shadow.js'
import type { TableInfo } from './table-info.js'

interface Echo { key: string | Uint8Array, expected: Row | null, actual: Row | null }

/** Makes every row what it should be that the app's triggers changed (see echo.ts). Returns whether there was any. */
export function repairEchoes (context: ApplyContext): boolean {
  const { all, onSynced } = context.appTriggers
  if (onSynced.length === 0 || !hasEchoes(context)) return false
  // Triggers that only feed other tables stay: an index of the app's must see what is put right, too.
  const writing = new Set(writingTo(new Set(context.tables.keys()), all))
  const suspects = onSynced.filter(trigger => writing.has(trigger))
  if (!withoutTriggers(context.driver, suspects, () => isRepaired(context))) {
    if (!withoutTriggers(context.driver, onSynced, () => isRepaired(context))) giveUp(context)
  }
  return true
}

/** A row that cannot be put back at once because of a unique value goes, and comes back when the others are right. */
function isRepaired (context: ApplyContext): boolean {
  for (let left = Infinity; ;) {
    let wrong = 0
    for (const [table, echo] of echoes(context)) {
      wrong++
      if (echo.expected === null) deleteRow(context, table, echo.key)
      else if (tryWrite(context, table, echo.key, echo.expected)?.reason === 'unique') deleteRow(context, table, echo.key)
    }
    if (wrong === 0) return true
    if (wrong >= left) return false
    left = wrong
  }
}

function hasEchoes (context: ApplyContext): boolean {
  return echoes(context).next().done !== true
}

/** Rows that are not what they should be, a chunk at a time. */
function * echoes (context: ApplyContext): Generator<[TableInfo, Echo]> {
  for (const table of context.tables.values()) {
    for (const [type, isRow] of [['text', hasKeySql(table, 't', 'e.key')], ['blob', `${keySql(table, 't')} = e.key`]]) {
      for (let after: string | Uint8Array = type === 'text' ? '' : new Uint8Array(0), isFirst = true; ; isFirst = false) {
        const rows: Array<{ key: string | Uint8Array, expected: string | null, actual: string | null }> = context.driver.all(
          `select e.key, e.image as expected, (select ${imageSql(table, 't')} from ${tableSql(table)} as t where ${isRow as string}) as actual
           from _sync_echo as e where e.tbl = ? and typeof(e.key) = '${type as string}' and e.key ${isFirst ? '>=' : '>'} ? order by e.key limit ?`,
          [table.name, after, READ_CHUNK_ROWS])
        for (const row of rows) {
          after = row.key
          const echo = { key: row.key, expected: decodeRow(row.expected), actual: decodeRow(row.actual) }
          if (!isAsExpected(echo)) yield [table, echo]
        }
        if (rows.length < READ_CHUNK_ROWS) break
      }
    }
  }
}

function isAsExpected ({ expected, actual }: Echo): boolean {
  if (expected === null || actual === null) return expected === actual
  for (const [column, cell] of expected) if (actual.has(column) && actual.get(column) !== cell) return false
  return true
}

/** What no attempt could put right is not shown as if it were the server's. */
function giveUp (context: ApplyContext): void {
  for (const [table, { key, expected }] of echoes(context)) {
    const known = typeof key === 'string' ? readRowState(context.driver, table.name, key) : null
    if (typeof key !== 'string' || known === null || expected === null) continue
    putShadow(context, table.name, key, { version: known.version, deleted: false, payload: writePayload(table, key, expected, known) },
      'constraint', 'A trigger of the app keeps the row from being what the server says.')
  }
}
