import type { TableSpec } from './table-spec.js'

/** A change on its way into its business table. */
export interface RowWrite {
  /** Place of its change in the request. */
  index: number
  /** Place in the order of writing. */
  place: number
  /** Table and key as one text. */
  row: string
  table: TableSpec
  /** By verdict: insert where the stream has no live row, update where it has. */
  verb: 'insert' | 'update' | 'delete'
  pk: string
  version: number
  /** As sent; null for a deletion. */
  payload: string | null
  /** With what an update left out. */
  whole: string | null
  /** The stream has the row and the table does not: `payload` is all of it, not what the change sent. */
  isWhole: boolean
  /** The stream has the row, and the business table should: an insert puts it back. */
  hadRow: boolean
  /** Columns of the table that the payload has, sorted. */
  columns: readonly string[]
  /** Rows that it refers to, as the reply names them, by constraint. */
  references: Array<{ constraint: string, name: string }>
}

/** A row that could not be written, for a reason that is known without asking further. */
export interface Refused {
  write: RowWrite
  /** `taken`: its key belongs to a row that this scope does not have. `kept`: the database leaves the row as it was. `rejected`: the app's materializer says no. */
  why: 'taken' | 'kept' | 'rejected'
  /** The materializer's own words. */
  message: string | null
}
