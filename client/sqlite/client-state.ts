import { DriverError, type Driver, type SqlParameter } from '../drivers/driver.js'

/**
 * Why everything is downloaded again. `history`: the server was restored, replaced or rewound. `expired`: the device was away
 * for longer than the server remembers deletions. `copy`: the file is a copy of another, or was itself restored.
 */
export type RebuildReason = 'history' | 'expired' | 'copy'

/** The one row of `_sync_client`. Positions stay below 2^53, so that numbers hold them. */
export interface ClientState {
  /** null: nobody is signed in. */
  userId: string | null
  scope: string | null
  givenDeviceId: string | null
  sourceId: string
  nextChangeId: number
  /** The server's next id as far as this file knows every change below it. */
  ackedNext: number
  /** One more than the highest id that the server may have from this file: known there, or frozen and perhaps sent. What it has above is another's. */
  ownNext: number
  epoch: string | null
  /** The server that the epoch is of. */
  url: string | null
  rebuild: RebuildReason | null
  cursor: number
  includeSelf: boolean
  /** The app's migration is under way. */
  migrating: boolean
  /** The next window also looks for edits that were missed. */
  recheck: boolean
  stamp: number
  progress: number
  /** A window of which pages are on disk, and where the next one goes on. */
  stage: { after: number, until: number, floor: number } | null
}

interface StateRow {
  user_id: string | null
  scope: string | null
  given_device_id: string | null
  source_id: string
  next_change_id: number
  acked_next: number
  epoch: string | null
  url: string | null
  rebuild: RebuildReason | null
  cursor: number
  include_self: number
  migrating: number
  recheck: number
  stamp: number
  progress: number
  stage_after: number | null
  stage_until: number | null
  stage_floor: number | null
}

export function readState (driver: Driver): ClientState | null {
  const row = driver.all<StateRow>(
    `select user_id, scope, given_device_id, source_id, next_change_id, acked_next, epoch, url, rebuild, cursor, include_self, migrating, recheck, stamp, progress,
            stage_after, stage_until, stage_floor from _sync_client`)[0]
  if (row === undefined) return null
  return {
    userId: row.user_id,
    scope: row.scope,
    givenDeviceId: row.given_device_id,
    sourceId: row.source_id,
    nextChangeId: row.next_change_id,
    ackedNext: row.acked_next,
    ownNext: Math.max(row.acked_next, (driver.all<{ n: number | null }>('select max(source_change_id) as n from _sync_outbox')[0]?.n ?? 0) + 1),
    epoch: row.epoch,
    url: row.url,
    rebuild: row.rebuild,
    cursor: row.cursor,
    includeSelf: row.include_self === 1,
    migrating: row.migrating === 1,
    recheck: row.recheck === 1,
    stamp: row.stamp,
    progress: row.progress,
    stage: row.stage_after === null
      ? null
      : { after: row.stage_after, until: row.stage_until ?? 0, floor: row.stage_floor ?? 0 }
  }
}

/** Whether SQLite misses a table of the client's. */
export function isClientGone (error: unknown): boolean {
  return error instanceof DriverError && /^no such table: (?:main\.)?_sync_/.test(error.message)
}

/** Columns of `_sync_client` and their new values. */
export type StateChange = Partial<Record<keyof StateRow | 'applying', SqlParameter>>

export function writeState (driver: Driver, change: StateChange): void {
  const columns = Object.keys(change)
  driver.run(`update _sync_client set ${columns.map(column => `${column} = ?`).join(', ')}`, Object.values(change))
}

/** Forgets a window that was on its way. */
export function dropStage (driver: Driver): void {
  driver.run('delete from _sync_page')
  driver.run('delete from _sync_stage')
  writeState(driver, { stage_after: null, stage_until: null, stage_floor: null })
}

/** The next window begins at the start, with this device's own changes. */
export function fetchAgain (driver: Driver): void {
  dropStage(driver)
  writeState(driver, { cursor: 0, include_self: 1 })
}

/** Whether this file has never exchanged anything: no change sent, no row known, nothing read of the stream. */
export function isFresh (driver: Driver, state: ClientState): boolean {
  // A migration may have numbered changes before the first contact.
  return (state.nextChangeId === 1 || (state.epoch === null && state.ackedNext === 1)) && state.cursor === 0 && driver.all('select 1 from _sync_row limit 1').length === 0
}
