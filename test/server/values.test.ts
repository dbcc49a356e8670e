import postgres from 'postgres'
import t, { type Test } from 'tap'
import { buildApp, uuid, verdict, type Status, type World } from '../helpers/app.js'

/** A column for each type that syncs, and some that PostgreSQL would round to fit. */
const TYPES = `
  create type public.mood as enum ('calm', 'Very calm', '1');
  create domain public.email as varchar(12) check (value like '%@%');
  create domain public.price as numeric(6,2) not null default 1;
  create domain public.amount as public.price check (value >= 0);
  create table public.every (
    id uuid primary key, t text, v varchar(5), vc varchar, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric, n62 numeric(6,2),
    u uuid, j json, jb jsonb, by bytea, d date, ti time, ti0 time(0), ts timestamp, tz timestamptz, tz3 timestamptz(3), m public.mood, es timestamptz, ems timestamptz, esl timestamp, emsl timestamp,
    em public.email, am public.amount, ai integer[], at text[], ab boolean[], an numeric[], au uuid[], am2 public.mood[],
    ir int4range, nr numrange, dr daterange, tr tsrange, tzr tstzrange, imr int4multirange, tzmr tstzmultirange,
    iv interval, ivy interval year to month, iv2 interval(2), ip inet, net cidr, mac macaddr, mac8 macaddr8, b3 bit(3), vb varbit(5),
    filled text not null default 'default', made text generated always as (t) stored)`

async function everyWorld (t: Test, settingsSql = ''): Promise<World> {
  return await buildApp(t, { schemaSql: settingsSql + TYPES, tables: [{ table: 'every', columns: { es: 'epoch_s', ems: 'epoch_ms', esl: 'epoch_s', emsl: 'epoch_ms' } }] })
}

/** Sends one column's value as JSON text; gives the verdict, what PostgreSQL shows of the column, and what a peer is sent. */
async function send ({ user, sql }: World, n: number, column: string, value: string): Promise<{ verdict: string, stored: string | null | undefined, sent: boolean }> {
  const scope = `values ${n}`
  const reply = await user(scope).uploadText(`{"changes":[{"source_change_id":1,"table":"every","op":"INSERT","pk":"${uuid(n)}","server_version":0,"payload":{"id":"${uuid(n)}","${column}":${value}}}]}`)
  const show = column === 'by' ? 'encode(by, \'hex\')' : `${column}::text`
  const rows = await sql.unsafe<Array<{ value: string | null }>>(`select ${show} as value from every where id = $1`, [uuid(n)])
  const { text } = await user(scope, 'pad').download()
  return { verdict: reply.statusCode === 200 ? verdict(JSON.parse(reply.body).statuses[0] as Status) : String(reply.statusCode), stored: rows[0]?.value, sent: text.includes(`"${column}":${value},`) }
}

/** [column, value as JSON text, what PostgreSQL shows of it; undefined where it must be refused] */
const VALUES: Array<[string, string, (string | null)?]> = [
  ...['t', 'v', 'vc', 'b', 'i2', 'i4', 'i8', 'f4', 'f8', 'n', 'n62', 'u', 'j', 'by', 'd', 'ti', 'ts', 'tz', 'm', 'es', 'ems', 'esl', 'emsl'].map((column): [string, string, null] => [column, 'null', null]),

  ['t', '""', ''], ['t', '" "', ' '], ['t', '"null"', 'null'], ['t', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'], ['t', '"e\\u0301 é ﬁ 😀 \\ud83d\\ude00 \u202e"', 'e\u0301 é ﬁ 😀 😀 \u202e'], ['t', '"\'; drop table every; --"', '\'; drop table every; --'],
  ['t', '"\u2028\u2029\ufeff\ufffe"', '\u2028\u2029\ufeff\ufffe'], ['t', '"x  "', 'x  '], ['t', '0012.50'.replace(/^0+/, ''), '12.50'], ['t', '1.50', '1.50'], ['t', 'true', 'true'],
  ['v', '"12345"', '12345'], ['v', '"123456"'], ['v', '"12345 "'], ['v', '"😀😀😀😀😀"', '😀😀😀😀😀'], ['v', '""', ''], ['vc', '"no limit here"', 'no limit here'],

  ['b', 'true', 'true'], ['b', 'false', 'false'], ['b', '1', 'true'], ['b', '0', 'false'], ['b', '"true"', 'true'], ['b', '2'], ['b', '"maybe"'], ['b', '""'], ['b', '[]'],

  ['i2', '-32768', '-32768'], ['i2', '32767', '32767'], ['i2', '32768'], ['i4', '2147483647', '2147483647'], ['i4', '-2147483648', '-2147483648'], ['i4', '2147483648'], ['i4', '1.5'], ['i4', '"abc"'], ['i4', 'true'], ['i4', '{}'], ['i4', '""'], ['i4', '1e400'],
  ['i8', '9223372036854775807', '9223372036854775807'], ['i8', '-9223372036854775808', '-9223372036854775808'], ['i8', '9223372036854775808'], ['i8', '-9223372036854775809'],
  ['i8', '9007199254740991', '9007199254740991'], ['i8', '9007199254740992', '9007199254740992'], ['i8', '9007199254740993', '9007199254740993'], ['i8', '-9007199254740993', '-9007199254740993'], ['i8', '"9223372036854775807"', '9223372036854775807'], ['i8', '-0', '0'],

  ['n', '123456789012345678901234567890', '123456789012345678901234567890'], ['n', '0.123456789012345678901234567890', '0.123456789012345678901234567890'], ['n', '-98765432109876543210.01234567890123456789', '-98765432109876543210.01234567890123456789'],
  ['n', '1.10', '1.10'], ['n', '0.1', '0.1'], ['n', '1e-30', '0.000000000000000000000000000001'], ['n', '5e-324', `0.${'0'.repeat(323)}5`], ['n', '1e30', '1' + '0'.repeat(30)], ['n', '"123456789012345678901234567890.5"', '123456789012345678901234567890.5'], ['n', '"abc"'], ['n', '1e200000'], ['n', '[]'],
  ['n62', '1234.56', '1234.56'], ['n62', '1.5', '1.50'], ['n62', '1.500', '1.50'], ['n62', '1.505'], ['n62', '12345'], ['n62', '0.001'], ['n62', '9999.995'],

  ['f8', '0.1', '0.1'], ['f8', '0.30000000000000004', '0.30000000000000004'], ['f8', '1.7976931348623157e308', '1.7976931348623157e+308'], ['f8', '5e-324', '5e-324'], ['f8', '2.2250738585072014E-308', '2.2250738585072014e-308'], ['f8', '-0.0', '-0'], ['f8', '-0', '-0'], ['f8', '9007199254740993'], ['f8', '123456789.12345679', '123456789.12345679'], ['f8', '9007199254740992', '9.007199254740992e+15'],
  ['f8', '1e400'], ['f8', '1e-400'], ['f8', '"x"'], ['f8', '3', '3'], ['f8', '-139589478577913400.0', '-1.3958947857791341e+17'], ['f8', '1395894785779134e2', '1.3958947857791341e+17'], ['f8', '139589478577913400'], ['f8', '9007199254740993.0'], ['f8', '139589478577913401.0'], ['f8', '"NaN"', 'NaN'], ['f8', '"Infinity"', 'Infinity'],
  ['f4', '0.1', '0.1'], ['f4', '1.5', '1.5'], ['f4', '0.10000000149011612', '0.1'], ['f4', '3.4028235e38', '3.4028235e+38'], ['f4', '16777217'], ['f4', '1.00000000000000000001'], ['f4', '"1.00000000000000000001"'], ['f4', '3.4028234663852886e+38', '3.4028235e+38'], ['f4', '1.1754943508222875e-38', '1.1754944e-38'], ['f4', '0.123456789'], ['f4', '1e39'],

  ['u', '"ABCDEF01-2345-6789-ABCD-EF0123456789"', 'abcdef01-2345-6789-abcd-ef0123456789'], ['u', '"q83vASNFZ4mrze8BI0VniQ=="', 'abcdef01-2345-6789-abcd-ef0123456789'], ['u', '"abcdef0123456789abcdef0123456789"', 'abcdef01-2345-6789-abcd-ef0123456789'], ['u', '"{abcdef01-2345-6789-abcd-ef0123456789}"', 'abcdef01-2345-6789-abcd-ef0123456789'],
  ['u', '"urn:uuid:abcdef01-2345-6789-abcd-ef0123456789"', 'abcdef01-2345-6789-abcd-ef0123456789'], ['u', '"q83vASNFZ4mrze8BI0VniQ"'], ['u', '"q83vASNFZ4mrze8BI0VniR=="'], ['u', '""'], ['u', '7'], ['u', '12345678901234567890123456789012'],

  ...['j', 'jb'].flatMap((column): Array<[string, string, string]> => [
    [column, '{}', '{}'], [column, '[]', '[]'], [column, '"text"', '"text"'], [column, '1', '1'], [column, 'true', 'true'], [column, '""', '""']
  ]),
  ['j', '{"b":1.50,"a":[ ],"b2":9223372036854775808}', '{"b":1.50,"a":[ ],"b2":9223372036854775808}'], ['jb', '{"b":1.50,"a":[],"c":9223372036854775808.00000000000000000001}', '{"a": [], "b": 1.50, "c": 9223372036854775808.00000000000000000001}'], ['jb', '{"\\u0061":"\\u00e9"}', '{"a": "é"}'], ['jb', '[1e400]', `[1${'0'.repeat(400)}]`], ['jb', '"{\\"a\\":1}"', '"{\\"a\\":1}"'],

  ['by', '""', ''], ['by', '"AA=="', '00'], ['by', '"AAEC/+8="', '000102ffef'], ['by', '"3q2+7w=="', 'deadbeef'], ['by', '"AA"'], ['by', '"A"'], ['by', '"*"'], ['by', '"_-8="'], ['by', '"\\\\x00"'], ['by', '1234'], ['by', 'true'], ['by', '["AA=="]'], ['by', '{}'],

  ['d', '"2024-02-29"', '2024-02-29'], ['d', '"0001-01-01"', '0001-01-01'], ['d', '"9999-12-31"', '9999-12-31'], ['d', '"2023-02-29"'], ['d', '"2024-02-29T12:00:00"'], ['d', '""'], ['d', '"x"'], ['d', '20240229', '2024-02-29'],
  // A zone that a type without one would drop, a leap second that would become the next minute, a day that depends on today.
  ['d', '"2024-02-29 00:00:00-05"'], ['d', '"2024-02-29 24:00:00"'], ['d', '"5874897-12-31"', '5874897-12-31'], ['d', '"0044-03-15 BC"', '0044-03-15 BC'], ['d', '"infinity"', 'infinity'], ['d', '"today"'],
  ['ti', '"23:59:60"'], ['ti', '"123460"'], ['ti', '"126000"'], ['ti', '"196012"'], ['ti', '"12:34:60.5"'], ['ti', '"24:00:00"', '24:00:00'], ['ti', '"12:34:56-05"'], ['ti', '"allballs"'],
  ['ts', '"2024-02-29T12:34:56-05:00"'], ['ts', '"2024-02-29 12:34:56 -5"'], ['ts', '"2024-02-29-05"'], ['ts', '"2024-02-29T12:34:56-00"', '2024-02-29 12:34:56'], ['ts', '"2016-12-31 23:59:60"'], ['ts', '"20161231T235960"'], ['ts', '"20161231 236000"'], ['ts', '"1960-01-01 19:20:59"', '1960-01-01 19:20:59'], ['ts', '"2024-02-29T24:00:00"', '2024-03-01 00:00:00'],
  ['ts', '"0044-03-15T00:00:00 BC"', '0044-03-15 00:00:00 BC'], ['ts', '"10000-01-01T00:00:00"', '10000-01-01 00:00:00'], ['ts', '"294276-12-31T23:59:59.999999"', '294276-12-31 23:59:59.999999'], ['ts', '"-infinity"', '-infinity'],
  ['tz', '"2016-12-31T23:59:60Z"'], ['tz', '"2016-12-31T23:59:060Z"'], ['ts', '"2016-12-31T23:59:0060"'], ['tz', '"04:05 tomorrow"'], ['tz', '"now"'], ['tz', '"2024-01-01 12:00:00+01:23:45"', '2024-01-01 10:36:15+00'], ['tz', '"2024-01-01 12:00 America/New_York"', '2024-01-01 17:00:00+00'], ['tz', '"1 Jan 1960 12:00Z"', '1960-01-01 12:00:00+00'], ['tz', '"0044-03-15T00:00:00+00:00 BC"', '0044-03-15 00:00:00+00 BC'], ['tz', '"infinity"', 'infinity'],
  ['ti', '"12:34:56.789012"', '12:34:56.789012'], ['ti', '"23:59:59"', '23:59:59'], ['ti', '"25:00:00"'], ['ti', '"12:34:56.1234567"'], ['ti', '"12:34:56.123456000"', '12:34:56.123456'], ['ti0', '"12:34:56"', '12:34:56'], ['ti0', '"12:34:56.5"'],
  ['ts', '"2024-02-29T12:34:56.789012"', '2024-02-29 12:34:56.789012'], ['ts', '"2024-02-29 12:34:56"', '2024-02-29 12:34:56'], ['ts', '"2024-02-29T12:34:56.1234567"'], ['ts', '"0001-01-01 00:00:00"', '0001-01-01 00:00:00'], ['ts', '"2024-13-01"'],
  ['tz', '"2024-02-29T12:34:56Z"', '2024-02-29 12:34:56+00'], ['tz', '"2024-02-29T12:34:56"', '2024-02-29 12:34:56+00'], ['tz', '"2024-02-29 12:34:56.5+02:00"', '2024-02-29 10:34:56.5+00'], ['tz', '"2024-02-29T12:34:56.123456Z"', '2024-02-29 12:34:56.123456+00'], ['tz', '"2024-02-29T12:34:56.1234567Z"'], ['tz', '"x"'],
  ['tz3', '"2024-02-29T12:34:56.123Z"', '2024-02-29 12:34:56.123+00'], ['tz3', '"2024-02-29T12:34:56.1234Z"'],

  ['m', '"calm"', 'calm'], ['m', '"Very calm"', 'Very calm'], ['m', '"CALM"'], ['m', '""'], ['m', '1', '1'],

  ['es', '0', '1970-01-01 00:00:00+00'], ['es', '1700000000', '2023-11-14 22:13:20+00'], ['es', '-1', '1969-12-31 23:59:59+00'], ['es', '-62135596800', '0001-01-01 00:00:00+00'], ['es', '253402300799', '9999-12-31 23:59:59+00'], ['es', '9223372036854775807'], ['es', '1.5'], ['es', '"2024-01-01"'],
  ['ems', '0', '1970-01-01 00:00:00+00'], ['ems', '1700000000123', '2023-11-14 22:13:20.123+00'], ['ems', '-1', '1969-12-31 23:59:59.999+00'], ['ems', '-1001', '1969-12-31 23:59:58.999+00'], ['ems', '-62135596799999', '0001-01-01 00:00:00.001+00'], ['ems', '253402300799999', '9999-12-31 23:59:59.999+00'], ['ems', '9223372036854775807'], ['ems', '-9223372036854775808'], ['ems', '0.5'],
  ['esl', '1700000000', '2023-11-14 22:13:20'], ['emsl', '-1', '1969-12-31 23:59:59.999'],
  // A double of seconds has no room for these.
  ['es', '8210266876799', '262142-12-31 23:59:59+00'], ['ems', '8210266876799999', '262142-12-31 23:59:59.999+00'], ['ems', '9007199254740993', '287396-10-12 08:59:00.993+00'], ['es', '-210866803200', '4714-11-24 00:00:00+00 BC'], ['ems', '-86400001', '1969-12-30 23:59:59.999+00'],
  ['es', '1e3'], ['es', 'true'], ['es', '"infinity"', 'infinity'], ['emsl', '"-infinity"', '-infinity'],

  ['em', '"a@b"', 'a@b'], ['em', '"a@3456789012"', 'a@3456789012'], ['em', '"a@34567890123"'], ['am', '2.50', '2.50'], ['am', '2.505'], ['am', '12345'],

  ['ai', '[]', '{}'], ['ai', '[1,null,-2147483648]', '{1,NULL,-2147483648}'], ['ai', '[[1,2],[3,4]]', '{{1,2},{3,4}}'], ['ai', '"{1,2}"', '{1,2}'], ['ai', '[1.5]'], ['ai', '[2147483648]'], ['ai', '["x"]'], ['ai', '[[1],[2,3]]'], ['ai', '5'], ['ai', '{}'],
  ['at', '["a","","null",null,"{\\"b\\",c}"]', '{a,"","null",NULL,"{\\"b\\",c}"}'], ['ab', '[true,false,null]', '{t,f,NULL}'], ['an', '[1.10,123456789012345678901234567890.5]', '{1.10,123456789012345678901234567890.5}'],
  ['au', `["${uuid(7)}"]`, `{${uuid(7)}}`], ['au', '["x"]'], ['am2', '["calm","1"]', '{calm,1}'], ['am2', '["angry"]'],

  ['ir', '"[1,4)"', '[1,4)'], ['ir', '"empty"', 'empty'], ['ir', '"[1,3]"', '[1,4)'], ['ir', '"(,)"', '(,)'], ['ir', '"[4,1)"'], ['ir', '7'], ['nr', '"[1.50,2.5]"', '[1.50,2.5]'],
  ['dr', '"[2024-01-01,2024-02-01)"', '[2024-01-01,2024-02-01)'], ['dr', '"[today,)"'], ['dr', '"[2024-01-01T12:00,)"'], ['dr', '"(,infinity)"', '(,infinity)'],
  ['tr', '"[2024-01-01 00:00:00,2024-01-02T12:30)"', '["2024-01-01 00:00:00","2024-01-02 12:30:00")'], ['tr', '"[2024-01-01T00:00:00Z,)"'], ['tr', '"[now,)"'], ['tr', '"[2024-01-01 00:00:00.1234567,)"'], ['tr', '"[2024-01-01 23:59:60,)"'], ['dr', '"[0044-01-01 BC,)"', '["0044-01-01 BC",)'], ['tr', '"[2024-01-01 00:00:00-05,)"'],
  ['tzr', '"[2024-01-01T00:00:00+02,2024-01-02 00:00:00.123456)"', '["2023-12-31 22:00:00+00","2024-01-02 00:00:00.123456+00")'], ['tzr', '"[tomorrow,)"'], ['tzr', '"empty"', 'empty'],
  ['imr', '"{[1,3),[5,6)}"', '{[1,3),[5,6)}'], ['imr', '"{}"', '{}'], ['tzmr', '"{[2024-01-01 00:00:00+00,2024-01-02 00:00:00+00)}"', '{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}'], ['tzmr', '"{[now,)}"'],

  ['iv', '"1 year 2 mons 3 days 04:05:06.789"', '1 year 2 mons 3 days 04:05:06.789'], ['iv', '"P1DT2H"', '1 day 02:00:00'], ['iv', '"1.5 months"'], ['iv', '"0.1234567 s"'], ['iv', '"1.5 seconds"', '00:00:01.5'], ['iv', '"x"'],
  ['iv', '"PT1e-7S"'], ['iv', '"P1e-1M"'], ['iv', '"P0.1"'], ['iv', '"PT1.5"'], ['iv', '"P00021015T103020.5"'], ['iv', '"PT0.5H"'], ['iv', '"PT1.5S"', '00:00:01.5'], ['iv', '"P-1Y2M-3DT4H"', '-10 mons -3 days +04:00:00'], ['iv', '"-1 year +2 days -00:00:01"', '-1 years +2 days -00:00:01'], ['iv', '"1 mon -1 day ago"', '-1 mons +1 day'],
  ['ivy', '"1 year 2 mons"', '1 year 2 mons'], ['ivy', '"1 year 1 day"'], ['ivy', '"30 days"'], ['ivy', '"1"'], ['iv2', '"1.25 s"', '00:00:01.25'], ['iv2', '"1.125 s"'],
  ['ip', '"10.0.0.1/8"', '10.0.0.1/8'], ['ip', '"::1"', '::1/128'], ['ip', '"10.0.0"'], ['net', '"10.0.0.0/8"', '10.0.0.0/8'], ['net', '"10.0.0.1/8"'], ['mac', '"08:00:2b:01:02:03"', '08:00:2b:01:02:03'], ['mac8', '"08002b0102030405"', '08:00:2b:01:02:03:04:05'], ['mac8', '"08:00:2b:01:02:03"'],
  ['b3', '"101"', '101'], ['b3', '"x5"'], ['vb', '"x1"', '0001'], ['b3', '"1011"'], ['b3', '"10"'], ['b3', '"12"'], ['vb', '"10101"', '10101'], ['vb', '"101011"'], ['vb', '""', '']
]

/** What an operator may have set for every session of the database, as hostile as can be. */
const SETTINGS = ['timezone = \'Asia/Kolkata\'', 'datestyle = \'German, DMY\'', 'bytea_output = \'escape\'', 'extra_float_digits = -15', 'intervalstyle = \'sql_standard\'', 'default_transaction_isolation = \'serializable\'']

/** Eyes that see the same whatever the settings. */
const EYES = { TimeZone: 'UTC', DateStyle: 'ISO', IntervalStyle: 'postgres', bytea_output: 'hex', extra_float_digits: 1 }

for (const [what, settings] of [['with the default settings', []], ['whatever the settings of the database', SETTINGS]] as Array<[string, string[]]>) {
  t.test(`every value arrives in the table and at the peers as it was sent, or is refused by its column, ${what} (P17, H8, H24)`, async t => {
    const world = await everyWorld(t, settings.map(setting => `do $$ begin execute format('alter database %I set ${setting.replaceAll("'", "''")}', current_database()); end $$;`).join(' '))
    const look = postgres(world.url, { max: 1, onnotice: () => {}, connection: EYES })
    t.teardown(async () => { await look.end() })
    for (const [n, [column, value, expected]] of VALUES.entries()) {
      const { verdict, stored, sent } = await send({ ...world, sql: look }, n, column, value)
      const name = `${column} = ${value.slice(0, 60).replaceAll(/[^ -~]/g, '?')}`
      if (expected === undefined) {
        t.strictSame([verdict, stored, sent], ['invalid bad_payload', undefined, false], name)
      } else {
        // The generated column makes every row another than what was sent; the value itself must not count as altered.
        t.strictSame([verdict, stored, sent], ['applied v1 row v1', expected, true], name)
      }
    }
  })
}

t.test('the column to blame is named, whatever its type', async t => {
  const { user } = await everyWorld(t)
  const wrong: Array<[string, unknown]> = [['v', '123456'], ['b3', '1011'], ['vb', '101011'], ['iv2', '0.001 s'], ['ivy', '1 day'], ['am2', ['angry']], ['ai', [1.5]], ['tz', 'now'], ['es', 1.5], ['mac8', '08:00:2b:01:02:03'], ['by', '*'], ['u', 'x'], ['nr', 'x'], ['d', 'today'], ['b', 'maybe']]
  for (const [i, [column, value]] of wrong.entries()) {
    const { statuses } = await user('bob').upload([{ source_change_id: i + 1, table: 'every', op: 'INSERT', pk: uuid(100 + i), server_version: 0, payload: { t: 'fine', [column]: value, i8: 7 } }])
    t.match((statuses[0] as { message: string }).message, new RegExp(`\\b${column}\\b`), column)
  }
  const { statuses } = await user('alice').upload([{ source_change_id: 1, table: 'every', op: 'INSERT', pk: uuid(1), server_version: 0, payload: { t: 'fine', i8: 7, n62: 1.005, b: true } }])
  t.match(statuses[0], { invalid: { reason: 'bad_payload', details: { column: 'n62' } }, message: /n62/ })
  t.notMatch((statuses[0] as { message: string }).message, /1\.005|inexact/)
})

t.test('a value that a domain refuses breaks a constraint (F5)', async t => {
  const { user } = await everyWorld(t)
  for (const [n, payload] of [{ em: 'nobody' }, { am: -1 }, { am: null }].entries()) {
    const [status] = (await user('alice').upload([{ source_change_id: n + 1, table: 'every', op: 'INSERT', pk: uuid(n), server_version: 0, payload }])).statuses
    t.equal(verdict(status as Status), 'invalid constraint_violation', JSON.stringify(payload))
  }
})

t.test('a column that is absent takes its default on insert and stays on update (F2, F3)', async t => {
  const { user, sql } = await everyWorld(t)
  const change = (id: number, base: number, payload: object) => ({ source_change_id: id, table: 'every', op: 'UPDATE', pk: uuid(1), server_version: base, payload: payload as Record<string, unknown> })
  const row = async () => (await sql`select t, v, filled, made, i4 from every`).map(row => Object.values(row))[0]
  const steps: Array<[object, unknown[]]> = [
    [{ t: 'one' }, ['one', null, 'default', 'one', null]],
    [{ v: 'two' }, ['one', 'two', 'default', 'one', null]],
    [{ filled: 'given', i4: 4 }, ['one', 'two', 'given', 'one', 4]],
    [{ t: null, v: '' }, [null, '', 'given', null, 4]],
    [{ unknown: 1, made: 'not mine' }, [null, '', 'given', null, 4]],
    [{}, [null, '', 'given', null, 4]]
  ]
  for (const [i, [payload, expected]] of steps.entries()) {
    const { statuses } = await user('alice').upload([change(i + 1, i, payload)])
    t.match(verdict(statuses[0] as Status), `applied v${i + 1}`, JSON.stringify(payload))
    t.strictSame(await row(), expected, JSON.stringify(payload))
  }
  const { changes } = await user('alice', 'pad').download()
  t.strictSame(changes.at(-1)?.payload, { t: null, v: '', filled: 'given', i4: 4, unknown: 1, made: null, am: 1 }, 'peers get the row that the table has')
  const { statuses } = await user('alice').upload([change(9, 6, { filled: null })])
  t.equal(verdict(statuses[0] as Status), 'invalid constraint_violation', 'null is not absence')
})

t.test('rows of one statement keep their own values', async t => {
  const { user, sql } = await everyWorld(t)
  const change = (n: number, base: number, payload: string) => `{"source_change_id":${base * 100 + n},"table":"every","op":"INSERT","pk":"${uuid(n)}","server_version":${base},"payload":{${payload}}}`
  const big = (n: number) => `92233720368547757${String(n).padStart(2, '0')}`
  for (const base of [0, 1]) {
    const changes = Array.from({ length: 50 }, (_, n) => change(n, base, n % 3 === 0 ? `"t":"${base}-${n}","i8":${big(n)}` : n % 3 === 1 ? `"i8":${big(n)},"t":"${base}-${n}"` : `"t":"${base}-${n}","i8":${big(n)},"j":[${n}]`))
    // Number 0 is none: the first change goes without one.
    t.equal(JSON.parse((await user('alice').uploadText(`{"changes":[${changes.slice(1).join()}]}`)).body).statuses.filter(({ status }: Status) => status !== 'applied').length, 0)
    const rows = await sql`select id, t, i8::text from every order by id`
    t.strictSame(rows.map(row => [row['id'], row['t'], row['i8']]), Array.from({ length: 49 }, (_, i) => [uuid(i + 1), `${base}-${i + 1}`, big(i + 1)]), `version ${base + 1}`)
  }
})

t.test('exact digits survive every way by which a payload comes back (P17)', async t => {
  const { user } = await buildApp(t)
  const payload = `{ "id" : "${uuid(1)}", "big":9223372036854775807 ,"dec":1.10000000000000000000000000000,"doc":{"x":1E5,"y":[0.10]} }`
  const change = (id: number, base: number, text = payload) => `{"changes":[{"source_change_id":${id},"schema":"business","table":"typed_rows","op":"UPDATE","pk":"${uuid(1)}","server_version":${base},"payload":${text}}]}`
  await user('alice').uploadText(change(1, 0, '{"note":"first"}'))
  await user('alice').uploadText(change(2, 1))
  const ways: Array<[string, string]> = [
    ['download', (await user('alice', 'pad').download()).text],
    ['conflict', (await user('alice', 'pad').uploadText(change(1, 0, '{}'))).body],
    ['replay of the overtaken change', (await user('alice').uploadText(change(1, 0, '{"note":"first"}'))).body],
    ['conflict within the batch', (await user('alice').uploadText(change(3, 2).slice(0, -2) + ',' + change(4, 2, '{"note":"x"}').slice(12))).body]
  ]
  for (const [way, text] of ways) t.ok(text.includes(`"payload":${payload.slice(0, -2)}`), way)
})

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

t.test('columns may have any name that PostgreSQL allows, also those that the statements use (F10, H3)', async t => {
  const names = ['oversync key', 'oversync place', 'oversync payload', 'oversync key 0', 'oversync  key', 'Upper', 'with blank', 'quo"te', "apo'stroph", 'back\\slash', 'new\nline', 'ünïcödé 😀', 'select', '$1', '?', '%s', ':a', '0', 'k', 'r', 't', 'v', 'x', 'pk', 'members', 'toString', 'constructor']
  const columns = names.map(name => `${quoted(name)} text`).join(', ')
  const { user, sql } = await buildApp(t, {
    schemaSql: `create schema "other schema"; create type "other schema"."It's (an) ""enum""" as enum ('a "b"', 'c''d');
      create table odd (id uuid primary key, ${columns}, label "other schema"."It's (an) ""enum""", made text generated always as ("Upper") stored);
      create table "odd_keys" (id text, "oversync key 0" text, "Oversync Key" integer, ${names.filter(name => name !== 'oversync key 0').map(name => `${quoted(name)} text`).join(', ')}, primary key (id, "oversync key 0", "Oversync Key"), made text generated always as ("Upper") stored)`,
    tables: ['odd', 'odd_keys']
  })
  for (const [table, pk, own] of [['odd', uuid(1), { label: 'a "b"' }], ['odd_keys', '["a","b","3"]', { 'oversync key 0': 'b' }]] as Array<[string, string, object]>) {
    for (const base of [0, 1]) {
      const payload = { ...Object.fromEntries(names.map(name => [name, `${name} ${base}`])), ...own }
      const { statuses } = await user(table).upload([{ source_change_id: base + 1, table, op: 'UPDATE', pk, server_version: base, payload }])
      t.equal(verdict(statuses[0] as Status), `applied v${base + 1} row v${base + 1}`, `${table} v${base + 1}`)
      const [row] = await sql.unsafe(`select * from ${table}`)
      t.match(row, payload)
    }
  }
})

t.test('a table may have as many columns as PostgreSQL allows, also where its rows are read back (D25)', async t => {
  const names = Array.from({ length: 1_598 }, (_, i) => `c${i}`)
  const { user, sql } = await buildApp(t, {
    schemaSql: `create table wide (id smallint primary key, ${names.map(name => `${name} boolean`).join(', ')}, made smallint generated always as (id) stored)`,
    tables: ['wide']
  })
  const payload = (value: boolean) => Object.fromEntries(names.map(name => [name, value]))
  for (const base of [0, 1]) {
    const { statuses } = await user('alice').upload([{ source_change_id: base + 1, table: 'wide', op: 'UPDATE', pk: '1', server_version: base, payload: payload(base === 0) }])
    t.equal(verdict(statuses[0] as Status), `applied v${base + 1} row v${base + 1}`)
  }
  const [row] = await sql`select * from wide`
  t.strictSame({ ...row }, { id: 1, ...payload(false), made: 1 })
})
