import fc from 'fast-check'
import t, { type Test } from 'tap'
import { freshDb } from '../helpers/db.js'
import { createPair, type Pair, type PairedDevice } from './pair.js'
import { CITEXT, CODECS, COLUMNS, dashed, text, TYPES, type Column, type Local, type Value } from './value-columns.js'

/*
 * Generated values of every type go from one device's SQLite through the server into the business table, and to another
 * device's SQLite. SEED=<n> repeats a failure; RUNS is the number of rows, each of which is generated twice: new and edited.
 */
const SEED = Number(process.env['SEED'] ?? 1)
const RUNS = Number(process.env['RUNS'] ?? 1000)
/** Rows that go up together. */
const BATCH = 500

const q = (name: string): string => `"${name.replaceAll('"', '""')}"`
const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

type Row = Map<string, Value>

/** Every cell as its storage class and its bytes; a real as the number that it is. */
function contents ({ db }: PairedDevice, table: string, columns: string[], key = 'id'): Map<string, unknown[]> {
  const cells = columns.map(name => `typeof(${q(name)}), iif(typeof(${q(name)}) = 'real', ${q(name)}, hex(${q(name)}))`)
  return new Map(db.prepare(`select hex(${key}), ${cells.join(', ')} from ${table}`).raw().all().map(cells => {
    const [id, ...rest] = cells as [string, ...unknown[]]
    return [id, rest] as [string, unknown[]]
  }))
}

function write (db: PairedDevice['db'], table: string, id: string, row: Row): void {
  const names = [...row.keys()]
  db.prepare(`insert into ${table} (id, ${names.map(q).join(', ')}) values (?${', ?'.repeat(names.length)}) on conflict (id) do update set ${names.map(name => `${q(name)} = excluded.${q(name)}`).join(', ')}`)
    .run(id, ...[...row.values()].map(({ local }) => local))
}

/** Cells of which PostgreSQL does not hold what it reads from the test's own text, column by column. */
async function wrongCells ({ sql }: Pair, table: string, columns: Column[], expected: Map<string, Row>): Promise<unknown[]> {
  const rows = [...expected].map(([id, row]) => ({ id, ...Object.fromEntries(columns.map(({ name }, i) => [`c${i}`, row.get(name)?.pg ?? null])) }))
  const wrong: unknown[] = []
  await sql.begin(async trx => {
    await trx`set local timezone = 'UTC'`
    await trx.unsafe(`create temporary table expected on commit drop as select * from json_to_recordset($1::text::json) as e (id uuid, ${columns.map((_, i) => `c${i} text`).join(', ')})`, [JSON.stringify(rows)])
    const [{ n }] = await trx.unsafe(`select count(*)::int as n from ${table} v join expected using (id)`) as unknown as [{ n: number }]
    if (n !== expected.size) wrong.push(`${n} rows of ${expected.size}`)
    for (const [i, { name, type }] of columns.entries()) {
      // Texts of the type's own: equality of the type would call a month 30 days.
      wrong.push(...await trx.unsafe(`select e.id, '${name.replaceAll("'", "''")}' as name, v.${q(name)}::text as holds, e.c${i} as made from ${table} v join expected e using (id) where v.${q(name)}::text is distinct from e.c${i}::${type}::text collate "C" limit 3`))
    }
  })
  return wrong.map(cell => JSON.stringify(cell))
}

async function expectNothingLeft (t: Test, ...devices: PairedDevice[]): Promise<void> {
  for (const { sync } of devices) {
    const { pending, outbox, held, shadow } = sync.status()
    t.strictSame({ pending, outbox, held, shadow }, { pending: 0, outbox: 0, held: 0, shadow: 0 }, `nothing is left to do, SEED=${SEED}`)
  }
}

async function valueWorld (t: Test, client: { uploadBatchSize?: number } = {}): Promise<Pair & { columns: Column[] }> {
  const { sql } = await freshDb(t)
  const hasCitext = (await sql`select from pg_available_extensions where name = 'citext'`).length > 0
  const columns = hasCitext ? [...COLUMNS, CITEXT] : COLUMNS
  const server = columns.map(({ name, type }) => `${q(name)} ${type}`).join(', ')
  const local = columns.map(({ name, declared }) => `${q(name)} ${declared}`).join(', ')
  // Of the first table every row is read back, for PostgreSQL computes one of its columns; the first device lacks one that has a default.
  const pair = await createPair(t, {
    server: `${hasCitext ? 'create extension citext;' : ''} ${TYPES} create table computed (id uuid primary key, ${server}, filled integer not null default 7, made text generated always as ("text" || '!') stored); create table plain (id uuid primary key, ${server})`,
    localA: `create table computed (id text primary key, ${local}, made text); create table plain (id text primary key, ${local})`,
    localB: `create table computed (id text primary key, ${local}, filled integer, made text); create table plain (id text primary key, ${local})`,
    tables: [{ table: 'computed', columns: CODECS }, { table: 'plain', columns: CODECS }],
    client
  })
  return { ...pair, columns }
}

t.test('generated values of every type are bit-equal on both devices, and the business table holds exactly them, new and edited (P15, P17, H8)', { timeout: 600_000 }, async t => {
  const world = await valueWorld(t)
  const { a, b, columns } = world
  const names = columns.map(({ name }) => name)
  const rowArbitrary = fc.record(Object.fromEntries(columns.map(({ name, values }) => [name, fc.option(values, { freq: 8 })])))
  const rows = fc.sample(rowArbitrary, { seed: SEED, numRuns: RUNS }).map((record): Row => new Map(Object.entries(record).filter(([, value]) => value !== null) as Array<[string, Value]>))
  const edits = fc.sample(fc.tuple(rowArbitrary, fc.subarray(names, { minLength: 1, maxLength: 6 })), { seed: SEED + 1, numRuns: RUNS })
  t.equal(rows.length, RUNS)

  for (let first = 0; first < rows.length; first += BATCH) {
    const batch = rows.slice(first, first + BATCH)
    const expected = { computed: new Map<string, Row>(), plain: new Map<string, Row>() }
    const put = (device: PairedDevice, n: number, row: Row): void => {
      const table = n % 2 === 0 ? 'computed' : 'plain'
      write(device.db, table, idOf(n), row)
      expected[table].set(idOf(n), new Map([...expected[table].get(idOf(n)) ?? [], ...row]))
    }
    const check = async (from: PairedDevice, to: PairedDevice, what: string): Promise<void> => {
      const before = { computed: contents(from, 'computed', names), plain: contents(from, 'plain', names) }
      await from.sync.syncOnce()
      await to.sync.syncOnce()
      t.strictSame(from.sync.held().map(({ message }) => message), [], `${what}: nothing is refused, SEED=${SEED}`)
      for (const table of ['computed', 'plain'] as const) {
        t.strictSame(contents(from, table, names), before[table], `${what}: ${table} stays as its author wrote it, SEED=${SEED}`)
        t.strictSame(contents(to, table, names), before[table], `${what}: ${table} is the same on the other device, SEED=${SEED}`)
        t.strictSame(await wrongCells(world, table, columns, expected[table]), [], `${what}: ${table} in PostgreSQL, SEED=${SEED}`)
      }
      t.strictSame(contents(from, 'computed', ['made']), contents(to, 'computed', ['made']), 'what PostgreSQL computes is on both')
      await expectNothingLeft(t, from, to)
    }
    a.db.transaction(() => { batch.forEach((row, i) => { put(a, first + i, row) }) })()
    await check(a, b, `rows from ${first}`)
    b.db.transaction(() => {
      batch.forEach((_, i) => {
        const [record, chosen] = edits[first + i] as typeof edits[0]
        const row: Row = new Map()
        const cleared: string[] = []
        for (const name of chosen) {
          const value = record[name]
          if (value == null) cleared.push(name)
          else row.set(name, value)
        }
        if (row.size > 0) put(b, first + i, row)
        const table = (first + i) % 2 === 0 ? 'computed' : 'plain'
        if (cleared.length > 0) b.db.prepare(`update ${table} set ${cleared.map(name => `${q(name)} = null`).join(', ')} where id = ?`).run(idOf(first + i))
        for (const name of cleared) expected[table].get(idOf(first + i))?.delete(name)
      })
    })()
    await check(b, a, `edits from ${first}`)
    t.strictSame(b.db.prepare('select distinct filled from computed').all(), [{ filled: 7 }], 'the default reaches the device that has the column')
    t.strictSame(b.db.prepare('select count(*) as n from computed where made is not "text" || \'!\'').get(), { n: 0 })
  }
})

t.test('a value that must be refused is held under its column\'s name, alters nothing and stops no other row (P17, P18, H5, H24)', { timeout: 600_000 }, async t => {
  // The server looks for the column of the first refused values of a batch only.
  const world = await valueWorld(t, { uploadBatchSize: 30 })
  const { a, b, columns, sql } = world
  const good = fc.sample(fc.record(Object.fromEntries(columns.map(({ name, values }) => [name, values]))), { seed: SEED, numRuns: columns.length })
  const bad: Array<{ id: string, table: string, name: string, value: Local }> = []
  a.db.transaction(() => {
    for (const [i, { name, bad: values }] of columns.entries()) {
      for (const value of values) {
        for (const table of ['plain', 'computed']) {
          const id = idOf(1_000_000 + bad.length)
          const neighbour = new Map(Object.entries(good[i] as Record<string, Value>))
          // All its other values are good: the one that is not must be found among them.
          write(a.db, table, id, new Map([...neighbour, [name, { local: value, pg: '' }]]))
          write(a.db, table, idOf(bad.length), neighbour)
          bad.push({ id, table, name, value })
        }
      }
    }
  })()
  const names = columns.map(({ name }) => name)
  const before = { plain: contents(a, 'plain', names), computed: contents(a, 'computed', names) }
  await a.sync.syncOnce()
  await b.sync.syncOnce()
  const held = new Map(a.sync.held().map(({ key, reason, message }) => [key, { reason, message }]))
  for (const { id, name, value } of bad) {
    const found = held.get(id)
    t.ok(found?.message.includes(` ${name} `) === true && ['bad_payload', 'unrepresentable'].includes(found.reason), `${name}: ${String(value).slice(0, 40)}: ${found?.reason ?? 'not held'} ${found?.message ?? ''}`)
  }
  t.equal(held.size, bad.length, 'nothing else is held')
  for (const table of ['plain', 'computed'] as const) {
    t.strictSame(contents(a, table, names), before[table], 'the refused rows stay as they are')
    const ids = bad.flatMap((one, i) => one.table === table ? [idOf(i)] : []).sort()
    t.strictSame((await sql.unsafe(`select id from ${table} order by id`)).map(({ id }) => id as string), ids, 'the others are in')
    t.strictSame(b.db.prepare(`select id from ${table} order by id`).pluck().all(), ids)
    t.strictSame(contents(b, table, names), new Map([...before[table]].filter(([id]) => ids.includes(Buffer.from(id, 'hex').toString()))))
  }
  // Mended, they go up.
  a.db.transaction(() => { for (const { id, table, name } of bad) a.db.prepare(`update ${table} set ${q(name)} = null where id = ?`).run(id) })()
  await a.sync.syncOnce()
  await expectNothingLeft(t, a)
})

t.test('keys of every kind, and references by them, arrive as they are (P12, P17, K2)', async t => {
  const shape = (key: string): string => `id ${key} primary key, up ${key}`
  const refers = (table: string): string => `, foreign key (up) references ${table}`
  const KINDS: Array<{ table: string, pg: string, local: string, keys: fc.Arbitrary<Local>, show: (key: Local) => string }> = [
    { table: 'by_text', pg: 'text', local: 'text', keys: text(30).filter(key => !/^[{]?[0-9a-f-]{32,}[}]?$/i.test(key) && !key.includes('\ufffd')), show: String },
    { table: 'by_varchar', pg: 'varchar(12)', local: 'varchar(12)', keys: text(12).filter(key => !key.includes('\ufffd')), show: String },
    { table: 'by_int8', pg: 'bigint', local: 'integer', keys: fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n)), show: String },
    { table: 'by_int2', pg: 'smallint', local: 'integer', keys: fc.bigInt(-32768n, 32767n), show: String },
    { table: 'by_uuid', pg: 'uuid', local: 'text', keys: fc.uuid(), show: String },
    { table: 'by_blob', pg: 'uuid', local: 'blob', keys: fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => Buffer.from(bytes)), show: key => dashed((key as Buffer).toString('hex')) }
  ]
  const { sql, a, b } = await createPair(t, {
    server: KINDS.map(({ table, pg }) => `create table ${table} (${shape(pg)}, note text${refers(table)} deferrable initially deferred);`).join(' '),
    localA: KINDS.map(({ table, local }) => `create table ${table} (${shape(local)}, note text${refers(table)} deferrable initially deferred);`).join(' '),
    tables: KINDS.map(({ table }) => ({ table }))
  })
  const truth = new Map<string, Map<string, { up: string | null, note: string }>>()
  for (const { table, keys, show } of KINDS) {
    const unique = [...new Map(fc.sample(keys, { seed: SEED, numRuns: 120 }).map(key => [show(key), key])).values()]
    a.db.transaction(() => {
      unique.forEach((key, i) => { a.db.prepare(`insert into ${table} values (?, ?, ?)`).run(key, unique[(i * 7 + 1) % unique.length], `note ${i}`) })
    })()
    truth.set(table, new Map(unique.map((key, i) => [show(key), { up: show(unique[(i * 7 + 1) % unique.length] as Local), note: `note ${i}` }])))
  }
  const check = async (): Promise<void> => {
    for (const { table, pg } of KINDS) {
      t.strictSame(contents(b, table, ['up', 'note']), contents(a, table, ['up', 'note']), `${table} is the same on both devices, SEED=${SEED}`)
      const expected = [...truth.get(table) as Map<string, { up: string | null, note: string }>].map(([id, row]) => ({ id, ...row }))
      const wrong = await sql.unsafe(
        `select e.* from json_to_recordset($1::text::json) as e (id text, up text, note text) full join ${table} v on v.id = e.id::${pg}
         where e.id is null or v.id is null or v.id::text <> e.id or v.up is distinct from e.up::${pg} or v.note is distinct from e.note`, [JSON.stringify(expected)])
      t.strictSame([...wrong], [], `${table} in PostgreSQL, SEED=${SEED}`)
    }
    await expectNothingLeft(t, a, b)
  }
  await a.sync.syncOnce()
  await b.sync.syncOnce()
  await check()
  for (const { table } of KINDS) b.db.exec(`update ${table} set up = null, note = note || ' edited'`)
  for (const rows of truth.values()) for (const [id, { note }] of rows) rows.set(id, { up: null, note: `${note} edited` })
  await b.sync.syncOnce()
  await a.sync.syncOnce()
  await check()
  for (const { table } of KINDS) a.db.exec(`delete from ${table} where note <> 'note 0 edited'`)
  for (const rows of truth.values()) for (const [id, { note }] of rows) if (note !== 'note 0 edited') rows.delete(id)
  await a.sync.syncOnce()
  await b.sync.syncOnce()
  await check()
})
