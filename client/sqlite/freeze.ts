import type { Driver, SqlParameter } from '../drivers/driver.js'
import { MAX_PULLED_ANCESTORS, MAX_UPLOAD_CHARACTERS, READ_CHUNK_ROWS } from '../limits.js'
import type { ApplyHost } from './apply-context.js'
import { decodeRow, equalRows, type Row } from './cell.js'
import { readState, writeState, type ClientState } from './client-state.js'
import { runInGroups, valuesSql } from './groups.js'
import type { Tables } from './open-file.js'
import { unrepresentable, writePayload } from './payload.js'
import { reviveEditedHeld } from './pending.js'
import { tableSql } from './quote.js'
import { referredRow } from './references.js'
import { hasKeySql, imageSql, keySql } from './row-sql.js'
import { readNames, writeRowState } from './row-state.js'
import { orderTables } from './table-order.js'
import type { TableInfo } from './table-info.js'
import { transact } from './transaction.js'
import { textProblem } from './text-check.js'
import { keyProblem } from './wire-key.js'

interface Freezing {
  driver: Driver
  tables: Tables
  schema: string
  circular: ReturnType<typeof orderTables>['circular']
  limit: number
  count: number
  characters: number
  nextId: number
  stamp: number
  /** Rows whose ancestors are being pulled, so that a circle ends. */
  open: Set<string>
  /** Entries of the outbox that are not written yet, as they are bound. */
  entries: SqlParameter[][]
  /** Pending rows, by id, that are still to be removed. */
  settled: number[]
}

interface PendingRow {
  id: number
  key: string
  image: string | null
  local: string
  attempts: number
  sent: string | null
  version: number | null
  extra: string | null
  json_columns: string | null
}

/**
 * Moves up to `limit` pending rows to the outbox, in one transaction: there they have their id and their content, and
 * neither changes until the server has judged them. Does nothing while the outbox holds a batch that may have been sent and has
 * changes after `after`: up to there they are on their way, and this is the batch that follows.
 *
 * Rows that are as the server has them are dropped; rows that cannot travel are held. Upserts come first, parents before
 * children; then deletions, children before parents. A row that waits for its own server row in shadow is left out: the
 * server would only answer with a conflict that cannot be merged yet.
 */
export function freeze (driver: Driver, { refreshTables, schemaIsMine }: Pick<ApplyHost, 'refreshTables' | 'schemaIsMine'>, schema: string, limit: number, after = 0): void {
  transact(driver, () => {
    const tables = refreshTables()
    if (driver.all('select 1 from _sync_outbox where source_change_id > ? and is_waiting = 0 limit 1', [after]).length > 0) return
    // What a migration has frozen goes up with what it refers to.
    const { changes: waiting } = driver.run('update _sync_outbox set is_waiting = 0 where source_change_id > ?', [after])
    reviveEditedHeld(driver)
    const state = readState(driver) as ClientState
    const { parentsFirst, circular } = orderTables(tables)
    const freezing: Freezing = {
      driver, tables, schema, circular, limit, count: waiting, characters: 0, nextId: state.nextChangeId, stamp: state.stamp, open: new Set(), entries: [], settled: []
    }
    for (const table of parentsFirst) {
      holdOddKeys(freezing, table)
      freezeUpserts(freezing, table)
    }
    for (const table of parentsFirst.toReversed()) freezeDeletions(freezing, table)
    writeState(driver, { next_change_id: freezing.nextId })
    schemaIsMine()
  })
}

function isFull (freezing: Freezing): boolean {
  return freezing.count >= freezing.limit || freezing.characters >= MAX_UPLOAD_CHARACTERS
}

/** Pending rows that are there, with what is known of them. `+` keeps SQLite on the order of ids. */
function selectPending (table: TableInfo, condition: string): string {
  return `select p.id, p.key, p.image, p.attempts, p.sent, ${imageSql(table, 't')} as local, r.server_version as version, r.extra, r.json_columns
    from _sync_pending as p cross join ${tableSql(table)} as t on ${hasKeySql(table, 't', 'p.key')}
    left join _sync_row as r on r.tbl = p.tbl and r.key = p.key
    where typeof(p.key) = 'text' and not exists (select 1 from _sync_shadow s where s.tbl = p.tbl and s.key = p.key)
      and not exists (select 1 from _sync_outbox o where o.tbl = p.tbl and o.key = p.key) and ${condition}`
}

function freezeUpserts (freezing: Freezing, table: TableInfo): void {
  eachPending(freezing, table, selectPending(table, '+p.tbl = ? and p.id > ? order by p.id limit ?'), row => freezeUpsert(freezing, table, row))
}

/** Reads pending rows in the order of their ids, a chunk at a time, until the batch is full; writes what became of a chunk before the next. */
function eachPending<Row extends PendingRow> (freezing: Freezing, table: TableInfo, sql: string, freezeOne: (row: Row) => void): void {
  for (let after = 0; !isFull(freezing);) {
    const rows = freezing.driver.all<Row>(sql, [table.name, after, READ_CHUNK_ROWS])
    for (const row of rows) {
      if (isFull(freezing)) break
      after = row.id
      freezeOne(row)
    }
    write(freezing)
    if (rows.length < READ_CHUNK_ROWS) return
  }
}

function freezeUpsert (freezing: Freezing, table: TableInfo, row: PendingRow): void {
  if (freezing.circular.has(table.name)) {
    write(freezing)
    // It may have been pulled into the batch by a child since it was read.
    if (freezing.driver.all('select 1 from _sync_pending where id = ?', [row.id]).length === 0) return
  }
  const local = decodeRow(row.local)
  const image = decodeRow(row.image)
  if (image !== null && equalRows(local, image)) return settle(freezing, row.id)
  pullAncestors(freezing, table, row.key, local)
  if (isFull(freezing)) return
  const encoded = encode(freezing.driver, table, row, local)
  if ('problem' in encoded) return holdPending(freezing, table, row, encoded.problem)
  toOutbox(freezing, table, row, { op: image === null ? 'INSERT' : 'UPDATE', sent: row.local, payload: encoded.payload })
}

/** Rows that a row of a circle refers to go up with it, before it. Others are before it by the order of tables. */
function pullAncestors (freezing: Freezing, table: TableInfo, key: string, local: Row): void {
  const name = `${table.name}:${key}`
  if (freezing.open.has(name) || freezing.open.size >= MAX_PULLED_ANCESTORS) return
  freezing.open.add(name)
  for (const foreignKey of freezing.circular.get(table.name) ?? []) {
    const parent = referredRow(freezing.driver, freezing.tables, foreignKey, local)
    if (parent === null || freezing.open.has(`${parent.table.name}:${parent.key}`)) continue
    const row = freezing.driver.all<PendingRow>(selectPending(parent.table, 'p.tbl = ? and p.key = ?'), [parent.table.name, parent.key])[0]
    if (row !== undefined && !isFull(freezing)) freezeUpsert(freezing, parent.table, row)
  }
  freezing.open.delete(name)
}

/**
 * Pending rows that are gone. Where the server has no such row there is nothing to say: it was made and removed between two
 * uploads. (While its insert is in the outbox its image is what was sent, so this is never said of a row that was sent.)
 */
function freezeDeletions (freezing: Freezing, table: TableInfo): void {
  const sql = `select p.id, p.key, p.image, p.attempts, p.sent, r.server_version as version, p.sent is not null and p.sent <> 'deleted' as was_sent from _sync_pending as p
    left join _sync_row as r on r.tbl = p.tbl and r.key = p.key
    where typeof(p.key) = 'text' and +p.tbl = ? and p.id > ?
      and not exists (select 1 from ${tableSql(table)} as t where ${hasKeySql(table, 't', 'p.key')})
      and not exists (select 1 from _sync_shadow s where s.tbl = p.tbl and s.key = p.key)
      and not exists (select 1 from _sync_outbox o where o.tbl = p.tbl and o.key = p.key)
    order by p.id limit ?`
  eachPending<PendingRow & { was_sent: number }>(freezing, table, sql, row => {
    if (row.image !== null) return toOutbox(freezing, table, row, { op: 'DELETE', sent: null, payload: null })
    if (row.was_sent === 1 || row.version === 0) rememberDeletion(freezing, table, row)
    settle(freezing, row.id)
  })
}

/** A batch that was lost had the row, or the server had it before its restore: if another device or a copy of this file brings it up after all, that is against this deletion. */
function rememberDeletion (freezing: Freezing, table: TableInfo, { key, version }: PendingRow): void {
  if (version === null || version === 0) writeRowState(freezing.driver, table.name, key, { version: 0, deleted: true, extra: null, jsonColumns: [] }, freezing.stamp)
}

function toOutbox (freezing: Freezing, table: TableInfo, row: PendingRow, content: { op: string, sent: string | null, payload: string | null }): void {
  const id = freezing.nextId++
  const version = row.version ?? 0
  // The payload is put in as text: its numbers must not pass through JavaScript's.
  const change = JSON.stringify({ source_change_id: id, schema: freezing.schema, table: table.name, op: content.op, pk: row.key, server_version: version })
    .slice(0, -1) + (content.payload === null ? '}' : `,"payload":${content.payload}}`)
  freezing.entries.push([id, table.name, row.key, version, row.image, content.sent, change, row.attempts, row.sent])
  settle(freezing, row.id)
  freezing.count++
  freezing.characters += change.length
}

/** The payload of a row, or why it cannot travel. */
function encode (driver: Driver, table: TableInfo, row: PendingRow, local: Row): { payload: string } | { problem: string } {
  const badKey = keyProblem(table, row.key)
  if (badKey !== null) return { problem: `The key ${badKey}.` }
  const badText = textProblem(driver, table, row.key, local)
  if (badText !== null) return { problem: badText }
  try {
    return { payload: writePayload(table, row.key, local, { extra: row.extra, jsonColumns: readNames(row.json_columns) }) }
  } catch (error) {
    return { problem: unrepresentable(error) }
  }
}

function settle (freezing: Freezing, id: number): void {
  freezing.settled.push(id)
}

/** Writes the entries and removes their rows from pending: whoever reads these tables next must find them so. */
function write (freezing: Freezing): void {
  const { driver, entries, settled } = freezing
  runInGroups(driver, entries.splice(0), rows =>
    `insert into _sync_outbox (source_change_id, tbl, key, base_version, image, sent, change, attempts, sent_before) values ${valuesSql(9, rows)}`)
  if (settled.length > 0) driver.run('delete from _sync_pending where id in (select value from json_each(?))', [JSON.stringify(settled.splice(0))])
}

/** By id and inside SQLite: a key that is no valid text would not survive the way through JavaScript. */
function holdPending (freezing: Freezing, table: TableInfo, row: PendingRow, message: string): void {
  freezing.driver.run(
    `insert into _sync_held (tbl, key, image, reason, message, attempts, stamp, since)
     select tbl, key, image, 'unrepresentable', ?, attempts, ?, ? from _sync_pending where id = ?`,
    [message, freezing.stamp, new Date().toISOString(), row.id])
  settle(freezing, row.id)
}

/** Keys of the wrong storage class are noted as blobs (see `keySql`), which come after every text: so the index finds them. */
function holdOddKeys (freezing: Freezing, table: TableInfo): void {
  const rows = freezing.driver.all<PendingRow & { is_there: number }>(
    `select p.id, cast(p.key as text) as key, p.image, p.attempts,
       exists (select 1 from ${tableSql(table)} as t where ${keySql(table, 't')} = p.key) as is_there
     from _sync_pending as p where p.tbl = ? and p.key >= x''`, [table.name])
  for (const row of rows) {
    if (row.is_there === 1) holdPending(freezing, table, row, `The key ${row.key} of table ${table.name} cannot travel: ${table.key.map(({ name, type }) => `${name} must hold ${KEY_NEEDS[type]}`).join(', ')}.`)
    else settle(freezing, row.id)
  }
  write(freezing)
}

const KEY_NEEDS = { text: 'text', integer: 'an integer', blob: 'a uuid of 16 bytes' } as const
