import { READ_CHUNK_ROWS } from '../limits.js'
import type { ApplyContext } from './apply-context.js'
import type { RebuildCounts } from './histories.js'
import { deleteLocal } from './local-row.js'
import { hasLocalWork } from './pending.js'
import { forgetRowState } from './row-state.js'
import { dropShadow } from './shadow.js'
import type { TableInfo } from './table-info.js'

/**
 * The device was away for longer than the server remembers deletions: rows that the whole window does not have are gone, and
 * go here too, but for those that carry local work: the server's verdict will settle them.
 *
 * Of a table about which the window says nothing at all nothing is removed: devices may send it and never get it back
 * (`direction: 'up'`).
 */
export function removeAbsent (context: ApplyContext, counts: RebuildCounts): void {
  const { driver } = context
  for (const table of context.tables.values()) {
    if (driver.all('select 1 from _sync_stage where tbl = ? limit 1', [table.name]).length === 0) continue
    for (let after = '', isFirst = true; ; isFirst = false) {
      const rows = driver.all<{ key: string }>(
        `select r.key from _sync_row as r where r.tbl = ? and r.key ${isFirst ? '>=' : '>'} ? and r.deleted = 0
           and not exists (select 1 from _sync_stage s where s.tbl = r.tbl and s.key = r.key) order by r.key limit ?`, [table.name, after, READ_CHUNK_ROWS])
      for (const { key } of rows) {
        after = key
        if (!hasLocalWork(driver, table.name, key)) remove(context, table, key, counts)
      }
      if (rows.length < READ_CHUNK_ROWS) break
    }
  }
  driver.run('delete from _sync_shadow where not exists (select 1 from _sync_stage s where s.tbl = _sync_shadow.tbl and s.key = _sync_shadow.key)')
}

function remove (context: ApplyContext, table: TableInfo, key: string, counts: RebuildCounts): void {
  deleteLocal(context, table, key)
  dropShadow(context, table.name, key)
  forgetRowState(context.driver, table.name, key)
  counts.removed++
}
