import { READ_CHUNK_ROWS } from '../limits.js'
import { membersOf } from '../http/json-text.js'
import { applyTransaction, type ApplyContext, type ApplyHost } from './apply-context.js'
import { afterTakingOver, settleUndecided } from './apply.js'
import { reviveFailed } from './held.js'
import { readLocal, writeLocal } from './local-row.js'
import { readPayload, unrepresentable, type ReadPayload } from './payload.js'
import { hasLocalWork } from './pending.js'
import { readNames, writeRowState } from './row-state.js'
import { completeImages } from './shape.js'
import type { TableInfo } from './table-info.js'

interface ExtraRow { key: string, server_version: number, extra: string, json_columns: string | null }

/**
 * After an update of the app: columns and tables that an earlier version did not have, and whose values the server sent
 * meanwhile, get them now. Conflicts over which its rule failed are tried with the rule that it has now.
 */
export function adoptExtra (host: ApplyHost): void {
  if (!isWanted(host)) return
  applyTransaction(host, context => {
    for (const table of context.tables.values()) adoptColumns(context, table)
    reviveFailed(context.driver)
    afterTakingOver(context)
  })
  settleUndecided(host)
}

/** Most openings have nothing to adopt, and should not write. */
function isWanted ({ driver, rules }: ApplyHost): boolean {
  const names = [...rules.keys()]
  const marks = names.map(() => '?').join(', ')
  return driver.all(`select 1 from _sync_row where extra is not null and tbl in (${marks}) limit 1`, names).length > 0 ||
    driver.all(`select 1 from _sync_shadow where reason in ('unknown-table', 'value', 'key', 'constraint', 'resolver', 'undecided') and tbl in (${marks}) limit 1`, names).length > 0
}

function adoptColumns (context: ApplyContext, table: TableInfo): void {
  for (let after = '', isFirst = true; ; isFirst = false) {
    const rows = context.driver.all<ExtraRow>(
      `select key, server_version, extra, json_columns from _sync_row where tbl = ? and key ${isFirst ? '>=' : '>'} ? and deleted = 0 and extra is not null order by key limit ?`,
      [table.name, after, READ_CHUNK_ROWS])
    for (const row of rows) {
      after = row.key
      if ([...membersOf(row.extra).keys()].some(name => table.byColumn.has(name))) adoptRow(context, table, row)
    }
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

/**
 * A row with local edits takes the values over too: nobody here could have edited columns that were not there. Of one that was
 * deleted here only the images are left, from which it comes back where the deletion does not stand.
 */
function adoptRow (context: ApplyContext, table: TableInfo, stored: ExtraRow): void {
  const read = readExtra(table, stored)
  if (read === null) return
  if (readLocal(context, table, stored.key) === null) {
    if (!hasLocalWork(context.driver, table.name, stored.key)) return
  } else if (writeLocal(context, table, stored.key, read.row) !== null) return
  completeImages(context.driver, table.name, stored.key, read.row)
  writeRowState(context.driver, table.name, stored.key,
    { version: stored.server_version, deleted: false, extra: read.extra, jsonColumns: read.jsonColumns }, context.stamp)
}

function readExtra (table: TableInfo, stored: ExtraRow): ReadPayload | null {
  try {
    return readPayload(table, stored.key, stored.extra, { extra: null, jsonColumns: readNames(stored.json_columns) })
  } catch (error) {
    unrepresentable(error)
    return null
  }
}
