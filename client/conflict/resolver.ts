import type { AnyDatabase, FoldedName, RowOf, TableName } from '../table-types.js'
import type { ConflictRule, DeleteRule } from './merge.js'

/** A row whose columns both sides changed, as a resolver sees it: copies, whole rows, values as SQLite has them. */
export interface Conflict<Table extends string, Row> {
  table: Table
  key: string
  /** The server's row that the edit here began from; null where there was none: both sides made a row with this key. */
  base: Row | null
  /** This device's row. */
  local: Row
  /** The server's row. */
  server: Row
  /** The columns that both sides changed, each to another value. */
  columns: Array<Extract<keyof Row, string>>
  kind: 'update-update' | 'insert-insert'
}

/** `keep`: this device's value for every column in conflict. `take`: the server's. A row: these values; columns that it does not name are merged, by `take`. */
export type Answer<Row> = 'keep' | 'take' | Partial<Row>

/** A rule of the app's own. Synchronous; called outside every transaction, and perhaps more than once for one conflict. */
export type Resolver<Database = AnyDatabase, Table extends TableName<Database> = TableName<Database>> =
  (conflict: Conflict<FoldedName<Table>, RowOf<Database, Table>>) => Answer<RowOf<Database, Table>>

/** The rules of one table. */
export interface TableRule {
  conflict: ConflictRule | Resolver
  deleted: DeleteRule
}

export const DEFAULT_RULE: TableRule = { conflict: 'serverWins', deleted: 'serverWins' }
