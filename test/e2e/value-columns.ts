import fc, { type Arbitrary } from 'fast-check'

/** What a device binds. */
export type Local = string | number | bigint | Buffer

/** A value as a device keeps it, and as PostgreSQL reads it from a text that the test makes: the two routes must meet. */
export interface Value { local: Local, pg: string }

export interface Column {
  name: string
  /** Type in PostgreSQL. */
  type: string
  /** Declaration in SQLite. */
  declared: string
  values: Arbitrary<Value>
  /** Values that must be refused by name. */
  bad: Local[]
}

const same = (arbitrary: Arbitrary<string>): Arbitrary<Value> => arbitrary.map(text => ({ local: text, pg: text }))
const these = (...texts: string[]): Arbitrary<Value> => same(fc.constantFrom(...texts))
const int = (min: bigint, max: bigint): Arbitrary<bigint> => fc.oneof(fc.bigInt(min, max), fc.constantFrom(min, max, 0n, -1n, 1n, max - 1n))
const integers = (bits: bigint): Arbitrary<Value> => int(-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n).map(value => ({ local: value, pg: String(value) }))
const digits = (min: number, max: number): Arbitrary<string> => fc.array(fc.integer({ min: 0, max: 9 }), { minLength: min, maxLength: max }).map(list => list.join(''))
const two = (max: number, min = 0): Arbitrary<string> => fc.integer({ min, max }).map(n => String(n).padStart(2, '0'))

/** Every plane, non-characters too; NUL is PostgreSQL's to refuse. */
const odd = ['', ' ', 'null', 'NULL', "''", '"', '\\', '\ufeff', '\ufffe', '\uffff', '\u{1fffe}', '\u{10ffff}', '\ufffd', 'e\u0301', '\u{1f468}\u200d\u{1f469}', '\u2028\u2029', '\u0001\u001f\u007f\u0080', '5', '1e5', '{}', '[1]', 'true', '\\x00']
export const text = (maxLength: number): Arbitrary<string> => fc.oneof(fc.string({ unit: 'binary', maxLength }), fc.constantFrom(...odd.filter(value => [...value].length <= maxLength)))
  .map(value => value.replaceAll('\0', '\u0002'))

const decimal = (whole: number, fraction: number): Arbitrary<string> => fc.tuple(fc.constantFrom('', '-'), digits(0, whole), fc.oneof(digits(0, 0), digits(1, Math.max(1, fraction))))
  .map(([sign, before, after]) => `${sign}${before.replace(/^0+(?=.)/, '') || '0'}${after === '' || fraction === 0 ? '' : '.' + after}`)
// SQLite keeps no -0, and writes the point.
const real = (value: number): Value => ({ local: value === 0 ? 0 : value, pg: value === 0 ? '0.0' : String(value) + (/[.e]/.test(String(value)) ? '' : '.0') })

const uuidHex = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 })
export const dashed = (hex: string): string => hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
const uuidText = uuidHex.chain(hex => fc.constantFrom(dashed(hex), dashed(hex).toUpperCase(), hex, hex.toUpperCase(), `{${dashed(hex)}}`, `urn:uuid:${dashed(hex)}`)
  .map(local => ({ local, pg: dashed(hex) })))

// Without white space around, which JSON does not count; not the bare null, which is held.
const json = fc.json({ stringUnit: 'binary' }).filter(value => value !== 'null' && !value.includes('\\u0000'))

const year = fc.oneof(fc.integer({ min: 1, max: 9999 }), fc.constantFrom(1, 1582, 1899, 1970, 2000, 9999)).map(n => String(n).padStart(4, '0'))
const date = fc.tuple(year, two(12, 1), two(28, 1)).map(parts => parts.join('-'))
const clock = (decimals: number): Arbitrary<string> => fc.tuple(two(23), two(59), two(59), fc.oneof(fc.constant(''), digits(1, decimals).map(text => '.' + text))).map(([h, m, s, f]) => `${h}:${m}:${s}${f}`)
const stamp = (decimals: number): Arbitrary<string> => fc.tuple(date, fc.constantFrom(' ', 'T'), clock(decimals)).map(parts => parts.join(''))
const zone = fc.oneof(fc.constantFrom('Z', '+00', '-00:00', '+05:30', '-12:00', '+14', '+01:23:45'), fc.tuple(fc.constantFrom('+', '-'), two(13), two(59)).map(([sign, h, m]) => `${sign}${h}:${m}`))
// A time without a zone is UTC.
const zoned = (decimals: number): Arbitrary<Value> => fc.tuple(stamp(decimals), fc.option(zone)).map(([text, zone]) => ({ local: text + (zone ?? ''), pg: text + (zone ?? '+00') }))
const epoch = (factor: number): Arbitrary<Value> => fc.oneof(fc.integer({ min: -62_135_596_800, max: 253_402_300_799 }), fc.constantFrom(0, -1, 1, 2 ** 31, -62_135_596_800, 253_402_300_799))
  .chain(seconds => fc.integer({ min: 0, max: factor - 1 }).map(rest => ({ local: BigInt(seconds) * BigInt(factor) + BigInt(rest), pg: new Date(seconds * 1000 + (factor === 1 ? 0 : rest)).toISOString() })))

const signed = (max: number): Arbitrary<string> => fc.integer({ min: -max, max }).map(String)
const interval = fc.oneof(
  fc.tuple(signed(999), signed(11), signed(400), fc.constantFrom('', '-'), clock(6)).map(([y, m, d, sign, time]) => `${y} years ${m} mons ${d} days ${sign}${time}`),
  fc.tuple(signed(99), signed(11), signed(400), signed(99), signed(59)).map(([y, m, d, h, s]) => `P${y}Y${m}M${d}DT${h}H${s}.25S`),
  fc.constantFrom('0', '1 week', '1 day ago', '30 days', '1 mon', '178000000 years', '-0.000001 s', '2 decades'))

const MOODS = ['calm', 'Very calm', "it's", '"quoted"', '1', '\u{1f600}', 'null']

/** An array as a device keeps it, and as PostgreSQL's array literal. */
const array = <T>(element: Arbitrary<T>, toJson: (value: T) => string, toText: (value: T) => string): Arbitrary<Value> => {
  const list = (values: Array<T | null>): Value => ({
    local: `[${values.map(value => value === null ? 'null' : toJson(value)).join(',')}]`,
    pg: `{${values.map(value => value === null ? 'NULL' : `"${toText(value).replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
  })
  const flat = fc.array(fc.option(element, { freq: 8 }), { maxLength: 6 })
  const nested = fc.array(fc.tuple(element, fc.option(element)), { minLength: 1, maxLength: 3 })
    .map(rows => rows.map(row => list(row))).map(rows => ({ local: `[${rows.map(({ local }) => local).join(', ')}]`, pg: `{${rows.map(({ pg }) => pg).join(',')}}` }))
  return fc.oneof({ weight: 4, arbitrary: flat.map(list) }, { weight: 1, arbitrary: nested })
}
const quote = (value: string): string => JSON.stringify(value)

/** Ranges of values that are made in order. */
const range = <T>(bound: Arbitrary<T>, compare: (a: T, b: T) => number, show: (value: T) => string): Arbitrary<string> =>
  fc.oneof({ weight: 8, arbitrary: fc.tuple(bound, bound, fc.constantFrom('[', '('), fc.constantFrom(')', ']')).map(([a, b, open, close]) => `${open}${[a, b].sort(compare).map(show).join(',')}${close}`) },
    { weight: 1, arbitrary: bound.map(value => `[${show(value)},)`) }, { weight: 1, arbitrary: fc.constantFrom('empty', '(,)') })
const multi = (single: Arbitrary<string>): Arbitrary<Value> => same(fc.array(single, { maxLength: 4 }).map(ranges => `{${ranges.join(',')}}`))
const byBigInt = (a: bigint, b: bigint): number => a < b ? -1 : a > b ? 1 : 0
const byText = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0
// The last integer has none after it to exclude.
const int4s = range(int(-(2n ** 31n), 2n ** 31n - 2n), byBigInt, String)
const int8s = range(int(-(2n ** 63n), 2n ** 63n - 2n), byBigInt, String)
const nums = range(fc.tuple(int(-(10n ** 20n), 10n ** 20n), digits(1, 20)), ([a], [b]) => byBigInt(a, b), ([whole, fraction]) => `${whole}.${fraction}`)
  // Equal whole parts may be out of order.
  .filter(text => { const [a, b] = text.slice(1, -1).split(',').map(Number); return !(a as number >= (b as number)) })
const dates = range(date, byText, String)
const stamps = range(fc.tuple(date, clock(6)).map(parts => parts.join(' ')), byText, String)
const zonedStamps = range(fc.tuple(date, clock(6)).map(parts => `${parts.join('T')}+00`), byText, String)

const octet = fc.integer({ min: 0, max: 255 })
const ip = fc.oneof(fc.tuple(octet, octet, octet, octet).map(parts => parts.join('.')), fc.constantFrom('::1', 'fe80::1', '2001:db8::ff00:42:8329'))
const hexPair = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 2, maxLength: 2 })
const mac = (bytes: number): Arbitrary<Value> => same(fc.array(hexPair, { minLength: bytes, maxLength: bytes }).map(pairs => pairs.join(':')))
const bits = (min: number, max: number): Arbitrary<Value> => same(fc.string({ unit: fc.constantFrom('0', '1'), minLength: min, maxLength: max }))

export const TYPES = `
  create schema "other schema";
  create type "other schema"."Mood's (""x"")" as enum (${MOODS.map(label => `'${label.replaceAll("'", "''")}'`).join(', ')});
  create domain public.email as varchar(20) check (value like '%@%');
  create domain public.price as numeric(9,3) check (value >= 0);
  create domain public.cheap as public.price;
  create domain public.tags as text[];
  create domain public.feeling as "other schema"."Mood's (""x"")";
  create domain public.instant as timestamptz(3);
  create domain public.span as int4range;`

const NUL = 'a\0b'
const moods = fc.constantFrom(...MOODS)

/** A column for each type, beside the key. */
export const COLUMNS: Column[] = [
  { name: 'text', type: 'text', declared: 'text', values: same(text(40)), bad: [NUL, Buffer.from([0])] },
  { name: 'var char', type: 'varchar(8)', declared: 'varchar(8)', values: same(text(8)), bad: ['123456789', '12345678 ', '\u{1f600}'.repeat(9)] },
  { name: 'bool', type: 'boolean', declared: 'boolean', values: fc.boolean().map(value => ({ local: BigInt(value), pg: String(value) })), bad: [2n, 'maybe', 0.5] },
  { name: 'int2', type: 'smallint', declared: 'integer', values: integers(16n), bad: [32768n, 'abc', 1.5] },
  { name: 'int4', type: 'integer', declared: 'integer', values: integers(32n), bad: [2n ** 31n, '0x1G', 0.1] },
  { name: 'int8', type: 'bigint', declared: 'integer', values: integers(64n), bad: [1.5, 'x', 1e300] },
  { name: 'numeric', type: 'numeric', declared: 'text', values: same(decimal(40, 40)), bad: ['', '1,5', 'abc', '1e200000'] },
  { name: 'numeric real', type: 'numeric', declared: 'real', values: fc.double({ noNaN: true, noDefaultInfinity: true }).map(real), bad: [Infinity, -Infinity] },
  { name: 'numeric(12,4)', type: 'numeric(12,4)', declared: 'text', values: same(decimal(8, 4)), bad: ['0.00001', '123456789', '1.00005'] },
  { name: 'numeric(5,-2)', type: 'numeric(5,-2)', declared: 'integer', values: fc.integer({ min: -99999, max: 99999 }).map(n => ({ local: BigInt(n) * 100n, pg: `${n}00` })), bad: [12345n, 1.5] },
  { name: 'real', type: 'real', declared: 'real', values: fc.float({ noNaN: true, noDefaultInfinity: true }).map(real), bad: [0.1 + 0.2, 16777217, 1e39, 1e-50, Infinity] },
  { name: 'double', type: 'double precision', declared: 'double', values: fc.oneof({ weight: 8, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map(real) }, { weight: 1, arbitrary: these('NaN', 'Infinity', '-Infinity') }, { weight: 1, arbitrary: fc.constantFrom(5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 2 ** 53, 1e21, 139589478577913400, 0.1 + 0.2, 1 / 3, 9.5e-7).map(real) }), bad: [Infinity, -Infinity, 'x'] },
  { name: 'uuid', type: 'uuid', declared: 'text', values: uuidText, bad: ['x', '', dashed('0'.repeat(31)), '12345678-1234-1234-1234-1234567890zz'] },
  { name: 'uuid blob', type: 'uuid', declared: 'blob', values: uuidHex.map(hex => ({ local: Buffer.from(hex, 'hex'), pg: dashed(hex) })), bad: [Buffer.alloc(15), Buffer.alloc(17), Buffer.alloc(0), '00'] },
  { name: 'json', type: 'json', declared: 'json_text', values: same(json), bad: ['{', '', 'null', '{"a":"\\u0000"}', '["\\ud800"]'] },
  { name: 'jsonb', type: 'jsonb', declared: 'json_text', values: same(json), bad: ["{'a':1}", '1e200000', 'nul', '"\\udc00"'] },
  { name: 'bytea', type: 'bytea', declared: 'blob', values: fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constant(new Uint8Array(0))).map(bytes => ({ local: Buffer.from(bytes), pg: `\\x${Buffer.from(bytes).toString('hex')}` })), bad: ['AA=='] },
  { name: 'date', type: 'date', declared: 'date', values: fc.oneof({ weight: 8, arbitrary: same(date) }, { weight: 1, arbitrary: these('0044-03-15 BC', '10000-01-01', '5874897-12-31', 'infinity', '-infinity', '4713-01-01 BC') }), bad: ['2023-02-29', 'today', '2024-01-01T12:00', '2024-01-01 00:00-05', ''] },
  { name: 'time', type: 'time', declared: 'text', values: fc.oneof({ weight: 8, arbitrary: same(clock(6)) }, { weight: 1, arbitrary: these('24:00:00', '00:00:00.000001', '23:59:59.999999000') }), bad: ['23:59:60', '24:00:01', 'now', '12:00:00+01', '12:00:00.0000001'] },
  { name: 'time(3)', type: 'time(3)', declared: 'text', values: same(clock(3)), bad: ['12:00:00.0001'] },
  { name: 'timestamp', type: 'timestamp', declared: 'datetime', values: fc.oneof({ weight: 8, arbitrary: same(stamp(6)) }, { weight: 1, arbitrary: these('0044-03-15T00:00:00 BC', '294276-12-31 23:59:59.999999', 'infinity', '-infinity', '2024-01-01 24:00:00') }), bad: ['2024-01-01T00:00:00-05:00', '2024-01-01T00:00:00+05:00', '2016-12-31 23:59:60', 'now', '2024-01-01 00:00:00.0000001'] },
  { name: 'timestamptz', type: 'timestamptz', declared: 'text', values: fc.oneof({ weight: 8, arbitrary: zoned(6) }, { weight: 1, arbitrary: these('0044-03-15T00:00:00Z BC', '294276-12-31T23:59:59.999999Z', 'infinity', '-infinity') }), bad: ['2016-12-31T23:59:60Z', '04:05 tomorrow', 'yesterday', '2024-13-01T00:00:00Z', '2024-01-01T00:00:00.1234567Z'] },
  { name: 'timestamptz(3)', type: 'timestamptz(3)', declared: 'text', values: zoned(3), bad: ['2024-01-01T00:00:00.1234Z'] },
  { name: 'epoch_s', type: 'timestamptz', declared: 'integer', values: epoch(1), bad: [1.5, '2024-01-01', 2n ** 62n] },
  { name: 'epoch_ms', type: 'timestamptz', declared: 'integer', values: epoch(1000), bad: [0.5, 'x', 2n ** 63n - 1n] },
  { name: 'epoch_s local', type: 'timestamp', declared: 'integer', values: epoch(1), bad: [1.5] },
  { name: 'interval', type: 'interval', declared: 'text', values: same(interval), bad: ['1.5 months', 'P0.5Y', 'PT1e-7S', '0.0000001 s', 'x', ''] },
  { name: 'interval ym', type: 'interval year to month', declared: 'text', values: same(fc.tuple(signed(99), signed(11)).map(([y, m]) => `${y} years ${m} mons`)), bad: ['1 day', '1 year 00:00:01'] },
  { name: 'enum', type: '"other schema"."Mood\'s (""x"")"', declared: 'text', values: same(moods), bad: ['CALM', '', 'calm '] },
  { name: 'int4[]', type: 'integer[]', declared: 'json_text', values: array(int(-(2n ** 31n), 2n ** 31n - 1n), String, String), bad: ['[1.5]', '["x"]', '[[1],[2,3]]', '{}', '[2147483648]'] },
  { name: 'int8[]', type: 'bigint[]', declared: 'json_text', values: array(int(-(2n ** 63n), 2n ** 63n - 1n), String, String), bad: ['[9223372036854775808]'] },
  { name: 'text[]', type: 'text[]', declared: 'json_text', values: array(text(10), quote, String), bad: ['["\\u0000"]', '5'] },
  { name: 'bool[]', type: 'boolean[]', declared: 'json_text', values: array(fc.boolean(), String, String), bad: ['[2]'] },
  { name: 'numeric[]', type: 'numeric[]', declared: 'json_text', values: array(decimal(25, 25), String, String), bad: ['["x"]'] },
  { name: 'uuid[]', type: 'uuid[]', declared: 'json_text', values: array(uuidHex.map(dashed), quote, String), bad: ['["x"]', '["AAAAAAAAAAAAAAAAAAAAAA=="]'] },
  { name: 'int4range', type: 'int4range', declared: 'text', values: same(int4s), bad: ['[4,1)', '[1,2147483647]', '5'] },
  { name: 'int8range', type: 'int8range', declared: 'text', values: same(int8s), bad: ['[x,)'] },
  { name: 'numrange', type: 'numrange', declared: 'text', values: same(nums), bad: ['[2,1]'] },
  { name: 'daterange', type: 'daterange', declared: 'text', values: same(dates), bad: ['[today,)', '[2024-01-01T12:00,)'] },
  { name: 'tsrange', type: 'tsrange', declared: 'text', values: same(stamps), bad: ['[now,)', '[2024-01-01 00:00:00+05,)', '[2024-01-01 23:59:60,)'] },
  { name: 'tstzrange', type: 'tstzrange', declared: 'text', values: same(zonedStamps), bad: ['[tomorrow,)'] },
  { name: 'int4multirange', type: 'int4multirange', declared: 'text', values: multi(int4s), bad: ['[1,2)'] },
  { name: 'int8multirange', type: 'int8multirange', declared: 'text', values: multi(int8s), bad: ['{[2,1]}'] },
  { name: 'nummultirange', type: 'nummultirange', declared: 'text', values: multi(nums), bad: ['{x}'] },
  { name: 'datemultirange', type: 'datemultirange', declared: 'text', values: multi(dates), bad: ['{[today,)}'] },
  { name: 'tsmultirange', type: 'tsmultirange', declared: 'text', values: multi(stamps), bad: ['{[now,)}'] },
  { name: 'tstzmultirange', type: 'tstzmultirange', declared: 'text', values: multi(zonedStamps), bad: ['{[now,)}'] },
  { name: 'inet', type: 'inet', declared: 'text', values: same(fc.tuple(ip, fc.option(fc.integer({ min: 0, max: 32 }))).map(([address, length]) => length === null ? address : `${address}/${length}`)), bad: ['10.0.0', '10.0.0.1/33'] },
  { name: 'cidr', type: 'cidr', declared: 'text', values: same(fc.tuple(octet, octet).map(([a, b]) => `${a}.${b}.0.0/16`)), bad: ['10.0.0.1/8'] },
  { name: 'macaddr', type: 'macaddr', declared: 'text', values: mac(6), bad: ['08:00:2b:01:02'] },
  { name: 'macaddr8', type: 'macaddr8', declared: 'text', values: mac(8), bad: ['08:00:2b:01:02:03'] },
  { name: 'bit(5)', type: 'bit(5)', declared: 'text', values: bits(5, 5), bad: ['1010', '101010', '10102'] },
  { name: 'varbit(9)', type: 'bit varying(9)', declared: 'text', values: bits(0, 9), bad: ['1010101010'] },
  { name: 'email', type: 'public.email', declared: 'text', values: same(text(10).map(value => `${value}@x`)), bad: ['a@345678901234567890x'] },
  { name: 'cheap', type: 'public.cheap', declared: 'text', values: same(decimal(6, 3).map(value => value.replace('-', ''))), bad: ['0.0001', '1234567'] },
  { name: 'tags', type: 'public.tags', declared: 'json_text', values: array(text(6), quote, String), bad: ['7'] },
  { name: 'feeling', type: 'public.feeling', declared: 'text', values: same(moods), bad: ['x'] },
  { name: 'instant', type: 'public.instant', declared: 'text', values: zoned(3), bad: ['2024-01-01T00:00:00.0001Z'] },
  { name: 'span', type: 'public.span', declared: 'text', values: same(int4s), bad: ['[2,1)'] }
]

/** Where the extension is there. */
export const CITEXT: Column = { name: 'citext', type: 'citext', declared: 'text', values: same(text(20)), bad: [NUL] }

export const CODECS = { epoch_s: 'epoch_s', epoch_ms: 'epoch_ms', 'epoch_s local': 'epoch_s' } as const
