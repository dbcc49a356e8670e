// Rows that are written together become what they would one by one: two devices on one stream, of which one takes every row
// for one that needs a closer look.
import t from 'tap'
import type { Driver } from '../../client/index.js'
import { Chance } from '../simulation/random.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'

const SEEDS = Number(process.env['SEEDS'] ?? process.env['OVERSYNC_SEEDS'] ?? 40)
const TABLES = ['notes', 'people', 'counters', 'seats', 'replies', 'blobs']
const SCHEMA = `
  create table notes (id text primary key, title text not null, stars integer, price real, amount text, data json, thing any, flag boolean check (flag in (0, 1)));
  create table people (id text primary key, name text not null, mail text unique, phone integer, unique (name, phone));
  create table counters (n integer primary key, value integer not null default 7, label text collate nocase);
  create table seats (row_name text, number integer, taken_by text, primary key (row_name, number)) without rowid;
  create table replies (id text primary key, note_id text references notes on delete cascade, parent text references replies on delete cascade, body text);
  create table blobs (id blob primary key, content blob, title text);
`
const BOOKS = ['_sync_row', '_sync_pending', '_sync_held', '_sync_shadow', '_sync_conflict', '_sync_seen', '_sync_lost']
const NUMBERS = ['0', '-0', '1', '42', '-7', '1.0', '1e2', '0.1', '19.90', '9007199254740993', '9223372036854775807', '9223372036854775808', '1.00000000000000000001', '999999999999999', '9999999999999999']
const TEXTS = ['"Ann"', '""', '"it\'s \\"quoted\\": 1.5"', '"12"', '"1.50"', '"\\u00e4\\ud83d\\ude00"', '"a\\u0000b"', '"\\ud800"', '" 7 "']
const OTHERS = ['null', 'true', 'false', '{"b": 1.50, "a":[1,2e3]}', '[9007199254740993]', '"AAEC"', '"AA"']
const EMPTY = ['_sync_page', '_sync_stage', '_sync_parked', '_sync_touched', '_sync_echo']

t.test('random windows: written together or one by one, the rows, their versions, shadow, pending and conflicts are the same (P11 P12 P13 P17)', async t => {
  let applied = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Chance(seed)
    const server = new FakeServer()
    server.pageSize = random.pick([3, 25, 1_000])
    const quick = createDevice(t, { server, sql: SCHEMA, tables: TABLES })
    const single = createDevice(t, { server, sql: SCHEMA, tables: TABLES, wrap: lookingCloser })
    for (let window = 0; window < 4; window++) {
      for (let n = random.below(60); n >= 0; n--) write(server, random)
      for (let n = random.below(8); n > 0; n--) {
        const statement = edit(random)
        for (const { db } of [quick, single]) db.exec(statement)
      }
      const reports = [await quick.client.downloadOnce(), await single.client.downloadOnce()]
      applied += reports[0]?.applied ?? 0
      if (!t.same(reports[0], reports[1], `seed ${seed}: the report of window ${window}`)) return
      if (!t.same(contents(quick), contents(single), `seed ${seed}: the file after window ${window}`)) return
      t.same(EMPTY.flatMap(book => quick.all(`select '${book}' as book, * from ${book}`)), [])
    }
  }
  t.ok(applied > 20 * SEEDS, `${applied} rows were taken over`)
})

/** A driver that finds something noted about every row of a window. */
function lookingCloser (driver: Driver): Driver {
  return {
    exec: sql => driver.exec(sql),
    run: (sql, params) => driver.run(sql, params),
    all: (sql, params) => sql.includes('json_each(?) as k')
      ? (JSON.parse(params?.[1] as string) as string[]).map(key => ({ key, is_quiet: 0, server_version: null })) as never
      : driver.all(sql, params),
    close: () => driver.close(),
    get inTransaction () { return driver.inTransaction }
  }
}

/** Everything in the file but numbers of transactions and of records, and the time. */
function contents (device: Device): Record<string, unknown> {
  const rows = (table: string, but: readonly string[] = []): string[] => {
    const columns = device.all(`select name from pragma_table_info('${table}')`).map(({ name }) => name as string).filter(name => !but.includes(name))
    return device.all(`select ${columns.map(name => `quote(${name}) as ${name}`).join(', ')} from ${table}`).map(row => JSON.stringify(row)).sort()
  }
  return Object.fromEntries([...TABLES.map(table => [table, rows(table)]), ...BOOKS.map(book => [book, rows(book, ['id', 'stamp', 'since', 'at'])])])
}

/** A change by another device: mostly of few rows, so that they come again; now and then one that has no place here. */
function write (server: FakeServer, random: Chance): void {
  const table = random.chance(0.02) ? 'strangers' : random.pick(TABLES)
  const key = random.chance(0.03) ? random.pick(['', 'x\ufffd', '007', 'a'.repeat(1_100), '{"a":1}', id(1).toUpperCase().replace('4', 'A')]) : keyOf(table, random)
  const isGone = random.chance(0.15) || (!server.rows.has(`${table}:${key}`) && random.chance(0.05))
  server.write(table, key, isGone ? null : payloadOf(table, key, random), random.pick(['peer', 'other']))
}

function keyOf (table: string, random: Chance): string {
  const n = random.below(random.chance(0.5) ? 12 : 200)
  if (table === 'counters') return random.pick([String(n), String(-n - 1), '9007199254740993', '-9223372036854775808'])
  return table === 'seats' ? JSON.stringify([random.pick(['A', 'B"', 'Ä']), String(n)]) : id(n)
}

/** A payload as raw text: spellings count. Columns may be missing, unknown or of another type. */
function payloadOf (table: string, key: string, random: Chance): string {
  const anything = (): string => random.pick([...NUMBERS, ...TEXTS, ...OTHERS])
  const usually = (...values: string[]): string => random.chance(0.9) ? random.pick(values) : anything()
  const members: Record<string, string> = ({
    notes: { id: JSON.stringify(key), title: usually('"a"', '"b"', '"c"'), stars: usually('1', '2', '5', 'null'), price: usually('1', '2.5', '19.90'), amount: usually('"1.50"', '12', 'null'), data: usually('{"a": 1}', 'null', '"x"'), thing: usually('1', '"x"', 'null'), flag: usually('true', 'false', '1', '0') },
    people: { id: JSON.stringify(key), name: usually('"Ann"', '"Ben"', '"Cem"'), mail: usually(...Array.from({ length: 12 }, (_, i) => `"m${i}"`), 'null'), phone: usually(...Array.from({ length: 9 }, (_, i) => String(i)), 'null') },
    counters: { n: /^(?:0|-?[1-9]\d*)$/.test(key) ? key : JSON.stringify(key), value: usually('1', '2', '9007199254740993'), label: usually('"x"', 'null') },
    seats: { taken_by: usually('"Ann"', '"Ben"', 'null') },
    replies: { id: JSON.stringify(key), note_id: usually(`"${id(random.below(12))}"`, 'null'), parent: usually(`"${id(random.below(12))}"`, 'null'), body: usually('"a"', '"b"') },
    blobs: { id: JSON.stringify(key), content: usually('"AAEC"', '""', 'null'), title: usually('"a"', 'null') }
  } as Record<string, Record<string, string>>)[table] ?? { id: JSON.stringify(key) }
  if (random.chance(0.1)) delete members[random.pick(Object.keys(members))]
  if (random.chance(0.1)) members[random.pick(['extra', 'constructor', '__proto__x', 'more'])] = anything()
  return `{${Object.entries(members).map(([name, raw]) => `${JSON.stringify(name)}${random.chance(0.1) ? ' : ' : ':'}${raw}`).join(',')}}`
}

/** A statement of the app: on both devices the same, so that windows meet local work. */
function edit (random: Chance): string {
  const key = `'${id(random.below(12))}'`
  return random.pick([
    `update notes set title = 'mine', stars = ${random.below(9)} where id = ${key}`,
    `delete from notes where id = ${key}`,
    `update or ignore people set mail = 'm${random.below(12)}' where id = ${key}`,
    `delete from people where id = ${key}`,
    `insert or ignore into people values (${key}, 'Me', 'm${random.below(12)}', null)`,
    `update counters set value = value - 1 where n = ${random.below(12)}`,
    `update seats set taken_by = 'me' where number = ${random.below(12)}`,
    `delete from seats where number = ${random.below(12)}`,
    `update replies set body = 'mine' where id = ${key}`,
    `delete from blobs where id = unhex(replace(${key}, '-', ''))`
  ])
}
