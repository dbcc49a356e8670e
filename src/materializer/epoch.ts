import type { ColumnCodec } from '../options.js'

/**
 * SQL that makes a time of whole seconds or milliseconds since 1970, from their text. Days and the rest of the day are added
 * apart, in integers: a double of seconds, as to_timestamp has it, rounds at far dates.
 */
export function fromEpoch (value: string, codec: ColumnCodec, kind: string): string {
  const [day, rest] = codec === 'epoch_s' ? [86_400, `${value}::bigint % 86400`] : [86_400_000, `(${value}::bigint % 86400000) / 1000.0`]
  const time = `timestamp '1970-01-01' + make_interval(days => (${value}::bigint / ${day})::integer) + make_interval(secs => (${rest})::double precision)`
  // What `toEpoch` sends of it comes back with the next edit.
  const whole = `(case when ${value} in ('infinity', '-infinity') then ${value}::timestamp else ${time} end)`
  return kind === 'timestamp' ? whole : `(${whole} at time zone 'UTC')`
}

/** SQL of type json: a time as whole seconds or milliseconds, what is finer cut off; infinity has no number and stays a text. */
export function toEpoch (value: string, codec: ColumnCodec): string {
  const seconds = `extract(epoch from ${value})`
  const number = codec === 'epoch_s' ? `floor(${seconds})` : `floor(${seconds} * 1000)`
  return `case when isfinite(${value}) then to_json(${number}::bigint) else to_json(${value}::text) end`
}
