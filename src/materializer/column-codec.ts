import type { ColumnSpec } from './table-spec.js'
import { quoteIdentifier } from './quote-identifier.js'

/** Types whose JSON form PostgreSQL reads exactly by itself. */
const PLAIN_KINDS = new Set([
  'text', 'varchar', 'bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'json', 'jsonb',
  'date', 'time', 'timestamp', 'timestamptz', 'enum'
])

/** Why a column cannot sync, or null. */
export function whyUnsupported ({ kind, codec, type }: ColumnSpec): string | null {
  if (codec !== null) return kind === 'timestamptz' || kind === 'timestamp' ? null : `codec ${codec} needs a timestamp column, not ${type}`
  return PLAIN_KINDS.has(kind) || kind === 'uuid' || kind === 'bytea' ? null : `type ${type} is not supported`
}

/** The type as which json_to_recordset reads the value from the payload. */
export function wireType ({ kind, codec, type }: ColumnSpec): string {
  if (codec !== null) return 'bigint'
  return kind === 'bytea' || kind === 'uuid' ? 'text' : type
}

/** SQL that turns the value read as its wire type into the column's value. */
export function fromWire (column: ColumnSpec, alias: string): string {
  const value = `${alias}.${quoteIdentifier(column.name)}`
  if (column.codec !== null) {
    const instant = column.codec === 'epoch_s'
      ? `to_timestamp(${value}::double precision)`
      // Whole seconds and the rest apart: a double of seconds with a fraction would round at far dates.
      : `(to_timestamp(floor(${value} / 1000.0)::double precision) + (((${value} % 1000) + 1000) % 1000) * interval '1 millisecond')`
    return column.kind === 'timestamp' ? `(${instant} at time zone 'UTC')` : instant
  }
  if (column.kind === 'bytea') return `decode(${value}, 'base64')`
  if (column.kind === 'uuid') return uuidFromText(value)
  return value
}

/** Devices that keep uuids as BLOBs send base64 of 16 bytes. */
function uuidFromText (value: string): string {
  return `case when ${value} ~ '^[A-Za-z0-9+/]{22}==$' then encode(decode(${value}, 'base64'), 'hex')::uuid else ${value}::uuid end`
}
