import type { ColumnSpec } from './table-spec.js'

/** SQL that is true or null where PostgreSQL would keep the value, a text, as it is; null where it always does. */
export function exactness (value: string, { kind, type }: ColumnSpec): string | null {
  const modified = type.includes('(')
  switch (kind) {
    case 'varchar': case 'numeric': return modified ? `coalesce(${value} = ${value}::${type}, true)` : null
    // As short as float4 prints it, or as a device's double spells the same float4.
    case 'float4': return `coalesce(${value}::numeric = ${value}::float4::text::numeric or (${value}::float8 = ${value}::float4::float8 and ${isDouble(value)}), true)`
    // A fraction may be spelled as programs spell a double; an integer says what it means. Where it has a point, programs may
    // spell it shorter than PostgreSQL: by the number half-way to the next double, which PostgreSQL avoids.
    case 'float8': return `coalesce(${value}::numeric = ${value}::float8::text::numeric or (${value}::numeric <> trunc(${value}::numeric) and ${isDouble(value)}) or (${value} ~ '[.eE]' and ${digitsOf(value)} < ${digitsOf(`${value}::float8::text`)}), true)`
    // A day alone may be of a year that no timestamp has.
    case 'date': return `coalesce(${isUsual(value, kind)} or (${isFixed(value, kind)} and (${value} ~ '^[0-9]+-[0-9]+-[0-9]+( BC)?$' or ${value}::timestamp = ${value}::date)), true)`
    // Devices may write nanoseconds; PostgreSQL would round them. It would make a leap second the minute after it.
    case 'time': case 'timestamp': case 'timestamptz':
      return `coalesce((${isUsual(value, kind)} or (${isFixed(value, kind)} and ${value} !~ '[.][0-9]{6}[0-9]*[1-9]' and ${value} !~ '(:0*|${kind === 'time' ? '^' : '[T ]'}([0-9]{2}(?=[0-9]{4})|[0-9]{4}))60'))${modified ? ` and ${value}::${type} = ${value}::${kind}` : ''}, true)`
    // A fraction of anything but seconds is spread over smaller units by rules of PostgreSQL's own, and so is an exponent.
    case 'interval': {
      const whole = `(${value} !~ '[.]' or ${value} ~* '^[^.]*[.][0-9]{1,6}0*\\s*(s|secs?|seconds?)?$') and (${value} !~* '^\\s*P' or ${value} ~* '^[^.e]*([.][0-9]+S)?$')`
      // Intervals are equal where their texts are not: a month and 30 days. The type may have no room for days, or for fractions.
      return `coalesce(${whole}${type === 'interval' ? '' : ` and ${value}::${type}::text = ${value}::interval::text`}, true)`
    }
    case 'bit': case 'varbit': return modified ? `coalesce(${value}::varbit = ${value}::${type}::varbit, true)` : null
    // Six bytes would be made eight.
    case 'macaddr8': return `coalesce(length(regexp_replace(${value}, '[^0-9A-Fa-f]', '', 'g')) = 16, true)`
    case 'daterange': case 'tsrange': case 'tstzrange': return `coalesce(${value} ~ '^\\s*${rangeOf(kind)}\\s*$', true)`
    case 'datemultirange': case 'tsmultirange': case 'tstzmultirange': {
      const range = rangeOf(kind.replace('multi', ''))
      return `coalesce(${value} ~ '^\\s*[{]\\s*(${range}(\\s*,\\s*${range})*)?\\s*[}]\\s*$', true)`
    }
    default: return null
  }
}

/** SQL that is true for a number of as many digits as programs spell a double with. */
function isDouble (value: string): string {
  return `${digitsOf(value)} <= 17`
}

/** SQL for the number of digits that count. */
function digitsOf (value: string): string {
  return `length(trim(both '0' from translate(${value}::numeric::text, '-.', '')))`
}

/**
 * SQL that is true for a date or time as programs write it, of which nothing is left to ask: to find that out takes a fifth to a
 * half of what the whole question takes. False for much that PostgreSQL would keep as well.
 */
function isUsual (value: string, kind: string): string {
  if (kind === 'date') return `${value} ~ '^[0-9]+-[0-9]+-[0-9]+$'`
  if (kind === 'time') return 'false'
  const zone = kind === 'timestamptz' ? 'Z' : ''
  const seconds = '____-__-__T__:__:__'
  // A fraction begins where it should, and has six digits at most; no leap second.
  const isShaped = `(${value} like '${seconds}${zone}' or ${value} like '${seconds}.%${zone}') and octet_length(${value}) <= ${'YYYY-MM-DDTHH:MM:SS.mmmmmm'.length + zone.length} and strpos(${value}, ':60') = 0`
  const digits = zone === '' ? '^[0-9]+-[0-9]+-[0-9]+T[0-9:.]+$' : '^[0-9][-0-9]*T[0-9:.]+Z$'
  return `(${isShaped} and ${value} ~ '${digits}')`
}

/**
 * SQL that is true where a date or time says by itself what it is: not "now" or "04:05 tomorrow", which are the server's; and,
 * where the type has no zone, without one that PostgreSQL would drop.
 */
function isFixed (value: string, kind: string): string {
  if (kind === 'time') return `${value} ~ '^[0-9:.]+$'`
  const isSpecial = `${value} in ('infinity', '-infinity')`
  if (kind === 'timestamptz') return `((${value} ~ '^[0-9]' and ${value} !~* '(now|today|tomorrow|yesterday|epoch|allballs)') or ${isSpecial})`
  return `(${value} ~ '^[0-9]+([-.][0-9]+){0,2}((T| +)[0-9:.]+ ?(Z|[-+]00(:?00)?)?)?( BC)?$' or ${isSpecial})`
}

/** A pattern of ranges whose bounds say by themselves what they are; see `isFixed`. */
function rangeOf (kind: string): string {
  const time = '([ T][0-9]{2}:[0-9]{2}(:[0-5][0-9]([.][0-9]{1,6}0*)?)?)?'
  const zone = '(Z|[+-][0-9]{2}(:?[0-9]{2}(:?[0-9]{2})?)?)?'
  const rest = kind === 'daterange' ? '' : kind === 'tsrange' ? time : time + zone
  const bound = `("?[0-9]{4,7}-[0-9]{2}-[0-9]{2}${rest}( BC)?"?|"?-?infinity"?)?`
  return `(empty|[[(]${bound},${bound}[])])`
}
