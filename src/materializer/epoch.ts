import type { ColumnCodec } from '../options.js'

/** SQL that makes a time of whole seconds or milliseconds since 1970. */
export function fromEpoch (value: string, codec: ColumnCodec, kind: string): string {
  const instant = codec === 'epoch_s'
    ? `to_timestamp(${value}::double precision)`
    // Whole seconds and the rest apart: a double of seconds with a fraction would round at far dates.
    : `(to_timestamp(floor(${value} / 1000.0)::double precision) + (((${value} % 1000) + 1000) % 1000) * interval '1 millisecond')`
  return kind === 'timestamp' ? `(${instant} at time zone 'UTC')` : instant
}

/** SQL of type json: a time as whole seconds or milliseconds, what is finer cut off; infinity has no number and stays a text. */
export function toEpoch (value: string, codec: ColumnCodec): string {
  const seconds = `extract(epoch from ${value})`
  const number = codec === 'epoch_s' ? `floor(${seconds})` : `floor(${seconds} * 1000)`
  return `case when isfinite(${value}) then to_json(${number}::bigint) else to_json(${value}::text) end`
}
