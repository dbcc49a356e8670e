import type { ApplyContext } from './apply-context.js'
import { equalRows, type Row } from './cell.js'
import { wholeRow } from './defaults.js'
import { readLocal } from './local-row.js'
import { hasLocalWork, setPending } from './pending.js'
import type { TableInfo } from './table-info.js'

/** Whether this device's row is another than the server's, in the columns of which the server's row speaks. */
export function differsFromServer (local: Row | null, server: Row): boolean {
  if (local === null) return true
  for (const [column, cell] of server) if (local.has(column) && local.get(column) !== cell) return true
  return false
}

/**
 * For a row whose version the device knows already: where its content is not the server's, an edit was missed (the triggers
 * were away for a while). It becomes pending, with the server's row as its image, as if it had been noted when it was made.
 */
export function noteMissedEdit (context: ApplyContext, table: TableInfo, key: string, server: Row): void {
  if (hasLocalWork(context.driver, table.name, key)) return
  const local = readLocal(context, table, key)
  const image = wholeRow(context.driver, table, local, server)
  if (!equalRows(local, image)) setPending(context.driver, table.name, key, image)
}
