import { normalizeUuid, normalizeUuidValue } from './uuid.js'

export type KeyKind = 'uuid' | 'text' | 'integer'

/** A column of a key. */
export interface KeyPart {
  /** Null where the table is not materialized and the app did not name it. */
  name: string | null
  kind: KeyKind
  /** Type without a modifier, as SQL casts to it: uuid, text, smallint, integer, bigint. */
  type: string
  /** Most characters of a varchar(n): PostgreSQL would drop blanks beyond it without a word. */
  maxLength: number | null
}

/** The parts of a key, in key order; one or more. */
export type KeySpec = readonly KeyPart[]

/** A key in its one spelling. */
export interface Key {
  /** As it is stored and answered: of a key of several columns, the JSON array of its parts as strings, without white space. */
  pk: string
  parts: string[]
}

const INTEGER = /^(?:0|-?[1-9][0-9]{0,18})$/
const BITS: Record<string, bigint> = { smallint: 15n, integer: 31n, bigint: 63n }

/** A key as it came on the wire in its one spelling; null where it is none of this table. */
export function normalizeKey (key: KeySpec, text: string): Key | null {
  if (key.length === 1) {
    const pk = normalizePart(key[0] as KeyPart, text)
    return pk === null ? null : { pk, parts: [pk] }
  }
  const given = partsOf(text)
  return given === null || given.length !== key.length ? null : keyOf(key, given.map((part, i) => normalizePart(key[i] as KeyPart, part)))
}

/** Puts the parts together; null where one is missing. */
export function keyOf (key: KeySpec, parts: Array<string | null>): Key | null {
  if (parts.includes(null)) return null
  const all = parts as string[]
  return { pk: key.length === 1 ? all[0] as string : JSON.stringify(all), parts: all }
}

/** What a payload holds in a key column, or in a column that refers to one, spelled as in a key; null where it can be no such key. */
export function normalizeValue (part: KeyPart, value: unknown, literal: string): string | null {
  switch (part.kind) {
    case 'uuid': return typeof value === 'string' ? normalizeUuidValue(value) : null
    case 'text': return typeof value === 'string' ? normalizePart(part, value) : null
    // The digits as they were sent: a number of JavaScript may have lost some.
    case 'integer': return typeof value === 'string' ? normalizePart(part, value) : typeof value === 'number' ? normalizePart(part, literal) : null
  }
}

/** How a part of a key is written in a payload. */
export function partAsJson (part: KeyPart, text: string): string {
  return part.kind === 'integer' ? text : JSON.stringify(text)
}

/** How a key of this kind is called in a message. */
export function describeKey (key: KeySpec): string {
  const words = { uuid: 'a uuid', text: 'text', integer: 'an integer in plain digits' }
  return key.length === 1 ? words[(key[0] as KeyPart).kind] : `a JSON array of ${key.length} strings (${key.map(({ kind }) => words[kind]).join(', ')})`
}

function normalizePart ({ kind, type, maxLength }: KeyPart, text: string): string | null {
  switch (kind) {
    case 'uuid': return normalizeUuid(text)
    case 'text': return text.includes('\0') || !text.isWellFormed() || (maxLength !== null && [...text].length > maxLength) ? null : text
    case 'integer': return INTEGER.test(text) && BigInt.asIntN(Number(BITS[type] ?? 63n) + 1, BigInt(text)) === BigInt(text) ? text : null
  }
}

function partsOf (text: string): string[] | null {
  if (!text.startsWith('[')) return null
  try {
    const parts: unknown = JSON.parse(text)
    return Array.isArray(parts) && parts.every(part => typeof part === 'string') ? parts : null
  } catch {
    return null
  }
}
