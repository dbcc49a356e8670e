import { decide } from '../conflict/decide.js'
import type { ServerState } from '../http/read-reply.js'
import type { ApplyContext } from './apply-context.js'
import { equalRows, knownColumns, NULL_CELL, overlay, UNKNOWN_CELL, type Row } from './cell.js'
import { recordConflict } from './conflict-log.js'
import { wholeRow } from './defaults.js'
import { deleteLocal, readLocal, readParked, writeLocal } from './local-row.js'
import { readPayload, unrepresentable, type ReadPayload } from './payload.js'
import { imageOfEdit, isFrozen, sentUnheard, setPending, settle } from './pending.js'
import { noteMissedEdit } from './recheck.js'
import { forgetRowState, lookAtRow, readRowState, writeRowState, type RowState } from './row-state.js'
import { dropShadow, foldStates, putShadow, readShadow } from './shadow.js'
import type { TableInfo } from './table-info.js'
import { keyProblem } from './wire-key.js'

/**
 * Takes over a row as the server holds it at a version, from a window or from shadow. A row with local edits is merged, a
 * row in the outbox waits, a row that cannot be shown is kept in shadow; older versions than the known one are passed over.
 */
export function applyServerState (context: ApplyContext, tableName: string, key: string, told: ServerState): void {
  const { known, isQuiet } = lookAtRow(context.driver, tableName, key)
  const shadow = isQuiet ? null : readShadow(context, tableName, key)
  if (shadow !== null && shadow.version > told.version) {
    context.counts.skipped++
    return
  }
  // A shadow row may be of the known version: it was shown, and had to go when its parent went.
  if (known !== null && (shadow === null ? told.version <= known.version : told.version < known.version)) {
    context.counts.skipped++
    if (shadow !== null) dropShadow(context, tableName, key)
    else if (context.recheck && told.version === known.version) recheck(context, tableName, key, told)
    return
  }
  const state = shadow === null ? told : foldStates(shadow, told)
  const table = context.tables.get(tableName)
  if (table === undefined) return putShadow(context, tableName, key, state, 'unknown-table', 'This version of the app has no such table.')
  const badKey = keyProblem(table, key)
  if (badKey !== null) return putShadow(context, tableName, key, state, 'key', `The key ${badKey}.`)
  if (!isQuiet && isFrozen(context.driver, tableName, key)) return putShadow(context, tableName, key, state, 'frozen', 'The row is being uploaded.')

  const image = isQuiet ? undefined : imageOfEdit(context.driver, tableName, key)
  if (known?.version === 0 && !state.deleted && (image === undefined ? known.deleted : image === null && readLocal(context, table, key) === null)) {
    // Deleted here before the server lost the row, and brought back by another device since: two pasts (see histories.ts).
    mergeServerState(context, table, key, new Map(table.columns.map(({ name }) => [name, UNKNOWN_CELL])), state)
  } else if (image === undefined) takeOver(context, table, key, state, known, isQuiet)
  else mergeServerState(context, table, key, image, state)
}

/** The server's row at the version that the device knows: an edit that was missed shows in the difference. */
function recheck (context: ApplyContext, tableName: string, key: string, told: ServerState): void {
  const table = context.tables.get(tableName)
  if (table === undefined || told.deleted || told.payload === null || keyProblem(table, key) !== null) return
  try {
    noteMissedEdit(context, table, key, readPayload(table, key, told.payload, null).row)
  } catch (error) {
    unrepresentable(error)
  }
}

/** A row without local edits becomes what the server holds. */
function takeOver (context: ApplyContext, table: TableInfo, key: string, state: ServerState, known: RowState | null, isQuiet: boolean): void {
  const read = readState(context, table, key, state, known)
  if (read === 'kept') return
  if (read === null) deleteLocal(context, table, key)
  else {
    const problem = writeLocal(context, table, key, read.row, isQuiet)
    if (problem !== null) return putShadow(context, table.name, key, state, problem.reason, problem.message)
  }
  // Where triggers of the app write too, putting their rows right may have sent this one to shadow meanwhile.
  adopt(context, table, key, state, read, isQuiet && context.appTriggers.onSynced.length === 0)
}

/**
 * Merges the server's row into a row with local edits that began from `base`. Row, image and version change together, or,
 * where the result cannot be written, nothing does and the server's row waits in shadow. Returns whether it was merged.
 * `isMade`: the server made its row of `base`. What it does not name then is a column that it keeps to itself (`exclude`), and
 * there is nothing to send again.
 */
export function mergeServerState (context: ApplyContext, table: TableInfo, key: string, base: Row | null, state: ServerState, sent: ReadonlyArray<Row | null | undefined> = [sentUnheard(context.driver, table.name, key)], isMade = false): boolean {
  const read = readState(context, table, key, state)
  if (read === 'kept') return false
  const local = readLocal(context, table, key)
  // What this file has sent of the row, applied unheard or brought up by a copy: what was edited since was edited on it.
  const own = sent.find(row => row !== undefined && isAs(context, table, base, row, read))
  const image = own === undefined ? base : own
  const server = read === null ? null : isMade ? overlay(image, read.row) : wholeRow(context.driver, table, knownColumns(image), read.row)
  const decided = decide(context, table, key, { image, local, server, version: state.version })
  if ('problem' in decided) {
    if (decided.reason === 'resolver' && decided.isNew) return failResolver(context, table, key, image, state, decided.problem)
    putShadow(context, table.name, key, state, decided.reason, decided.problem)
    return false
  }
  const { result, conflict } = decided
  if (result === null) deleteLocal(context, table, key)
  else if (local === null || !equalRows(result, local) || readParked(context, table, key) !== null) {
    const problem = writeLocal(context, table, key, result)
    if (problem !== null) {
      // A rule of the table itself forbids what the app's resolver made up. A unique value, however, may become free.
      if (problem.reason === 'constraint' && conflict?.isAnswer === true) return failResolver(context, table, key, image, state, `The resolver's answer cannot be stored: ${problem.message}`)
      putShadow(context, table.name, key, state, problem.reason, problem.message)
      return false
    }
  }
  adopt(context, table, key, state, read)
  if (equalRows(result, server)) settle(context.driver, table.name, key)
  else setPending(context.driver, table.name, key, server)
  if (conflict !== null) {
    recordConflict(context.driver, table.name, key, { ...conflict, before: image, mine: local, theirs: server, result })
    context.counts.conflicts++
  }
  return true
}

/** The server's row waits, and the local change, which keeps its base, is held when the transaction ends (see `holdBlocked`). */
function failResolver (context: ApplyContext, table: TableInfo, key: string, image: Row | null, state: ServerState, message: string): false {
  putShadow(context, table.name, key, state, 'resolver', message)
  setPending(context.driver, table.name, key, image)
  return false
}

/** Whether the server's row is the one that was sent. Of a column that it does not name the change must have said nothing new. */
function isAs ({ driver }: ApplyContext, table: TableInfo, base: Row | null, sent: Row | null, read: ReadPayload | null): boolean {
  if (sent === null || read === null) return sent === read
  const whole = wholeRow(driver, table, sent, read.row)
  return [...sent].every(([column, cell]) => cell === (whole.get(column) ?? NULL_CELL) || (!read.row.has(column) && cell === base?.get(column)))
}

/** The server has never had this row: what the device holds is sent as new. */
export function adoptAbsence (context: ApplyContext, table: TableInfo, key: string): void {
  forgetRowState(context.driver, table.name, key)
  dropShadow(context, table.name, key)
  if (readLocal(context, table, key) === null) settle(context.driver, table.name, key)
  else setPending(context.driver, table.name, key, null)
}

function adopt (context: ApplyContext, table: TableInfo, key: string, state: ServerState, read: ReadPayload | null, isQuiet = false): void {
  writeRowState(context.driver, table.name, key,
    { version: state.version, deleted: state.deleted, extra: read?.extra ?? null, jsonColumns: read?.jsonColumns ?? [] }, context.stamp)
  if (!isQuiet) dropShadow(context, table.name, key, state.version)
  context.counts.applied++
}

/** The payload read; null for a deleted row; 'kept' where a value has no place here and the row went to shadow. */
function readState (context: ApplyContext, table: TableInfo, key: string, state: ServerState, known = readRowState(context.driver, table.name, key)): ReadPayload | null | 'kept' {
  if (state.deleted || state.payload === null) return null
  try {
    return readPayload(table, key, state.payload, known)
  } catch (error) {
    putShadow(context, table.name, key, state, 'value', unrepresentable(error))
    return 'kept'
  }
}
