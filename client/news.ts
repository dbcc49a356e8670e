import type { Emitter } from './events.js'
import type { SyncStatus } from './calls/status.js'
import { readConflicts, type ConflictRecord } from './sqlite/conflict-log.js'
import { readHeld, type HeldRow } from './sqlite/held.js'
import type { RebuildNews, Session } from './sync/session.js'
import type { AnyDatabase, FoldedName, TableName } from './table-types.js'

/** How far a run has come. */
export interface SyncProgress {
  phase: 'upload' | 'download'
  /** Upload: changes judged. Download: positions of the stream that were fetched (this device's own changes count, though they are not sent again). */
  done: number
  /** How many there are in all; more may come while it runs. */
  total: number
}

/** The events of a client, by name. */
export interface SyncEvents<Database = AnyDatabase> {
  status: SyncStatus
  progress: SyncProgress
  /** A decision made by rule. */
  conflict: ConflictRecord<Database>
  /** A row that was set aside. */
  held: HeldRow<Database>
  /** The client changed rows of these tables: read them again. */
  change: { tables: Array<FoldedName<TableName<Database>>> }
  /** Everything is downloaded again, and why; when it is done, what it found. */
  rebuild: RebuildNews
  /** A run of the loop failed; the loop goes on by itself where the error says `retry`. */
  error: Error
}

export interface News {
  /** Called after every transaction in which the client wrote rows. */
  tell: (changedTables: ReadonlySet<string>) => void
}

/** Tells listeners what a transaction left behind, after it was committed: what they read then is what they were told of. */
export function createNews (session: Session, events: Emitter<SyncEvents>): News {
  const { driver } = session
  const last = (table: string): number => driver.all<{ id: number | null }>(`select max(id) as id from ${table}`)[0]?.id ?? 0
  let lastConflict = last('_sync_conflict')
  let lastHeld = last('_sync_held')
  function tellRecords (): void {
    const newest = { conflict: last('_sync_conflict'), held: last('_sync_held') }
    if (newest.conflict > lastConflict && events.has('conflict')) {
      const records = readConflicts(driver, lastConflict)
      lastConflict = newest.conflict
      for (const record of records) events.emit('conflict', record)
    }
    if (newest.held > lastHeld && events.has('held')) {
      const rows = readHeld(session, lastHeld)
      lastHeld = newest.held
      for (const row of rows) events.emit('held', row)
    }
    lastConflict = newest.conflict
    lastHeld = newest.held
  }

  return {
    tell (changedTables) {
      try {
        tellRecords()
      } finally {
        if (changedTables.size > 0) events.emit('change', { tables: [...changedTables].sort() })
      }
    }
  }
}
