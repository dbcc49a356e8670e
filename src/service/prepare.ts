import type { InvalidReason } from '../contract/change-status.js'
import type { UploadChange } from '../contract/upload-change.js'
import { MAX_JSON_DEPTH, MAX_KEY_BYTES, MAX_PAYLOAD_KEYS } from '../limits.js'
import { describeKey, normalizeKey } from '../materializer/key-spec.js'
import type { TableRegistry, TableSpec } from '../materializer/table-spec.js'
import { rowKey } from '../storage/row-state.js'
import { fillIn, whyNotOwner } from './fill-payload.js'
import { depthOf } from './json-text.js'
import type { PayloadText } from './upload-body.js'

/** Why a change is refused; becomes its `invalid` status. */
export interface Refusal {
  reason: InvalidReason
  message: string
  details?: Record<string, unknown>
}

/** A row that a change refers to by a foreign key and that must be live in the scope. */
export interface ParentRow {
  constraint: string
  row: string
  tableId: number
  pk: string
  /** `schema.table:key`, as the reply names it. */
  name: string
  /** False for reference rows that everybody may refer to: they only count for the order of writing. */
  mustBeLive: boolean
  /** A row of its table may be in the stream and not in the table. */
  recordsFailures: boolean
}

/** A change with its names resolved and its payload normalised, ready to be judged. */
export interface PreparedChange {
  /** Place in the request. */
  index: number
  sourceChangeId: number
  table: TableSpec
  op: 'INSERT' | 'UPDATE' | 'DELETE'
  pk: string
  /** Table and key as one text. */
  row: string
  base: number
  /** The text to store; null for a deletion. */
  payload: string | null
  /** The payload with the excluded columns that the device sent; null where it sent none. */
  beforeExclusion: string | null
  /** Hash of the payload's keys; 0 for a deletion. */
  shape: number
  /** Columns of the business table that the payload has, sorted. */
  columns: readonly string[]
  /** Members that no column of the business table has. */
  unknown: readonly string[]
  parents: readonly ParentRow[]
  /** The stored payload says something else than the sent one (the server wrote the owner, spelled a reference as the key, or left out an excluded column): the device must learn it. */
  completed: boolean
  /** A refusal that a replay of the same content is spared: it was checked when the change was applied. */
  refusal: Refusal | null
}

/** A change that cannot be judged at all. `row` is known where its table and key were readable. */
export interface UnreadableChange {
  index: number
  /** The number as JSON text, exactly as it came. */
  idText: string
  row: string | null
  unreadable: Refusal
}

export interface PrepareContext {
  largeIds: ReadonlyMap<number, string>
  registry: TableRegistry
  scope: string
  maxPayloadBytes: number
  /** The server itself is the author: tables that devices may not write are open to it. */
  trusted: boolean
  /** The author is a client of the original generation: nothing is spelled for others that its like might not read. */
  olderClient: boolean
}

const NAME = /^[a-z0-9_]+$/

/** One for all changes that have none. */
const NO_NAMES: readonly string[] = []
const NO_PARENTS: readonly ParentRow[] = []

/** Resolves names, normalises key and payload, and finds what the change refers to. Pure. */
export function prepareChange (change: UploadChange, payload: PayloadText | null, index: number, context: PrepareContext): PreparedChange | UnreadableChange {
  const unreadable = (reason: InvalidReason, message: string, row: string | null = null): UnreadableChange =>
    ({ index, idText: context.largeIds.get(index) ?? String(change.source_change_id), row, unreadable: { reason, message } })

  const table = findTable(change, context.registry)
  if ('reason' in table) return unreadable(table.reason, table.message)
  const key = fitsIn(change.pk, MAX_KEY_BYTES) ? normalizeKey(table.key, change.pk) : null
  // A composite key may grow in its one spelling.
  if (key === null || !fitsIn(key.pk, MAX_KEY_BYTES)) return unreadable('bad_payload', `pk must be ${describeKey(table.key)} of at most ${MAX_KEY_BYTES} bytes.`)
  // From here on the row is known: later changes of it in the batch counted on this one.
  const row = rowKey(table.id, key.pk)
  if (!(change.source_change_id >= 1 && change.source_change_id <= Number.MAX_SAFE_INTEGER)) return unreadable('bad_payload', 'source_change_id must be from 1 to 2^53-1.', row)
  if (!(change.server_version >= 0 && change.server_version <= Number.MAX_SAFE_INTEGER)) return unreadable('bad_payload', 'server_version must be from 0 to 2^53-1.', row)
  const op = change.op.trim().toUpperCase()
  if (op !== 'INSERT' && op !== 'UPDATE' && op !== 'DELETE') return unreadable('bad_payload', 'op must be INSERT, UPDATE or DELETE.', row)
  if (op === 'DELETE' && payload !== null) return unreadable('bad_payload', 'A DELETE has no payload.', row)
  if (op !== 'DELETE' && payload === null) return unreadable('bad_payload', `${op} needs a payload.`, row)

  const prepared: PreparedChange = {
    index,
    sourceChangeId: change.source_change_id,
    table,
    op,
    pk: key.pk,
    row,
    base: change.server_version,
    payload: null,
    beforeExclusion: null,
    shape: 0,
    columns: NO_NAMES,
    unknown: NO_NAMES,
    parents: NO_PARENTS,
    completed: false,
    refusal: table.direction === 'down' && !context.trusted ? { reason: 'read_only', message: `Devices may not write ${table.name}.` } : whyNotOwner(table, key, context.scope)
  }
  if (payload === null) return prepared
  const values = change.payload as Record<string, unknown>
  const problem = whyUnstorable(payload, values)
  if (problem !== null) return unreadable('bad_payload', problem, row)
  const misfit = fillIn(prepared, key, payload, values, context)
  if (misfit !== null) return unreadable('bad_payload', misfit, row)
  if (!fitsIn(payload.text, context.maxPayloadBytes)) {
    prepared.refusal = { reason: 'bad_payload', message: `The payload has more than ${context.maxPayloadBytes} bytes.` }
  }
  return prepared
}

/** The table that a change names, or why there is none. */
function findTable (change: UploadChange, registry: TableRegistry): TableSpec | Refusal {
  // Most clients spell names as they are registered.
  const asSpelled = registry.find(change.schema ?? 'public', change.table)
  if (asSpelled !== undefined) return asSpelled
  const schema = (change.schema ?? 'public').trim().toLowerCase()
  const name = change.table.trim().toLowerCase()
  if (!NAME.test(schema)) return { reason: 'bad_payload', message: 'schema must match ^[a-z0-9_]+$.' }
  if (!NAME.test(name)) return { reason: 'bad_payload', message: 'table must match ^[a-z0-9_]+$.' }
  const table = registry.find(schema, name)
  if (table !== undefined) return table
  // Not `unregistered_table`: devices try again by themselves what may be mended.
  if (registry.isUnavailable(schema, name)) return { reason: 'constraint_violation', message: `The table ${schema}.${name} cannot be written at the moment.` }
  return { reason: 'unregistered_table', message: `The table ${schema}.${name} does not sync.` }
}

/** Bytes are at most three times the UTF-16 length: most texts need no counting. */
function fitsIn (text: string, bytes: number): boolean {
  return text.length * 3 <= bytes || Buffer.byteLength(text) <= bytes
}

/** Why a payload cannot be stored whatever its table, or null. */
function whyUnstorable ({ text, members }: PayloadText, values: Record<string, unknown>): string | null {
  if (members.length > MAX_PAYLOAD_KEYS) return `The payload has more than ${MAX_PAYLOAD_KEYS} keys.`
  // JSON.parse kept one of each: fewer values than members means that a key was given twice.
  if (Object.keys(values).length !== members.length) return 'The payload has a key twice.'
  if (mayNest(text) && depthOf(text) > MAX_JSON_DEPTH) return `The payload is nested deeper than ${MAX_JSON_DEPTH} levels.`
  // Most texts have neither escape; only the others are worth a walk.
  if (text.includes('\\u') && /\\u(?:0000|[dD][89a-fA-F])/.test(text) && !isStorable(values)) return 'A text has a NUL character or half of a surrogate pair, which PostgreSQL cannot hold.'
  return null
}

function mayNest (text: string): boolean {
  return text.includes('{', 1) || text.includes('[')
}

function isStorable (value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\0') && value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner))
}
