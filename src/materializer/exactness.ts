import type { ColumnSpec } from './table-spec.js'

/** SQL that is true or null where PostgreSQL would keep the value, a text, as it is; null where it always does. */
export function exactness (value: string, { kind, type }: ColumnSpec): string | null {
  const modified = type.includes('(')
  switch (kind) {
    case 'varchar': case 'numeric': return modified ? `coalesce(${value} = ${value}::${type}, true)` : null
    // As short as float4 prints it, or as long as a device's double spells the same float4.
    case 'float4': return `coalesce(${value}::numeric = ${value}::float4::text::numeric or ${value}::float8 = ${value}::float4::float8, true)`
    // A fraction of up to 17 digits is how programs spell a double; an integer says what it means.
    case 'float8': return `coalesce(${value}::numeric = ${value}::float8::text::numeric or (${value}::numeric <> trunc(${value}::numeric) and length(ltrim(translate(${value}::numeric::text, '-.', ''), '0')) <= 17), true)`
    case 'date': return `coalesce(${isFixed(value, kind)} and ${value}::timestamp = ${value}::date, true)`
    // Devices may write nanoseconds; PostgreSQL would round them.
    case 'time': case 'timestamp': case 'timestamptz':
      return `coalesce(${isFixed(value, kind)} and ${value} !~ '[.][0-9]{6}[0-9]*[1-9]'${modified ? ` and ${value}::${type} = ${value}::${kind}` : ''}, true)`
    // A fraction of anything but seconds is spread over smaller units by rules of PostgreSQL's own.
    case 'interval':
      return `coalesce((${value} !~ '[.]' or ${value} ~* '^[^.]*[.][0-9]{1,6}0*\\s*(s|secs?|seconds?)?$')${modified ? ` and ${value}::${type} = ${value}::interval` : ''}, true)`
    case 'daterange': case 'tsrange': case 'tstzrange': return `coalesce(${value} ~ '^\\s*${rangeOf(kind)}\\s*$', true)`
    case 'datemultirange': case 'tsmultirange': case 'tstzmultirange': {
      const range = rangeOf(kind.replace('multi', ''))
      return `coalesce(${value} ~ '^\\s*[{]\\s*(${range}(\\s*,\\s*${range})*)?\\s*[}]\\s*$', true)`
    }
    default: return null
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

/** A pattern of ranges whose bounds say by themselves what they are; see `isFixed`. */
function rangeOf (kind: string): string {
  const time = '([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6}0*)?)?)?'
  const zone = '(Z|[+-][0-9]{2}(:?[0-9]{2})?)?'
  const rest = kind === 'daterange' ? '' : kind === 'tsrange' ? time : time + zone
  const bound = `("?[0-9]{4,6}-[0-9]{2}-[0-9]{2}${rest}"?|"?-?infinity"?)?`
  return `(empty|[[(]${bound},${bound}[])])`
}
