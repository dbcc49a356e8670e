import type { KeyPart } from '../materializer/key-spec.js'
import type { ColumnSpec, TableSpec } from '../materializer/table-spec.js'
import type { Member } from './json-text.js'
import { shapeOf } from './payload-shape.js'

/** What a member of a payload is to its table. */
export type Role =
  | { kind: 'key', part: number, spec: KeyPart }
  | { kind: 'column', spec: ColumnSpec }
  | { kind: 'owner' }
  /** Its column does not travel. */
  | { kind: 'excluded' }
  /** There is no such column. */
  | { kind: 'unknown' }

/** What follows from the names of a payload's members alone. */
export interface PayloadLayout {
  /** The names, in the order sent. */
  names: string[]
  /** By position. */
  roles: Role[]
  /** Columns of the business table, sorted: rows of the same columns share a statement, whatever order a device has them in. */
  columns: string[]
  /** Names that no column of the business table has. */
  unknown: string[]
  /** The owner's column is to be added. */
  lacksOwner: boolean
  /** Members that are stored, the added one aside. */
  storedCount: number
  /** Hash of the names that are stored. */
  shape: number
}

/** Of each table the last one: most payloads of a batch have the same members in the same order. */
const LAST = new WeakMap<TableSpec, PayloadLayout>()

export function layoutOf (table: TableSpec, members: readonly Member[]): PayloadLayout {
  const last = LAST.get(table)
  if (last !== undefined && isOf(last, members)) return last
  const layout = makeLayout(table, members.map(({ key }) => key))
  // Other names are as long as a device likes, and would keep the body that they came in.
  if (layout.roles.every(isOwn)) LAST.set(table, { ...layout, names: layout.roles.map(role => nameOf(role, table)) })
  return layout
}

function isOf ({ names }: PayloadLayout, members: readonly Member[]): boolean {
  if (names.length !== members.length) return false
  for (let i = 0; i < names.length; i++) if (names[i] !== members[i]?.key) return false
  return true
}

function makeLayout (table: TableSpec, names: string[]): PayloadLayout {
  const roles = names.map(name => roleOf(table, name))
  const stored = names.filter((_, i) => roles[i]?.kind !== 'excluded')
  const { owner } = table
  const lacksOwner = owner !== null && !stored.includes(owner.column)
  return { names, roles, columns: roles.flatMap(role => role.kind === 'column' ? [role.spec.name] : []).sort(), unknown: names.filter((_, i) => roles[i]?.kind === 'unknown'), lacksOwner, storedCount: stored.length, shape: shapeOf(lacksOwner ? [...stored, owner.column] : stored) }
}

function isOwn ({ kind }: Role): boolean {
  return kind === 'key' || kind === 'column' || kind === 'owner'
}

/** The table's own text for a name. */
function nameOf (role: Role, { owner }: TableSpec): string {
  return ('spec' in role ? role.spec.name : owner?.column) as string
}

function roleOf ({ key, columns, excluded, owner }: TableSpec, name: string): Role {
  if (excluded.has(name)) return { kind: 'excluded' }
  const part = key.findIndex(part => part.name === name)
  if (part >= 0) return { kind: 'key', part, spec: key[part] as KeyPart }
  const spec = columns.get(name)
  if (spec !== undefined) return { kind: 'column', spec }
  return { kind: name === owner?.column ? 'owner' : 'unknown' }
}
