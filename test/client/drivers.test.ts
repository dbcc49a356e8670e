// The drivers, by the suite that others may run on theirs; and proof that the suite notices what is wrong.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import Database from 'better-sqlite3'
import sqlite3InitModule from '@sqlite.org/sqlite-wasm'
import t from 'tap'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import { checkDriver, conformance, type OpenDatabase } from '../../client/drivers/conformance.js'
import { DriverError, type Driver } from '../../client/drivers/driver.js'
import { nodeSqlite, type NodeDatabase } from '../../client/drivers/node-sqlite.js'
import { errorCodeOfName, errorCodeOfNumber } from '../../client/drivers/result-codes.js'
import { createStatementCache } from '../../client/drivers/statement-cache.js'
import { sqliteWasm } from '../../client/drivers/sqlite-wasm.js'

const inMemory = (): OpenDatabase => {
  const db = new Database(':memory:')
  return { driver: betterSqlite3(db), close: () => { db.close() } }
}

t.test('better-sqlite3 does what a driver must, in memory and on a file', async t => {
  const folder = t.testdir({})
  let files = 0
  for (const { name, error } of [...await checkDriver(inMemory), ...await checkDriver(() => {
    const db = new Database(path.join(folder, `${files++}.db`))
    db.pragma('journal_mode = wal')
    return { driver: betterSqlite3(db), close: () => { db.close() } }
  })]) t.equal(error, null, name)
  t.ok(conformance.length >= 25, `${conformance.length} cases`)
})

t.test('a connection that the app switched to big integers is one all the same', async t => {
  for (const { name, error } of await checkDriver(() => {
    const db = new Database(':memory:')
    db.defaultSafeIntegers(true)
    return { driver: betterSqlite3(db), close: () => { db.close() } }
  })) t.equal(error, null, name)
})

t.test('SQLite WASM does what a driver must', async t => {
  const sqlite3 = await sqlite3InitModule()
  for (const { name, error } of await checkDriver(() => {
    const db = new sqlite3.oo1.DB(':memory:')
    const driver = sqliteWasm(sqlite3, db)
    return { driver, close: () => { driver.close(); db.close() } }
  })) t.equal(error, null, name)
})

t.test('SQLite WASM gives an app large integers as they are, and the texts of a function that a statement calls do not meddle with its own', async t => {
  const sqlite3 = await sqlite3InitModule()
  const db = new sqlite3.oo1.DB(':memory:')
  const driver = sqliteWasm(sqlite3, db)
  t.strictSame({ ...driver.all('select 9007199254740993 as a, -9223372036854775808 as b, 9007199254740991 as c, 1e300 as d')[0] }, { a: 9007199254740993n, b: -9223372036854775808n, c: 9007199254740991, d: 1e300 })
  db.createFunction('inner', (_: unknown, text: unknown) => driver.all<{ v: string }>('select ? || ? as v', [String(text), 'β'])[0]?.v ?? null)
  const texts = ['first', 'second', 'χ', 'fourth']
  t.strictSame({ ...driver.all('select ? as a, inner(?) as b, inner(?) as c, ? as d', texts)[0] }, { a: 'first', b: 'secondβ', c: 'χβ', d: 'fourth' })
  const large = 'x'.repeat(65_530)
  t.strictSame({ ...driver.all('select ? as a, inner(?) as b', ['small', large])[0] }, { a: 'small', b: `${large}β` })
  t.strictSame({ ...driver.all('select ? as a, ? as b', ['small', `${large}more`])[0] }, { a: 'small', b: `${large}more` })
  driver.close()
  t.strictSame({ ...driver.all('select ? as a', ['after'])[0] }, { a: 'after' }, 'a driver that was closed begins anew')
  for (const [sql, params] of [['select ? as a', ['a', 'b']], ['select ? as a', ['a', null]], ['select 1', [2]]] as const) t.throws(() => driver.all(sql, params), { name: 'DriverError' }, 'more parameters than places')
  driver.close()
  db.close()
})

t.test('texts for SQLite WASM stay within their room, which is given back once; one that SQLite does not take is an error', async t => {
  const sqlite3 = await sqlite3InitModule()
  const { wasm } = sqlite3
  const MARK = 0xAB
  const rooms = new Map<number, number>()
  const guarded = Object.assign(Object.create(wasm) as typeof wasm, {
    alloc (size: number) {
      const place = Number(wasm.alloc(size + 1_024))
      wasm.heap8u().fill(MARK, place + size, place + size + 1_024)
      rooms.set(place, size)
      return place
    },
    dealloc (place: number) {
      t.ok(rooms.delete(place), 'it was there to be given back')
      wasm.dealloc(place)
    }
  })
  const db = new sqlite3.oo1.DB(':memory:')
  const driver = sqliteWasm({ capi: sqlite3.capi, wasm: guarded } as unknown as typeof sqlite3, db)
  for (let round = 0; round < 2; round++) {
    for (const text of ['€'.repeat(65_535), '€'.repeat(65_536), '\uD800'.repeat(65_536), 'x'.repeat(65_536), '\u{1F600}'.repeat(32_768)]) {
      t.equal(driver.all<{ n: number }>('select length(?) + length(?) as n', [text.slice(10), text.slice(0, 10)])[0]?.n, [...text.slice(10)].length + [...text.slice(0, 10)].length)
      for (const [place, size] of rooms) t.ok(wasm.heap8u().subarray(place + size, place + size + 1_024).every(byte => byte === MARK), 'nothing behind it was written')
    }
    t.equal(rooms.size, 1)
    driver.close()
    t.equal(rooms.size, 0)
  }
  sqlite3.capi.sqlite3_limit(db.pointer as never, sqlite3.capi.SQLITE_LIMIT_LENGTH, 1_000)
  t.throws(() => driver.all('select ? as a', ['x'.repeat(1_001)]), { name: 'DriverError', cause: { resultCode: sqlite3.capi.SQLITE_TOOBIG } })
  Object.assign(guarded, { alloc () { throw new Error('There is no memory left.') } })
  driver.close()
  t.strictSame({ ...driver.all('select ? as a', ['small'])[0] }, { a: 'small' }, 'without a room each text goes by itself')
  driver.close()
  db.close()
})

t.test('a function that a statement calls may run as many others as it likes, also the same; SQLite WASM notices when it takes the ground away', async t => {
  const sqlite3 = await sqlite3InitModule()
  const db = new sqlite3.oo1.DB(':memory:')
  const driver = sqliteWasm(sqlite3, db)
  let depth = 0
  db.createFunction({
    name: 'busy',
    arity: 0,
    xFunc: () => {
      for (let i = 0; i < 400; i++) driver.all(`select ${i} as n, ? as text`, [`inner ${i}`])
      return 'done'
    }
  })
  db.createFunction({ name: 'again', arity: 1, xFunc: (_: unknown, text: unknown) => ++depth > 3 ? `${String(text)}.` : driver.all<{ v: string }>(SAME, [`${String(text)}+`])[0]?.v ?? null })
  const SAME = 'select again(?) as v from (values (1), (2))'
  t.strictSame(driver.all('select ? as a, busy() as b, ? as c from (values (1), (2))', ['outer', 'text']).map(row => ({ ...row })), [1, 2].map(() => ({ a: 'outer', b: 'done', c: 'text' })))
  t.strictSame(driver.all(SAME, ['x']).map(row => ({ ...row })), [{ v: 'x+++.' }, { v: 'x.' }])
  db.createFunction({ name: 'shut', arity: 0, xFunc: () => { driver.close(); return 1 } })
  t.throws(() => driver.all('select ? as a, shut() as b', ['outer']), { name: 'DriverError', message: /closed by a function/ })
  t.strictSame({ ...driver.all('select ? as a', ['goes on'])[0] }, { a: 'goes on' })
  driver.close()
  db.close()
})

t.test('SQLite WASM says nothing on the console about a row that collides, and the error is the driver\'s all the same', async t => {
  const sqlite3 = await sqlite3InitModule()
  const said: unknown[] = []
  const { warn } = console
  console.warn = (...args: unknown[]) => { said.push(args) }
  t.teardown(() => { console.warn = warn })
  const db = new sqlite3.oo1.DB(':memory:')
  const driver = sqliteWasm(sqlite3, db)
  driver.exec('create table u (id text primary key)')
  driver.run('insert into u values (?)', ['a'])
  t.throws(() => driver.run('insert into u values (?)', ['a']), { name: 'DriverError', code: 'unique', message: /u\.id/, cause: { resultCode: 1555 } })
  t.strictSame(said, [])
  db.close()
})

t.test('a database that the app closed is in no transaction, and every call on it is a typed error', async t => {
  const sqlite3 = await sqlite3InitModule()
  const found = process.getBuiltinModule?.('node:sqlite') as { DatabaseSync: new (file: string) => NodeDatabase } | undefined
  const [native, web] = [new Database(':memory:'), new sqlite3.oo1.DB(':memory:')]
  const node = found === undefined ? null : new found.DatabaseSync(':memory:')
  for (const [db, driver] of [[native, betterSqlite3(native)], [web, sqliteWasm(sqlite3, web)], ...(node === null ? [] : [[node, nodeSqlite(node)] as const])] as const) {
    driver.all('select 1')
    db.close()
    t.equal(driver.inTransaction, false)
    for (const call of [() => driver.exec('select 1'), () => driver.run('select 1'), () => driver.all('select 1'), () => driver.all('select 2')]) t.throws(call, { name: 'DriverError', code: 'other' })
    driver.close()
  }
})

t.test('node:sqlite does what a driver must, or says which Node it takes', async t => {
  const found = process.getBuiltinModule?.('node:sqlite') as { DatabaseSync: new (file: string) => NodeDatabase } | undefined
  if (found === undefined) {
    t.throws(() => nodeSqlite({ exec () {}, prepare: () => { throw new Error('none') }, close () {} }), { name: 'DriverError', code: 'unsupported', message: /Node 22\.16/ })
    return
  }
  for (const { name, error } of await checkDriver(() => {
    const db = new found.DatabaseSync(':memory:')
    return { driver: nodeSqlite(db), close: () => db.close() }
  })) t.equal(error, null, name)
})

t.test('the suite notices drivers that are wrong', async t => {
  type Break = (driver: Driver) => Partial<Driver>
  const wrong: Array<[string, string, Break]> = [
    ['swallows errors', 'errors have their code: unique', driver => ({ run (sql, params) { try { return driver.run(sql, params) } catch { return { changes: 0 } } } })],
    ['throws errors of another class', 'errors have their code: constraint', driver => ({ run (sql, params) { try { return driver.run(sql, params) } catch (error) { throw new Error((error as Error).message) } } })],
    ['calls every error other', 'errors have their code: readonly, full', driver => ({ run (sql, params) { try { return driver.run(sql, params) } catch (error) { throw new DriverError('other', (error as Error).message) } } })],
    ['takes constraints for unique', 'errors have their code: constraint', driver => ({ run (sql, params) { try { return driver.run(sql, params) } catch (error) { throw new DriverError('unique', (error as Error).message) } } })],
    ['counts rows of triggers', 'run counts the rows that it changed itself, not those of triggers', driver => ({
      run (sql, params) {
        const before = driver.all<{ n: number }>('select total_changes() as n')[0]?.n ?? 0
        driver.run(sql, params)
        return { changes: (driver.all<{ n: number }>('select total_changes() as n')[0]?.n ?? 0) - before }
      }
    })],
    ['reads integers as 32 bits', 'integers up to 2^53 come as numbers', driver => ({ all: ((sql: string, params: []) => driver.all(sql, params).map(row => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number.isInteger(value) ? Number(value) | 0 : value])))) as Driver['all'] })],
    ['never says that a transaction is open', 'inTransaction follows begin, commit and rollback', () => ({ inTransaction: false })],
    ['gives blobs as arrays', 'blobs come as bytes of their own', driver => ({ all: ((sql: string, params: []) => driver.all(sql, params).map(row => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? [...value] : value])))) as Driver['all'] })],
    ['cuts texts at NUL', 'a text may contain NUL on its way in; on its way out it comes whole, or as far as the NUL', driver => ({ run: (sql, params) => driver.run(sql, params?.map(value => typeof value === 'string' ? value.split('\0')[0] as string : value)) })],
    ['binds empty blobs as NULL', 'NULL, the empty text and the empty blob stay three different things', driver => ({ run: (sql, params) => driver.run(sql, params?.map(value => value instanceof Uint8Array && value.length === 0 ? null : value)) })],
    ['binds digits as numbers', 'integers of 64 bits travel as text, both ways, exactly', driver => ({ run: (sql, params) => driver.run(sql, params?.map(value => typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value)) })],
    ['runs only the first statement', 'exec runs several statements, and none where there is none', driver => ({ exec: sql => { driver.exec(sql.split(';')[0] as string) } })],
    ['returns the first 100 rows', 'all returns every row, in order, by column name, and an empty list for none', driver => ({ all: ((sql: string, params: []) => driver.all(sql, params).slice(0, 100)) as Driver['all'] })],
    ['ignores foreign keys', 'pragmas answer rows, and foreign keys can be switched between transactions', driver => ({ exec: sql => { driver.exec(sql.replace('foreign_keys = on', 'foreign_keys = off')) } })],
    ['forgets a commit', 'the client syncs a day on it', driver => ({ exec: sql => { driver.exec(sql === 'commit' ? 'rollback' : sql) } })]
  ]
  for (const [what, caught, breaks] of wrong) {
    const results = await checkDriver(() => {
      const { driver, close } = inMemory()
      const own = breaks(driver)
      const broken: Driver = {
        exec: own.exec ?? (sql => driver.exec(sql)),
        run: own.run ?? ((sql, params) => driver.run(sql, params)),
        all: own.all ?? ((sql, params) => driver.all(sql, params)),
        close: () => driver.close(),
        get inTransaction () { return own.inTransaction ?? driver.inTransaction }
      }
      return { driver: broken, ...(close === undefined ? {} : { close }) }
    })
    t.ok(results.some(({ name, error }) => name === caught && error !== null), `${what}: ${results.filter(({ error }) => error !== null).map(({ name }) => name).join('; ')}`)
  }
})

t.test('result codes by name and by number say the same', async t => {
  const { capi } = await sqlite3InitModule()
  let codes = 0
  for (let code = 1; code < 10_000; code++) {
    const name = capi.sqlite3_js_rc_str(code)
    if (name === undefined) continue
    codes++
    t.equal(errorCodeOfNumber(code), errorCodeOfName(name), name)
  }
  t.ok(codes > 80, `${codes} codes`)
})

t.test('a cache of statements drops what was not used for longest, and lets go of all at the end', async t => {
  const released: string[] = []
  const cache = createStatementCache(2, sql => sql, statement => released.push(statement))
  for (const sql of ['a', 'b', 'a', 'c', 'a', 'b']) t.equal(cache.get(sql), sql)
  t.strictSame(released, ['b', 'c'])
  cache.clear()
  t.strictSame(released, ['b', 'c', 'a', 'b'])
})

t.test('one process at a time syncs a file; the system lets go for one that is killed (A19)', async t => {
  const file = path.join(t.testdir({}), 'app.db')
  const open = (): Driver => {
    const db = new Database(file)
    t.teardown(() => db.close())
    return betterSqlite3(db)
  }
  const [one, two] = [open(), open()]
  const release = one.lockRun?.()
  t.type(release, 'function')
  t.equal(two.lockRun?.(), null, 'another connection of the same process')
  release?.()
  const child = spawn(process.execPath, ['--input-type=module', '-e', `
    import Database from 'better-sqlite3'
    const db = new Database(${JSON.stringify(`${fs.realpathSync(file)}-oversync-run`)})
    db.exec('begin exclusive')
    console.log('taken')
    setInterval(() => {}, 1000)`], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await new Promise(resolve => child.stdout.once('data', resolve))
  t.equal(two.lockRun?.(), null, 'another process')
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
  const again = two.lockRun?.()
  t.type(again, 'function', 'free again, and nothing had to be cleaned up')
  again?.()
  t.equal(betterSqlite3(new Database(':memory:')).lockRun, undefined, 'a database in memory is nobody else\'s')
  t.strictSame(fs.readdirSync(path.dirname(file)).sort(), ['app.db', 'app.db-oversync-run'])
})

t.test('where the lock cannot be made the sync goes on without', async t => {
  const file = path.join(t.testdir({ 'app.db-oversync-run': {} }), 'app.db') // a folder is in its place
  const db = new Database(file)
  t.teardown(() => db.close())
  const driver = betterSqlite3(db)
  t.type(driver.lockRun, 'function')
  t.equal(driver.lockRun?.(), undefined)
})

t.test('the lock is opened with the addon that the app opens its database with (A19)', async t => {
  const require = createRequire(import.meta.url)
  const folder = t.testdir({})
  const nativeBinding = path.join(folder, 'own.node')
  fs.copyFileSync(path.join(path.dirname(require.resolve('better-sqlite3/package.json')), 'build/Release/better_sqlite3.node'), nativeBinding)
  /** As in an app whose bundler left no addon where better-sqlite3 looks for it. */
  class Bundled extends Database {
    constructor (file: string, options: Database.Options) {
      if (options.nativeBinding === undefined) throw new Error('Could not locate the bindings file.')
      super(file, options)
    }
  }
  for (const addon of [nativeBinding, require(nativeBinding) as object]) {
    const file = path.join(folder, `${typeof addon}.db`)
    const open = (): Driver => {
      const db = new Bundled(file, { nativeBinding: addon as string })
      t.teardown(() => db.close())
      return betterSqlite3(db, { nativeBinding: addon })
    }
    const [one, two] = [open(), open()]
    const release = one.lockRun?.()
    t.equal(two.lockRun?.(), null)
    release?.()
    const again = two.lockRun?.()
    t.type(again, 'function')
    again?.()
  }
})
