import { concat } from '../sqlite/row-sql.js'
import { DriverError, type Driver, type DriverErrorCode, type SqlParameter } from './driver.js'
import { smallDay } from './conformance-day.js'

type Check = (driver: Driver) => void | Promise<void>

/** Cases of the conformance suite: a sentence that must hold, and how to find out. */
export const CASES: ReadonlyArray<readonly [string, Check]> = [
  ['exec runs several statements, and none where there is none', driver => {
    driver.exec("create table t (id integer primary key, v); insert into t (v) values ('a'); insert into t (v) values ('b');")
    driver.exec(' ; -- nothing')
    same(count(driver, 't'), 2)
  }],
  ['parameters are stored as what they are: text, real, NULL, blob', driver => {
    table(driver)
    for (const [value, type] of [['', 'text'], ['é \u{1F600}', 'text'], ["it's", 'text'], ['7', 'text'], [1.5, 'real'], [null, 'null'], [new Uint8Array(), 'blob'], [new Uint8Array([0, 255]), 'blob']] as const) {
      same(driver.run('insert into t (v) values (?)', [value]).changes, 1)
      same(driver.all('select typeof(v) as type from t order by id desc limit 1'), [{ type }], `typeof ${String(value)}`)
    }
  }],
  ['NULL, the empty text and the empty blob stay three different things', driver => {
    table(driver)
    driver.run('insert into t (v) values (?), (?), (?)', [null, '', new Uint8Array()])
    const [a, b, c] = driver.all<{ v: unknown }>('select v from t order by id').map(row => row.v)
    same([a, b], [null, ''])
    same(bytes(c), [])
  }],
  ['a text may contain NUL on its way in; on its way out it comes whole, or as far as the NUL', driver => {
    table(driver)
    driver.run('insert into t (v) values (?)', ['a\0b'])
    same(driver.all('select hex(v) as hex, typeof(v) as type from t'), [{ hex: '610062', type: 'text' }])
    const [found] = driver.all<{ v: unknown }>('select v from t')
    if (found?.v !== 'a') same(found?.v, 'a\0b')
  }],
  ['a text keeps its first character, also where that is a byte order mark, and each of many texts stays what it is', driver => {
    table(driver)
    const texts = ['\uFEFFmark', '\uFEFF', 'plain', '', 'é', '\u{1F600}\u{1F600}', 'Ω'.repeat(300), '"', '\uFFFF']
    driver.run(`insert into t (v) values ${texts.map(() => '(?)').join(', ')}`, texts)
    same(driver.all('select v from t order by id').map(row => row['v']), texts)
    texts.push('x'.repeat(70_000), '€'.repeat(65_536), '€'.repeat(65_537))
    for (const text of texts) same(driver.all('select ? as a, ? as b, hex(?) as hex', [text, 'b', text]), [{ a: text, b: 'b', hex: [...new TextEncoder().encode(text)].map(byte => byte.toString(16).toUpperCase().padStart(2, '0')).join('') }])
  }],
  ['integers of 64 bits travel as text, both ways, exactly', driver => {
    table(driver)
    for (const digits of ['9223372036854775807', '-9223372036854775808', '9007199254740993', '0', '-1']) {
      driver.run('insert into t (v) values (cast(? as integer))', [digits])
      same(driver.all('select typeof(v) as type, cast(v as text) as digits from t order by id desc limit 1'), [{ type: 'integer', digits }])
    }
  }],
  ['integers up to 2^53 come as numbers', driver => {
    same(driver.all('select 9007199254740991 as a, -9007199254740991 as b, 0 as c'), [{ a: 9007199254740991, b: -9007199254740991, c: 0 }])
  }],
  ['a number in a column of INTEGER affinity becomes an integer', driver => {
    driver.exec('create table n (i integer, t text)')
    driver.run('insert into n values (?, ?)', [5, '5'])
    same(driver.all('select typeof(i) as i, typeof(t) as t, i as value from n'), [{ i: 'integer', t: 'text', value: 5 }])
  }],
  ['reals keep every bit', driver => {
    table(driver)
    for (const value of [0.1, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, -0.30000000000000004, 1e21, 2 ** 63, 2 ** 53 + 2]) {
      driver.run('insert into t (v) values (cast(? as real))', [value])
      same(driver.all('select typeof(v) as type, v from t order by id desc limit 1'), [{ type: 'real', v: value }])
    }
  }],
  ['blobs come as bytes of their own', driver => {
    table(driver)
    driver.run('insert into t (v) values (?)', [new Uint8Array([1, 2, 255])])
    const [first] = driver.all<{ v: unknown }>('select v from t')
    const [second] = driver.all<{ v: unknown }>("select x'0909' as v")
    same(bytes(first?.v), [1, 2, 255])
    same(bytes(second?.v), [9, 9])
    const sub = new Uint8Array([7, 8, 9, 10]).subarray(1, 3)
    driver.run('update t set v = ?', [sub])
    same(driver.all('select hex(v) as hex from t'), [{ hex: '0809' }], 'a view on a larger buffer is only what it shows')
  }],
  ['all returns every row, in order, by column name, and an empty list for none', driver => {
    table(driver)
    same(driver.all('select * from t'), [])
    for (let i = 0; i < 500; i++) driver.run('insert into t (v) values (?)', [`row ${i}`])
    const rows = driver.all<{ id: number, v: string }>('select id, v from t order by id')
    same(rows.length, 500)
    same({ ...rows[499] }, { id: 500, v: 'row 499' })
  }],
  ['run counts the rows that it changed itself, not those of triggers', driver => {
    driver.exec("create table t (id integer primary key, v); create table log (v); create trigger noted after update on t begin insert into log values (new.v); insert into log values (new.v); end; insert into t (v) values ('a'), ('b'), ('c')")
    same(driver.run('update t set v = ? where id < ?', ['x', 3]).changes, 2)
    same(driver.run('update t set v = ? where id = ?', ['x', 99]).changes, 0)
    same(driver.run('insert into t (id, v) values (?, ?) on conflict do nothing', [1, 'y']).changes, 0)
    same(driver.run('delete from t where v = ?', ['x']).changes, 2)
  }],
  ['statements run again with other parameters; none is left over', driver => {
    table(driver)
    for (const value of ['a', null, 'c']) driver.run('insert into t (v) values (?)', [value])
    same(driver.all('select v from t order by id').map(row => row['v']), ['a', null, 'c'])
    for (const id of [3, 1]) same(driver.all('select v from t where id = ?', [id]).length, 1)
  }],
  ['more statements than a cache holds', driver => {
    table(driver)
    for (let i = 0; i < 600; i++) same(driver.all(`select ${i} as n`), [{ n: i }])
    same(driver.all('select 0 as n'), [{ n: 0 }])
  }],
  ['a statement goes on after its table was altered', driver => {
    table(driver)
    driver.run('insert into t (v) values (?)', ['a'])
    same(Object.keys(driver.all('select * from t')[0] ?? {}), ['id', 'v'])
    driver.exec("alter table t add column later text default 'x'")
    same({ ...driver.all('select * from t')[0] }, { id: 1, v: 'a', later: 'x' })
    driver.exec('drop table t; create table t (other)')
    same(driver.all('select * from t'), [])
  }],
  ['inTransaction follows begin, commit and rollback', driver => {
    table(driver)
    const seen = [driver.inTransaction]
    for (const sql of ['begin', 'commit', 'begin immediate', 'rollback', 'savepoint a', 'release a', 'begin', 'savepoint a', 'rollback to a', 'release a', 'commit']) {
      driver.exec(sql)
      seen.push(driver.inTransaction)
    }
    same(seen, [false, true, false, true, false, true, false, true, true, true, true, false])
  }],
  ['inTransaction notices a rollback that SQLite made by itself', driver => {
    driver.exec('create table u (id integer primary key on conflict rollback); insert into u values (1); begin; insert into u values (2)')
    fails(driver, 'unique', 'insert into u values (?)', [1])
    same(driver.inTransaction, false)
    same(count(driver, 'u'), 1)
  }],
  ['a rolled-back transaction leaves nothing behind, nor does a rolled-back savepoint', driver => {
    table(driver)
    driver.exec('begin immediate')
    driver.run('insert into t (v) values (?)', ['kept'])
    driver.exec('savepoint s')
    driver.run('insert into t (v) values (?)', ['gone'])
    driver.exec('rollback to s; release s')
    same(count(driver, 't'), 1)
    driver.exec('rollback')
    same(count(driver, 't'), 0)
  }],
  ['errors have their code: unique', driver => {
    driver.exec("create table u (id text primary key, v text unique, n integer not null check (n > 0)); create table w (id integer primary key); insert into u values ('a', 'x', 1); insert into w values (1)")
    fails(driver, 'unique', 'insert into u values (?, ?, ?)', ['a', 'y', 1])
    fails(driver, 'unique', 'insert into u values (?, ?, ?)', ['b', 'x', 1])
    fails(driver, 'unique', 'insert into w values (?)', [1])
  }],
  ['errors have their code: constraint', driver => {
    driver.exec("create table u (id text primary key, n integer not null check (n > 0), p text references u) strict; pragma foreign_keys = on; create trigger no before delete on u begin select raise(abort, 'no'); end; insert into u values ('a', 1, null)")
    fails(driver, 'constraint', 'insert into u values (?, ?, ?)', ['b', null, null])
    fails(driver, 'constraint', 'insert into u values (?, ?, ?)', ['b', -1, null])
    fails(driver, 'constraint', 'insert into u values (?, ?, ?)', ['b', 1, 'nobody'])
    fails(driver, 'constraint', 'insert into u values (?, ?, ?)', ['b', 'text', null])
    fails(driver, 'constraint', 'delete from u')
    fails(driver, 'constraint', "insert into u values ('b', 0, null)", 'exec')
  }],
  ['errors have their code: readonly, full', driver => {
    table(driver)
    driver.exec('pragma query_only = on')
    fails(driver, 'readonly', 'insert into t (v) values (?)', ['a'])
    driver.exec('pragma query_only = off')
    const pages = driver.all<{ page_count: number }>('pragma page_count')[0]?.page_count ?? 0
    driver.all(`pragma max_page_count = ${pages + 1}`)
    fails(driver, 'full', 'insert into t (v) values (zeroblob(?))', [1_000_000])
    same(driver.inTransaction, false)
  }],
  ['errors have their code: anything else', driver => {
    fails(driver, 'other', 'select * from nowhere')
    fails(driver, 'other', 'not sql at all')
    fails(driver, 'other', 'not sql at all', 'exec')
  }],
  ['after an error the same statement runs', driver => {
    driver.exec('create table u (id text primary key)')
    driver.run('insert into u values (?)', ['a'])
    fails(driver, 'unique', 'insert into u values (?)', ['a'])
    same(driver.run('insert into u values (?)', ['b']).changes, 1)
    driver.exec('begin; commit')
    same(count(driver, 'u'), 2)
  }],
  ['pragmas answer rows, and foreign keys can be switched between transactions', driver => {
    driver.exec("create table p (id text primary key); create table c (p text references p); pragma foreign_keys = off; insert into c values ('x')")
    same(driver.all('pragma foreign_keys'), [{ foreign_keys: 0 }])
    driver.exec('pragma foreign_keys = on')
    same(driver.all('pragma foreign_keys'), [{ foreign_keys: 1 }])
    fails(driver, 'constraint', 'insert into c values (?)', ['y'])
    driver.exec('pragma busy_timeout = 1234')
    same(driver.all<{ timeout: number }>('pragma busy_timeout')[0]?.timeout, 1234)
  }],
  ['the SQL that the client is made of: JSON, unhex, upserts, table-valued pragmas, row values, STRICT and WITHOUT ROWID', driver => {
    driver.exec('create table s (id text, n integer, primary key (id, n)) strict, without rowid')
    driver.run('insert into s values (?, ?) on conflict (id, n) do update set n = excluded.n', ['a', 1])
    same(driver.all('select json_extract(?, ?) as v, hex(unhex(?)) as h, json_quote(?) as q', ['[["t","k"]]', '$[0][1]', '00ff', 'a"b']), [{ v: 'k', h: '00FF', q: '"a\\"b"' }])
    same(driver.all('select name from pragma_table_xinfo(?) order by cid', ['s']), [{ name: 'id' }, { name: 'n' }])
    same(driver.all('select value from json_each(?) where (value, 1) in (select id, n from s)', ['["a","b"]']), [{ value: 'a' }])
    same(driver.all('select iif(1, quote(?), 0) as q', [1.5]), [{ q: '1.5' }])
  }],
  ['INSERT OR REPLACE runs delete triggers where recursive triggers are on, and only there', driver => {
    driver.exec("create table t (id integer primary key, u text unique); create table log (what); create trigger a after delete on t begin insert into log values ('delete'); end; insert into t values (1, 'x'); pragma recursive_triggers = off")
    driver.run('insert or replace into t values (?, ?)', [2, 'x'])
    same(count(driver, 'log'), 0)
    same(driver.all('select id from t'), [{ id: 2 }])
    driver.exec('pragma recursive_triggers = on')
    same(driver.run('insert or replace into t values (?, ?)', [3, 'x']).changes, 1)
    same(count(driver, 'log'), 1)
  }],
  ['a table of 1,000 columns, in one row, one statement and one expression', driver => {
    const names = Array.from({ length: 1000 }, (_, i) => `c${i}`)
    driver.exec(`create table wide (${names.map(name => `${name} text`).join(', ')})`)
    driver.run(`insert into wide values (${names.map(() => '?').join(', ')})`, names)
    same(Object.values(driver.all('select * from wide')[0] ?? {}), names)
    // As the triggers build it: a balanced tree, for a chain would be deeper than SQLite allows.
    same(driver.all(`select ${concat(names.map(name => `json_quote(quote(${name}))`))} as row from wide`), [{ row: names.map(name => `"'${name}'"`).join('') }])
  }],
  ['a transaction of 20,000 rows', driver => {
    table(driver)
    driver.exec('begin')
    for (let i = 0; i < 20_000; i++) driver.run('insert into t (v) values (?)', [`row ${i}`])
    driver.exec('commit')
    same(count(driver, 't'), 20_000)
  }],
  ['the client syncs a day on it', smallDay]
]

function table (driver: Driver): void {
  driver.exec('create table t (id integer primary key, v)')
}

function count (driver: Driver, name: string): number {
  return driver.all<{ n: number }>(`select count(*) as n from ${name}`)[0]?.n ?? -1
}

function bytes (value: unknown): number[] {
  if (!(value instanceof Uint8Array)) throw new Error(`a blob came as ${Object.prototype.toString.call(value)}`)
  return [...value]
}

/** Equal by content; plain values, arrays and objects, whatever their prototype. */
export function same (found: unknown, wanted: unknown, about = ''): void {
  const text = (value: unknown): string => JSON.stringify(value, (_, inner: unknown) => typeof inner === 'bigint' ? `${inner}n` : inner) ?? 'undefined'
  if (text(found) !== text(wanted)) throw new Error(`${about === '' ? '' : `${about}: `}found ${text(found).slice(0, 300)}, wanted ${text(wanted).slice(0, 300)}`)
}

function fails (driver: Driver, code: DriverErrorCode, sql: string, how: readonly SqlParameter[] | 'exec' = []): void {
  try {
    if (how === 'exec') driver.exec(sql)
    else if (/^(select|not)/.test(sql)) driver.all(sql, how)
    else driver.run(sql, how)
  } catch (error) {
    if (!(error instanceof DriverError)) throw new Error(`${sql} threw ${String(error)}, which is no DriverError`, { cause: error })
    same(error.code, code, sql)
    return
  }
  throw new Error(`${sql} did not fail`)
}
