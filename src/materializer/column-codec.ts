import type { ColumnSpec } from './table-spec.js'
import { quoteIdentifier } from './quote-identifier.js'

/** Types that PostgreSQL reads from JSON by itself, exactly or not at all. */
const PLAIN_KINDS = new Set(['text', 'bool', 'int2', 'int4', 'int8', 'json', 'jsonb', 'enum'])

/** Types that PostgreSQL would round, cut or pad to fit; see `exactness`. */
const ROUNDED_KINDS = new Set(['varchar', 'float4', 'float8', 'numeric', 'date', 'time', 'timestamp', 'timestamptz'])

/** Why a column cannot sync, or null. */
export function whyUnsupported ({ kind, codec, type }: ColumnSpec): string | null {
  if (codec !== null) return kind === 'timestamptz' || kind === 'timestamp' ? null : `codec ${codec} needs a timestamp column, not ${type}`
  return PLAIN_KINDS.has(kind) || ROUNDED_KINDS.has(kind) || kind === 'uuid' || kind === 'bytea' ? null : `type ${type} is not supported`
}

/** The type as which json_to_recordset reads the value from the payload. */
export function wireType ({ kind, codec, type }: ColumnSpec): string {
  if (codec !== null) return 'bigint'
  return PLAIN_KINDS.has(kind) ? type : kind === 'numeric' ? 'numeric' : 'text'
}

/** SQL that turns the value read as its wire type into the column's value. */
export function fromWire (column: ColumnSpec, alias: string): string {
  const { kind, codec, type } = column
  const value = `${alias}.${quoteIdentifier(column.name)}`
  if (codec !== null) return fromEpoch(value, codec, kind)
  if (kind === 'bytea') return `decode(${value}, 'base64')`
  if (kind === 'uuid') return uuidFromText(value)
  if (PLAIN_KINDS.has(kind)) return value
  const isExact = exactness(value, column)
  // The cast of a text that is no integer is the one way to raise an error from within an expression.
  return isExact === null ? `${value}::${type}` : `case when ${isExact} then ${value}::${type} else (('inexact: ' || ${value})::integer)::text::${type} end`
}

/** SQL that is true or null where PostgreSQL would keep the value as it is; null where it always does. */
function exactness (value: string, { kind, type }: ColumnSpec): string | null {
  const modified = type.includes('(')
  switch (kind) {
    case 'varchar': return modified ? `coalesce(${value} = ${value}::${type}, true)` : null
    case 'numeric': return modified ? `coalesce(${value} = ${value}::${type}, true)` : null
    // As short as float4 prints it, or as long as a device's double spells the same float4.
    case 'float4': return `coalesce(${value}::numeric = ${value}::float4::text::numeric or ${value}::float8 = ${value}::float4::float8, true)`
    // A fraction of up to 17 digits is how programs spell a double; an integer says what it means.
    case 'float8': return `coalesce(${value}::numeric = ${value}::float8::text::numeric or (${value}::numeric <> trunc(${value}::numeric) and length(ltrim(translate(${value}::numeric::text, '-.', ''), '0')) <= 17), true)`
    case 'date': return `coalesce(${isFixed(value, kind)} and ${value}::timestamp = ${value}::date, true)`
    // Devices may write nanoseconds; PostgreSQL would round them.
    default: return `coalesce(${isFixed(value, kind)} and ${value} !~ '[.][0-9]{6}[0-9]*[1-9]'${modified ? ` and ${value}::${type} = ${value}::${kind}` : ''}, true)`
  }
}

/**
 * SQL that is true where a date or time says by itself what it is: not "now", which is the server's; and, where the type has
 * no zone, without one that PostgreSQL would drop.
 */
function isFixed (value: string, kind: string): string {
  if (kind === 'time') return `${value} ~ '^[0-9:.,]+$'`
  const pattern = kind === 'timestamptz' ? '^[0-9]' : '^[0-9][-0-9T :.]*(Z|[+]00(:?00)?)?( BC)?$'
  return `(${value} ~ '${pattern}' or ${value} in ('infinity', '-infinity'))`
}

function fromEpoch (value: string, codec: 'epoch_s' | 'epoch_ms', kind: string): string {
  const instant = codec === 'epoch_s'
    ? `to_timestamp(${value}::double precision)`
    // Whole seconds and the rest apart: a double of seconds with a fraction would round at far dates.
    : `(to_timestamp(floor(${value} / 1000.0)::double precision) + (((${value} % 1000) + 1000) % 1000) * interval '1 millisecond')`
  return kind === 'timestamp' ? `(${instant} at time zone 'UTC')` : instant
}

/** Devices that keep uuids as BLOBs send base64 of 16 bytes. */
function uuidFromText (value: string): string {
  return `case when ${value} ~ '^[A-Za-z0-9+/]{22}==$' then encode(decode(${value}, 'base64'), 'hex')::uuid else regexp_replace(${value}, '^urn:uuid:', '', 'i')::uuid end`
}
