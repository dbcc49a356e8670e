import type { InvalidReason } from '../contract/change-status.js'
import type { UploadChange } from '../contract/upload-change.js'
import { MAX_JSON_DEPTH, MAX_KEY_BYTES, MAX_PAYLOAD_KEYS } from '../limits.js'
import { describeKey, keyOf, normalizeKey, normalizeValue, partAsJson, type Key, type KeyPart } from '../materializer/key-spec.js'
import type { ColumnSpec, Reference, TableRegistry, TableSpec } from '../materializer/table-spec.js'
import { normalizeUuidValue } from '../materializer/uuid.js'
import { rowKey } from '../storage/row-state.js'
import { depthOf, editObject, type Member } from './json-text.js'
import { shapeOf } from './payload-shape.js'
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
  columns: string[]
  /** Members that no column of the business table has. */
  unknown: string[]
  parents: ParentRow[]
  /** The stored payload says something else than the sent one (the server wrote the owner, or left out an excluded column): the device must learn it. */
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
}

const NAME = /^[a-z0-9_]+$/

/** Resolves names, normalises key and payload, and finds what the change refers to. Pure. */
export function prepareChange (change: UploadChange, payload: PayloadText | null, index: number, context: PrepareContext): PreparedChange | UnreadableChange {
  const unreadable = (reason: InvalidReason, message: string, row: string | null = null): UnreadableChange =>
    ({ index, idText: context.largeIds.get(index) ?? String(change.source_change_id), row, unreadable: { reason, message } })

  const schema = (change.schema ?? 'public').trim().toLowerCase()
  const tableName = change.table.trim().toLowerCase()
  if (!NAME.test(schema)) return unreadable('bad_payload', 'schema must match ^[a-z0-9_]+$.')
  if (!NAME.test(tableName)) return unreadable('bad_payload', 'table must match ^[a-z0-9_]+$.')
  const table = context.registry.find(schema, tableName)
  if (table === undefined) return unreadable('unregistered_table', `The table ${schema}.${tableName} does not sync.`)
  const key = Buffer.byteLength(change.pk) <= MAX_KEY_BYTES ? normalizeKey(table.key, change.pk) : null
  // A composite key may grow in its one spelling.
  if (key === null || Buffer.byteLength(key.pk) > MAX_KEY_BYTES) return unreadable('bad_payload', `pk must be ${describeKey(table.key)} of at most ${MAX_KEY_BYTES} bytes.`)
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
    columns: [],
    unknown: [],
    parents: [],
    completed: false,
    refusal: table.direction === 'down' && !context.trusted ? { reason: 'read_only', message: `Devices may not write ${table.name}.` } : whyNotOwner(table, key, context.scope)
  }
  if (payload === null) return prepared
  const values = change.payload as Record<string, unknown>
  const problem = whyUnstorable(payload, values)
  if (problem !== null) return unreadable('bad_payload', problem, row)
  const misfit = fillIn(prepared, key, payload, values, context.scope)
  if (misfit !== null) return unreadable('bad_payload', misfit, row)
  // Bytes are at most three times the UTF-16 length: most payloads need no counting.
  if (payload.text.length * 3 > context.maxPayloadBytes && Buffer.byteLength(payload.text) > context.maxPayloadBytes) {
    prepared.refusal = { reason: 'bad_payload', message: `The payload has more than ${context.maxPayloadBytes} bytes.` }
  }
  return prepared
}

/** Why a payload cannot be stored whatever its table, or null. */
function whyUnstorable ({ text, members }: PayloadText, values: Record<string, unknown>): string | null {
  if (members.length > MAX_PAYLOAD_KEYS) return `The payload has more than ${MAX_PAYLOAD_KEYS} keys.`
  // JSON.parse kept one of each: fewer values than members means that a key was given twice.
  if (Object.keys(values).length !== members.length) return 'The payload has a key twice.'
  if (depthOf(text) > MAX_JSON_DEPTH) return `The payload is nested deeper than ${MAX_JSON_DEPTH} levels.`
  // Most texts have neither escape; only the others are worth a walk.
  if (/\\u(?:0000|[dD][89a-fA-F])/.test(text) && !isStorable(values)) return 'A text has a NUL character or half of a surrogate pair, which PostgreSQL cannot hold.'
  return null
}

function isStorable (value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\0') && value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner))
}

/** Why the key says by itself that the row is another's, or that the scope cannot own rows of the table; null where neither. */
function whyNotOwner ({ owner, name }: TableSpec, { parts }: Key, scope: string): Refusal | null {
  if (owner === null) return null
  if (ownerText(scope, owner.type) !== scope) return { reason: 'not_owner', message: `${name} holds its owner as ${owner.type}, which the scope's name is not in its one spelling.` }
  return owner.keyIndex >= 0 && parts[owner.keyIndex] !== scope ? { reason: 'not_owner', message: `The key's ${owner.column} names another owner.` } : null
}

/** Writes the stored payload, the columns and the parents into `prepared`. Returns why the payload does not fit, or null. */
function fillIn (prepared: PreparedChange, key: Key, { text, members }: PayloadText, values: Record<string, unknown>, scope: string): string | null {
  const { table } = prepared
  const keyPlace = new Map(table.key.map(({ name }, i) => [name, i]))
  const replaced = new Map<number, string>()
  const removed = new Set<number>()
  const keys: string[] = []
  for (const [place, { key: name, start, end }] of members.entries()) {
    const part = keyPlace.get(name)
    const column = table.columns.get(name)
    if (table.excluded.has(name)) {
      removed.add(place)
      prepared.completed = true
      continue
    }
    keys.push(name)
    if (part !== undefined) {
      const spec = table.key[part] as KeyPart
      const literal = text.slice(start, end)
      if (normalizeValue(spec, values[name], literal) !== key.parts[part]) return `The payload's ${name} is not the pk.`
      const spelled = partAsJson(spec, key.parts[part] as string)
      if (spec.kind !== 'text' && spelled !== literal) replaced.set(place, spelled)
    } else if (column !== undefined) {
      const misfit = whyMisread(column, values[name])
      if (misfit !== null) return misfit
      prepared.columns.push(name)
    } else if (name === table.owner?.column) {
      const value = values[name]
      if (value === null) {
        replaced.set(place, JSON.stringify(scope))
        prepared.completed = true
      } else if ((typeof value === 'string' ? ownerText(value, table.owner.type) : text.slice(start, end)) !== scope) {
        prepared.refusal ??= { reason: 'not_owner', message: `The payload's ${name} names another owner.` }
      }
    } else {
      prepared.unknown.push(name)
    }
  }
  prepared.payload = editObject(text, members, replaced, removed)
  if (removed.size > 0) prepared.beforeExclusion = editObject(text, members, replaced, new Set())
  if (table.owner !== null && !keys.includes(table.owner.column)) {
    // The device has no such column; others may.
    prepared.payload = withMember(prepared.payload, keys.length === 0, table.owner.column, scope)
    if (prepared.beforeExclusion !== null) prepared.beforeExclusion = withMember(prepared.beforeExclusion, false, table.owner.column, scope)
    keys.push(table.owner.column)
  }
  prepared.shape = shapeOf(keys)
  // Whatever order the device has them in: rows of the same columns share a statement.
  prepared.columns.sort()
  for (const reference of table.references) {
    const parent = parentOf(prepared, key, reference, members, text, values, scope)
    if (typeof parent === 'string') return parent
    if (parent !== null) prepared.parents.push(parent)
  }
  return null
}

/**
 * The row that a change refers to by a foreign key: null where it refers to none, a text where nobody could tell to which.
 * PostgreSQL takes many spellings of a key; one that is not known here would refer to a row without anybody asking whose it is.
 */
function parentOf ({ table }: PreparedChange, key: Key, { constraint, columns, parent }: Reference, members: Member[], text: string, values: Record<string, unknown>, scope: string): ParentRow | string | null {
  const parts: Array<string | null> = []
  const silent: string[] = []
  for (const [i, name] of columns.entries()) {
    const spec = parent.key[i] as KeyPart
    const own = table.key.findIndex(part => part.name === name)
    // A key that is a reference too refers even where the payload leaves it out.
    if (own >= 0) parts.push(key.parts[own] as string)
    else if (name === table.owner?.column) parts.push(scope)
    else if (!Object.hasOwn(values, name)) silent.push(name)
    else if (values[name] === null) return null
    else {
      const { start, end } = members.find(member => member.key === name) as Member
      const part = normalizeValue(spec, values[name], text.slice(start, end))
      if (part === null) return `The value of ${name} is no key of ${parent.name}.`
      parts.push(part)
    }
  }
  if (silent.length > 0) {
    // What the row referred to before was asked for then; half of it would make a reference that nobody asked for.
    return columns.some(name => Object.hasOwn(values, name) && !table.key.some(part => part.name === name))
      ? `The columns ${columns.join(', ')} refer to ${parent.name} together (${constraint}): ${silent.join(', ')} must be in the payload too.`
      : null
  }
  const { pk } = keyOf(parent.key, parts) as Key
  return { constraint, row: rowKey(parent.id, pk), tableId: parent.id, pk, name: `${parent.name}:${pk}`, mustBeLive: !parent.shared }
}

function withMember (object: string, isEmpty: boolean, key: string, value: string): string {
  return `${object.slice(0, object.lastIndexOf('}')).trimEnd()}${isEmpty ? '' : ','}${JSON.stringify(key)}:${JSON.stringify(value)}}`
}

/**
 * Why PostgreSQL would read something else from a value than what it says, or null. It takes many spellings of a uuid,
 * 32 digits of a number among them.
 */
function whyMisread ({ name, kind, codec, isWritable }: ColumnSpec, value: unknown): string | null {
  if (value === null || codec !== null || !isWritable) return null
  if (kind === 'uuid') return typeof value === 'string' && normalizeUuidValue(value) !== null ? null : `The value of ${name} is no uuid.`
  if (kind === 'bytea') return typeof value === 'string' ? null : `The value of ${name} is no base64.`
  return null
}

/** A scope's name as a column of the type shows it, so that no two names are one owner; null where it cannot hold it. */
function ownerText (text: string, type: string): string | null {
  if (type === 'uuid') return normalizeUuidValue(text)
  return !type.startsWith('int') || /^(?:0|-?[1-9]\d{0,18})$/.test(text) ? text : null
}
