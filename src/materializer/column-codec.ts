import { fromEpoch, toEpoch } from './epoch.js'
import { exactness } from './exactness.js'
import { quoteIdentifier } from './quote-identifier.js'
import type { ColumnSpec } from './table-spec.js'

/** Types that PostgreSQL reads from JSON by itself, exactly or not at all. */
const PLAIN_KINDS = new Set(['text', 'citext', 'bool', 'int2', 'int4', 'int8', 'json', 'jsonb', 'enum'])

/** Types that travel as text which PostgreSQL reads; some of them only where `exactness` finds that nothing would be rounded or cut. */
const TEXT_KINDS = new Set([
  'varchar', 'float4', 'float8', 'numeric', 'date', 'time', 'timestamp', 'timestamptz', 'interval', 'uuid', 'bytea',
  'bit', 'varbit', 'inet', 'cidr', 'macaddr', 'macaddr8',
  'int4range', 'int8range', 'numrange', 'daterange', 'tsrange', 'tstzrange',
  'int4multirange', 'int8multirange', 'nummultirange', 'datemultirange', 'tsmultirange', 'tstzmultirange'
])

/** Elements of arrays, which travel as JSON arrays. */
const ELEMENT_KINDS = new Set(['text', 'varchar', 'citext', 'bool', 'int2', 'int4', 'int8', 'numeric', 'uuid', 'enum'])

/** Types that look as if they could travel, and why they do not. */
const ADVICE: Record<string, string> = {
  bpchar: ': it pads with blanks; use text or varchar',
  timetz: ': use timestamptz',
  money: ': its text depends on the locale; use numeric',
  array: ': arrays of text, boolean, integers, numeric, uuid and enums are; others could be rounded'
}

/** Why a column cannot sync, or null. What PostgreSQL computes is only ever read, so that it may be of any type but some. */
export function whyUnsupported ({ kind, elementKind, codec, type, isWritable }: ColumnSpec): string | null {
  if (codec !== null) return kind === 'timestamptz' || kind === 'timestamp' ? null : `codec ${codec} needs a timestamp column, not ${type}`
  if (!isWritable) return null
  const isArray = kind === 'array' && elementKind !== null && ELEMENT_KINDS.has(elementKind) && !type.includes('(')
  return isArray || PLAIN_KINDS.has(kind) || TEXT_KINDS.has(kind) ? null : `type ${type} is not supported${ADVICE[kind] ?? ''}`
}

/** The type as which json_to_recordset reads the value from the payload. */
export function wireType ({ kind, codec, type, isWritable }: ColumnSpec): string {
  if (!isWritable) return 'json'
  if (codec !== null || kind === 'citext') return 'text'
  return PLAIN_KINDS.has(kind) || kind === 'array' ? type : kind === 'numeric' ? 'numeric' : 'text'
}

/** SQL that turns the value read as its wire type into the column's value; an error of class 22 where it would become another. */
export function fromWire (column: ColumnSpec, alias: string): string {
  const { kind, codec, type } = column
  const value = `${alias}.${quoteIdentifier(column.name)}`
  if (codec !== null) return fromEpoch(value, codec, kind)
  if (kind === 'bytea') return `decode(${value}, 'base64')`
  if (kind === 'uuid') return uuidFromText(value)
  if (PLAIN_KINDS.has(kind) || kind === 'array') return value
  const isExact = exactness(value, column)
  // The cast of a text that is no integer is the one way to raise an error from within an expression.
  return isExact === null ? `${value}::${type}` : `case when ${isExact} then ${value}::${type} else (('inexact: ' || ${value})::integer)::text::${type} end`
}

/** SQL of type json: the column's value as it travels. */
export function toWire (column: ColumnSpec, alias: string): string {
  const { kind, codec } = column
  const value = `${alias}.${quoteIdentifier(column.name)}`
  if (codec !== null) return toEpoch(value, codec)
  switch (kind) {
    case 'bytea': return `to_json(replace(encode(${value}, 'base64'), chr(10), ''))`
    case 'json': return value
    case 'jsonb': return `${value}::json`
    case 'text': case 'varchar': case 'bool': case 'int2': case 'int4': case 'int8': case 'float4': case 'float8': case 'numeric':
    case 'date': case 'time': case 'timestamp': case 'timestamptz': case 'uuid': case 'enum': case 'array':
      return `to_json(${value})`
    default: return `to_json(${value}::text)`
  }
}

/** Types of which values compare equal that are not: by a collation that ignores case, or a month and 30 days. */
const COMPARED_AS_TEXT = new Set(['text', 'varchar', 'citext', 'json', 'array', 'interval'])

/** SQL that is true where the stored value is another than the one that was sent; `sent` has it as its wire type. */
export function isAltered (column: ColumnSpec, sent: string, stored: string): string {
  const [left, right] = [`${sent}.${quoteIdentifier(column.name)}`, `${stored}.${quoteIdentifier(column.name)}`]
  if (!column.isWritable) return isOtherJson(left, toWire(column, stored))
  // The C collation: also `is distinct from` follows the column's.
  if (COMPARED_AS_TEXT.has(column.kind)) return `(${fromWire(column, sent)})::text collate "C" is distinct from ${right}::text collate "C"`
  // A domain has no operators of its own: over an enum or a range, PostgreSQL finds none at all.
  return `${fromWire(column, sent)} is distinct from ${right}::${column.type}`
}

/** Nobody has checked what was sent for a column that PostgreSQL computes: it may be a number that jsonb cannot hold. */
function isOtherJson (sent: string, stored: string): string {
  const isSafe = `length(${sent}::text) < 10000 and ${sent}::text !~ '[0-9][eE][-+]?[0-9]{4}'`
  return `case when ${isSafe} then ${sent}::jsonb is distinct from (${stored})::jsonb else ${sent}::text is distinct from (${stored})::text end`
}

/** Devices that keep uuids as BLOBs send base64 of 16 bytes. Most write 36 characters, of which there is nothing to ask. */
function uuidFromText (value: string): string {
  return `case when octet_length(${value}) = 36 then ${value}::uuid when ${value} ~ '^[A-Za-z0-9+/]{22}==$' then encode(decode(${value}, 'base64'), 'hex')::uuid else regexp_replace(${value}, '^urn:uuid:', '', 'i')::uuid end`
}
