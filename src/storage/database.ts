import type { ColumnType, GeneratedAlways } from 'kysely'

/**
 * A bigint column. Drivers hand it out as text; the service turns it into a number, which is exact far beyond any
 * stream's length.
 */
type BigInteger = ColumnType<string, number | string, number | string>

/** The metadata, by table. Every hot key begins with scope_id: rows of one stream lie together and no query crosses users. */
export interface Database {
  meta: MetaTable
  scope: ScopeTable
  stream: StreamTable
  source: SourceTable
  synced_table: SyncedTableTable
  row_state: RowStateTable
  change_log: ChangeLogTable
  materialize_failure: MaterializeFailureTable
}

/** One row: what belongs to the whole installation. */
interface MetaTable {
  /** Always true: keeps the table at one row. */
  singleton: ColumnType<boolean, never, never>
  /** Random text, renewed when the database is restored from a backup. Read in each transaction, never cached. */
  epoch: string
}

/** Whose stream it is. Ids are never used again, so that a deleted user's positions mean nothing to a new one. */
interface ScopeTable {
  scope_id: GeneratedAlways<string>
  /** The name that the app's identity gives: the user, or a workspace. */
  name: string
}

/** One row a scope: the row that uploads lock. Nobody writes row_state, change_log or source without it. */
interface StreamTable {
  scope_id: BigInteger
  /** Last position of the stream. */
  head: BigInteger
  /** Highest position whose tombstone retention has removed; 0 while all are kept. */
  floor: BigInteger
  /** Highest position that justified a removal by retention; a frozen window that ends below is raised to the head. */
  compacted_through: BigInteger
}

/** A device of a scope. Number 0 is the server itself. */
interface SourceTable {
  scope_id: BigInteger
  source_no: number
  user_id: string
  source_id: string
  /** Highest source_change_id that was applied. */
  max_change_id: BigInteger
  /** When the source last uploaded: retention may only forget what it cannot replay. */
  last_seen: ColumnType<string, never, never>
  /** Where its downloads stand, best effort; for operators. */
  cursor: ColumnType<string | null, number | null, number | null>
}

/** A number for each registered table: four bytes in the hot tables instead of two names. */
interface SyncedTableTable {
  table_id: GeneratedAlways<number>
  schema_name: string
  table_name: string
}

/** The truth about a row. It stays when the row is deleted: versions never restart. */
interface RowStateTable {
  scope_id: BigInteger
  table_id: number
  /** Key as text, normalised, compared by its bytes. */
  pk: string
  version: BigInteger
  deleted: boolean
  /** Position of the row's latest change, whose payload is the row's current payload. */
  server_id: BigInteger
  /** Hash of the keys of that payload; 0 where the row is deleted. Tells without reading it whether an update leaves keys out. */
  shape: BigInteger
}

/** The stream and the ledger of idempotency in one. */
interface ChangeLogTable {
  scope_id: BigInteger
  /** Position in the stream: 1, 2, 3 … in the order of commit. */
  server_id: BigInteger
  source_no: number
  /** The source's own number. Negative (the negated position) where an older client has used its number for a newer change. */
  source_change_id: BigInteger
  table_id: number
  /** I, U or D. */
  op: string
  pk: string
  version: BigInteger
  /** The payload's text as sent, with its key columns normalised; null for D. */
  payload: string | null
  /** Keys at the payload's end that the change did not send: they keep the values that the row had before. */
  carried: number
  /** Digest of the payload that was sent, where the database altered the row: a replay is recognised by it. Null where the payload tells. */
  sent_digest: string | null
  /** Length of the payload's text: a page is cut by it without reading large payloads. */
  payload_bytes: number
  ts: ColumnType<string, never, never>
}

/** Rows of the stream that the database refused, in tables that record it. At most one entry a row. */
interface MaterializeFailureTable {
  id: GeneratedAlways<string>
  scope_id: BigInteger
  table_id: number
  pk: string
  /** The source whose change it was; 0 for the server itself. */
  source_no: number
  /** The version that could not be written. */
  version: BigInteger
  /** I, U or D. */
  op: string
  reason: string
  message: string
  /** The table has an older state of the row. */
  in_table: boolean
  sqlstate: string | null
  constraint_name: string | null
  attempts: number
  first_seen: ColumnType<string, never, never>
  last_seen: ColumnType<string, never, never>
}
