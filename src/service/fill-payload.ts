import { keyOf, normalizeKey, normalizeValue, partAsJson, type Key, type KeyPart } from '../materializer/key-spec.js'
import type { ColumnSpec, Reference, TableSpec } from '../materializer/table-spec.js'
import { isUuidBytes, normalizeUuidValue } from '../materializer/uuid.js'
import { rowKey } from '../storage/row-state.js'
import { editObject, membersOf, type Member } from './json-text.js'
import { layoutOf, type Role } from './payload-layout.js'
import type { ParentRow, PrepareContext, PreparedChange, Refusal } from './prepare.js'
import type { PayloadText } from './upload-body.js'

/** Why the key says by itself that the row is another's, or that the scope cannot own rows of the table; null where neither. */
export function whyNotOwner ({ owner, name }: TableSpec, { parts }: Key, scope: string): Refusal | null {
  if (owner === null) return null
  if (ownerText(scope, owner.type) !== scope) return { reason: 'not_owner', message: `${name} holds its owner as ${owner.type}, which the scope's name is not in its one spelling.` }
  return owner.keyIndex >= 0 && parts[owner.keyIndex] !== scope ? { reason: 'not_owner', message: `The key's ${owner.column} names another owner.` } : null
}

const NOTHING_REPLACED = new Map<number, string>()
const NOTHING_REMOVED: ReadonlySet<number> = new Set()

/** Writes the stored payload, the columns and the parents into `prepared`. Returns why the payload does not fit, or null. */
export function fillIn (prepared: PreparedChange, key: Key, { text, members }: PayloadText, values: Record<string, unknown>, { scope, olderClient }: Pick<PrepareContext, 'scope' | 'olderClient'>): string | null {
  const { table } = prepared
  const { names, roles, columns, unknown, lacksOwner, storedCount, shape } = layoutOf(table, members)
  let replaced = NOTHING_REPLACED
  let removed = NOTHING_REMOVED
  for (let place = 0; place < roles.length; place++) {
    const [role, name, { start, end }] = [roles[place] as Role, names[place] as string, members[place] as Member]
    switch (role.kind) {
      case 'excluded':
        removed = new Set(removed).add(place)
        prepared.completed = true
        break
      case 'key': {
        const part = key.parts[role.part] as string
        const value = values[name]
        // As it is stored already, without an escape: nothing to spell anew.
        if (role.spec.kind !== 'integer' && value === part && end - start === part.length + 2) break
        const literal = text.slice(start, end)
        if (normalizeValue(role.spec, value, literal) !== part) return `The payload's ${name} is not the pk.`
        const spelled = partAsJson(role.spec, part)
        if (role.spec.kind !== 'text' && spelled !== literal) replace(place, spelled)
        break
      }
      case 'column': {
        const misfit = whyMisread(role.spec, values[name])
        if (misfit !== null) return misfit
        if (role.spec.kind === 'uuid') respell(place, name, values[name])
        break
      }
      case 'owner': {
        const owner = table.owner as NonNullable<TableSpec['owner']>
        const value = values[name]
        if (value === null) {
          replace(place, JSON.stringify(scope))
          prepared.completed = true
        } else if ((typeof value === 'string' ? ownerText(value, owner.type) : text.slice(start, end)) !== scope) {
          prepared.refusal ??= { reason: 'not_owner', message: `The payload's ${name} names another owner.` }
        } else if (owner.type === 'uuid') respell(place, name, value)
      }
    }
  }
  prepared.columns = columns
  prepared.unknown = unknown
  prepared.shape = shape
  prepared.payload = editObject(text, members, replaced, removed)
  if (removed.size > 0) prepared.beforeExclusion = editObject(text, members, replaced, NOTHING_REMOVED)
  if (lacksOwner) {
    // The device has no such column; others may.
    const { column } = table.owner as NonNullable<TableSpec['owner']>
    prepared.payload = withMember(prepared.payload, storedCount === 0, column, scope)
    if (prepared.beforeExclusion !== null) prepared.beforeExclusion = withMember(prepared.beforeExclusion, false, column, scope)
  }
  if (table.references.length === 0) return null
  const parents: ParentRow[] = []
  for (const reference of table.references) {
    const parent = parentOf(table, key, reference, members, text, values, scope)
    if (typeof parent === 'string') return parent
    if (parent !== null) parents.push(parent)
  }
  prepared.parents = parents
  return null

  function replace (place: number, value: string): void {
    if (replaced === NOTHING_REPLACED) replaced = new Map()
    replaced.set(place, value)
  }

  /**
   * Devices of one user may keep uuids as text and as BLOBs: the bytes are stored as the text that they stand for, which
   * both can read. Another spelling is the author's, and stays; only where it refers to a key it must be the key's own,
   * or no foreign key of a device would find the row, and then the author must learn it. What clients of the original
   * generation send stays as it is: others of theirs have always read it so.
   */
  function respell (place: number, name: string, value: unknown): void {
    const uuid = typeof value === 'string' && !olderClient ? normalizeUuidValue(value) : null
    if (uuid === null || uuid === value) return
    const isSpelling = !isUuidBytes(value as string)
    if (isSpelling && !isReference(table, name)) return
    replace(place, JSON.stringify(uuid))
    if (isSpelling) prepared.completed = true
  }
}

function isReference ({ owner, references }: TableSpec, name: string): boolean {
  return name === owner?.column || references.some(({ columns }) => columns.includes(name))
}

/**
 * The row that a change refers to by a foreign key: null where it refers to none, a text where nobody could tell to which.
 * PostgreSQL takes many spellings of a key; one that is not known here would refer to a row without anybody asking whose it is.
 */
function parentOf (table: TableSpec, key: Key, { constraint, columns, parent }: Reference, members: Member[], text: string, values: Record<string, unknown>, scope: string): ParentRow | string | null {
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
  return { constraint, row: rowKey(parent.id, pk), tableId: parent.id, pk, name: `${parent.name}:${pk}`, mustBeLive: !parent.shared, recordsFailures: parent.recordsFailures }
}

/** The rows that a whole row refers to, by its stored payload; a text for a reference of which half is missing. */
export function parentsIn (table: TableSpec, pk: string, payload: string, scope: string): Array<ParentRow | string> {
  const key = normalizeKey(table.key, pk) as Key
  const values = JSON.parse(payload) as Record<string, unknown>
  const members = membersOf(payload)
  return table.references.map(reference => parentOf(table, key, reference, members, payload, values, scope)).filter(parent => parent !== null)
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
  // PostgreSQL has one empty array, whatever its dimensions.
  if (kind === 'array') return hasEmptyPart(value) ? `The value of ${name} has an empty array in it.` : null
  return null
}

function hasEmptyPart (value: unknown): boolean {
  return Array.isArray(value) && value.some(part => Array.isArray(part) && (part.length === 0 || hasEmptyPart(part)))
}

/** A scope's name as a column of the type shows it, so that no two names are one owner; null where it cannot hold it. */
function ownerText (text: string, type: string): string | null {
  if (type === 'uuid') return normalizeUuidValue(text)
  return !type.startsWith('int') || /^(?:0|-?[1-9]\d{0,18})$/.test(text) ? text : null
}
