// D22, J1, J4: rules that are functions of the app, and deletions by a rule of their own.
import t, { type Test } from 'tap'
import type { Answer, Conflict, DeleteRule, Resolver, RowValues } from '../../client/index.js'
import { MAX_QUESTION_PASSES, MAX_QUESTIONS } from '../../client/limits.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { mortal } from './mortal.js'

const SQL = `create table notes (
  id text primary key, title text not null check (title <> 'forbidden'), n integer, r real, day date, doc json, data blob, code text unique, any_value)`

type Asked = Conflict<string, RowValues>

/** A resolver may answer anything: the types only ask it not to. */
const answering = (answer: (conflict: Asked) => unknown): Resolver => conflict => answer(conflict) as Answer<RowValues>

interface Scene { device: Device, server: FakeServer, asked: Asked[] }

/** Row 1 is in step, then edited on both sides, `title` differently; row 2 is edited by the peer alone. */
async function collide (t: Test, answer: (conflict: Asked) => unknown, { mine = "title = 'mine'", theirs = { title: 'theirs' }, deleted }: { mine?: string, theirs?: Record<string, unknown>, deleted?: DeleteRule } = {}): Promise<Scene> {
  const server = new FakeServer()
  const asked: Asked[] = []
  const conflict = answering(question => {
    asked.push(question)
    return answer(question)
  })
  const device = createDevice(t, { server, sql: SQL, tables: [{ table: 'notes', conflict, ...(deleted === undefined ? {} : { deleted }) }] })
  device.db.exec(`insert into notes (id, title, n, r, any_value) values ('${id(1)}', 'base', 9007199254740993, 5.0, 7), ('${id(2)}', 'base', 1, 1, null)`)
  await device.client.syncOnce()
  device.db.exec(`update notes set ${mine} where id = '${id(1)}'`)
  const row = server.rows.get(`notes:${id(1)}`)?.payload?.replace(/}$/, '') ?? ''
  server.write('notes', id(1), `${row.replaceAll(/,?"(\w+)":(?:"[^"]*"|[^,}]+)/g, (member, name: string) => name in theirs ? '' : member)},${JSON.stringify(theirs).slice(1)}`)
  server.write('notes', id(2), { ...server.payload('notes', id(2)), title: 'from the peer' })
  return { device, server, asked }
}

const title = ({ device }: Scene): unknown => device.all(`select title from notes where id = '${id(1)}'`)[0]?.['title']

for (const order of ['upload first', 'download first']) {
  const settle = async ({ device }: Scene): Promise<void> => {
    if (order === 'download first') await device.client.downloadOnce()
    await device.client.syncOnce()
  }

  t.test(`${order}: a resolver sees whole rows and the columns in conflict, and its answer stands on both sides`, async t => {
    const scene = await collide(t, () => 'keep', { mine: "title = 'mine', n = 2", theirs: { title: 'theirs', r: 6.5 } })
    await settle(scene)
    t.match(scene.asked, [{ table: 'notes', key: id(1), kind: 'update-update', columns: ['title'], base: { title: 'base', n: 9007199254740993n, r: 5 }, local: { title: 'mine', n: 2, r: 5 }, server: { title: 'theirs', n: 9007199254740993n, r: 6.5 } }])
    t.strictSame(Object.keys(scene.asked[0]?.server ?? {}), ['id', 'title', 'n', 'r', 'day', 'doc', 'data', 'code', 'any_value'], 'every column')
    t.match(scene.server.payload('notes', id(1)), { title: 'mine', n: 2, r: 6.5 }, 'what one side changed stands whatever the answer')
    t.match(scene.device.client.conflicts(), [{ rule: 'resolver', kind: 'update-update', columns: ['title'], before: { title: 'base' }, mine: { title: 'mine' }, theirs: { title: 'theirs' }, result: { title: 'mine', n: 2, r: 6.5 }, undone: null, at: /^\d{4}-/ }])
    t.match(scene.device.client.status(), { pending: 0, held: 0, shadow: 0 })
  })

  t.test(`${order}: take, and a merged row`, async t => {
    const taken = await collide(t, () => 'take')
    await settle(taken)
    t.equal(title(taken), 'theirs')
    t.match(taken.server.payload('notes', id(1)), { title: 'theirs' })

    const merged = await collide(t, ({ local, server }) => ({ title: `${String(local['title'])} + ${String(server['title'])}`, n: 10n }))
    await settle(merged)
    t.match(merged.server.payload('notes', id(1)), { title: 'mine + theirs', n: 10, r: 5 })
    t.match(merged.device.client.conflicts(), [{ rule: 'resolver', columns: ['title', 'n'], result: { title: 'mine + theirs', n: 10 } }], 'the record names what the resolver set besides')
    t.match(merged.device.client.status(), { pending: 0, held: 0, shadow: 0 })
  })

  t.test(`${order}: a resolver that throws or answers nonsense holds its row and nothing else (D22)`, async t => {
    const answers: Array<[unknown, RegExp]> = [
      [undefined, /answered undefined; an answer is/], [null, /answered null/], [true, /answered true/], ['mine', /answered "mine"/], ['x'.repeat(1000), /x…"/], [1, /answered 1/], [[], /an array/],
      [() => 'keep', /a function/], [Symbol('keep'), /a symbol/], [Promise.resolve('keep'), /a promise/], [Promise.reject(new Error('later')), /a promise/], [new Map(), /an object/], [new Date(0), /an object/],
      [{ nothing: 1 }, /answered a column "nothing", which the table does not have/], [{ id: id(7) }, /another key/], [{ id: null }, /another key/],
      [{ title: undefined }, /answered undefined for column title, which SQLite does not store/], [{ title: 5 }, /answered 5 for column title, which the column would hold as another type/],
      [{ title: {} }, /an object for column title/], [{ title: new Uint8Array(2) }, /cannot travel. Column title holds a blob/], [{ title: 'nul\0' }, /column title, which the column cannot hold/], [{ title: '\ud800' }, /column title, which the column cannot hold/],
      [{ title: null }, /cannot be stored: .*NOT NULL/], [{ title: 'forbidden' }, /cannot be stored: .*CHECK/],
      [{ n: '7' }, /answered "7" for column n, which SQLite would turn into a number/], [{ n: NaN }, /NaN for column n, which cannot travel/], [{ n: 2n ** 63n }, /more than 64 bits/], [{ n: true }, /true for column n: SQLite keeps 1 and 0/],
      [{ r: 2n ** 53n + 1n }, /which a double would round/], [{ r: -Infinity }, /cannot travel/], [{ day: '20260101' }, /turn into a number/],
      [{ data: 'text' }, /Column data holds a text/], [{ data: 5 }, /another type/], [{ doc: 'no json' }, /Column doc holds a text that is not JSON/]
    ]
    for (const [answer, message] of answers) {
      const scene = await collide(t, () => answer)
      await settle(scene)
      const name = message.source
      t.match(scene.device.client.held(), [{ table: 'notes', key: id(1), reason: 'resolver_failed', message, details: { server_version: 2 }, server: { title: 'theirs', n: 9007199254740993n } }], name)
      t.strictSame(scene.device.all('select title from notes order by id'), [{ title: 'mine' }, { title: 'from the peer' }], `${name}: the edit is visible, the neighbour has its news`)
      t.match(scene.device.client.status(), { held: 1, shadow: 1, pending: 0, outbox: 0, conflicts: 0, cursor: 4 }, `${name}: the cursor moved`)
      t.match(scene.device.client.shadow(), [{ key: id(1), version: 2, reason: 'resolver' }], 'the server\'s row is not lost')
      t.equal(scene.asked.length, 1)
      await scene.device.client.syncOnce()
      t.equal(scene.asked.length, 1, `${name}: the same question is not asked for ever`)
    }
  })
}

t.test('what is thrown is in the message, whatever it is (D22)', async t => {
  for (const [thrown, message] of [[new Error('no idea'), /threw: no idea/], ['text', /threw: text/], [undefined, /threw: undefined/], [Object.create(null), /threw: something that has no message/]] as const) {
    const scene = await collide(t, () => { throw thrown })
    await scene.device.client.syncOnce()
    t.match(scene.device.client.held(), [{ reason: 'resolver_failed', message }])
  }
  const trap = await collide(t, () => ({ get title () { throw new Error('sprung') } }))
  await trap.device.client.syncOnce()
  t.match(trap.device.client.held(), [{ message: /threw: sprung/ }])
})

t.test('values that an answer repeats are taken over as they are, to the last digit', async t => {
  const scene = await collide(t, ({ server }) => ({ ...server, title: 'both' }), { mine: "title = 'mine'", theirs: { title: 'theirs', any_value: 5.5 } })
  scene.device.db.exec(`update notes set any_value = 7.0, data = x'00ff', doc = '[1]', day = '2026-01-01' where id = '${id(1)}'`)
  await scene.device.client.syncOnce()
  const row = scene.device.all(`select title, cast(n as text) as n, typeof(r) as r, hex(data) as data, doc, day from notes where id = '${id(1)}'`)
  t.strictSame(row, [{ title: 'both', n: '9007199254740993', r: 'real', data: '', doc: null, day: null }], 'a whole row in an answer replaces also what only this side had changed')
  t.strictSame(scene.device.client.conflicts()[0]?.columns.toSorted(), ['any_value', 'data', 'day', 'doc', 'title'], 'and the record says so')
})

t.test('answers with values of each kind arrive', async t => {
  const row = { n: -5, r: 3, day: '2026-02-03', doc: '{"a":[1]}', data: new Uint8Array([0, 255]), code: '007', any_value: 8, title: '' }
  const scene = await collide(t, () => row)
  await scene.device.client.syncOnce()
  t.strictSame(scene.device.client.held(), [])
  t.strictSame(scene.device.all(`select typeof(n) as n, typeof(r) as r, typeof(day) as day, hex(data) as data, code, typeof(any_value) as any_value, title from notes where id = '${id(1)}'`),
    [{ n: 'integer', r: 'real', day: 'text', data: '00FF', code: '007', any_value: 'integer', title: '' }])
  t.match(scene.server.payload('notes', id(1)), { n: -5, r: 3, day: '2026-02-03', doc: { a: [1] }, data: 'AP8=', code: '007', any_value: 8, title: '' })
})

t.test('a held conflict is tried again when the app edits the row, on retryHeld, with a newer server row, and by the next version of the app (D22)', async t => {
  let answer: unknown = 'nonsense'
  const fails = async (): Promise<Scene> => {
    answer = 'nonsense'
    const scene = await collide(t, () => answer)
    await scene.device.client.syncOnce()
    t.match(scene.device.client.held(), [{ reason: 'resolver_failed', attempts: 0 }])
    return scene
  }
  const isSettled = (scene: Scene, expected: string): void => {
    t.match(scene.device.client.status(), { held: 0, shadow: 0, pending: 0, outbox: 0 })
    t.equal(title(scene), expected)
    t.match(scene.server.payload('notes', id(1)), { title: expected })
  }

  const edited = await fails()
  answer = 'keep'
  edited.device.db.exec(`update notes set title = 'mine, again' where id = '${id(1)}'`)
  await edited.device.client.syncOnce()
  isSettled(edited, 'mine, again')
  t.match(edited.asked.at(-1), { base: { title: 'base' }, local: { title: 'mine, again' } }, 'against the base that the first edit had')

  const retried = await fails()
  t.equal(retried.device.client.retryHeld(), 1)
  t.match(retried.device.client.held(), [{ reason: 'resolver_failed' }], 'it failed again')
  answer = 'keep'
  t.equal(retried.device.client.retryHeld(retried.device.client.held()[0]?.id), 1)
  await retried.device.client.syncOnce()
  isSettled(retried, 'mine')

  const moved = await fails()
  moved.server.write('notes', id(1), { ...moved.server.payload('notes', id(1)), title: 'theirs, again' })
  await moved.device.client.syncOnce()
  t.match(moved.device.client.held(), [{ details: { server_version: 3 }, server: { title: 'theirs, again' } }])
  t.equal(moved.asked.length, 2, 'another row is another question')
  await moved.device.client.syncOnce()
  t.equal(moved.asked.length, 2)
  moved.server.write('notes', id(1), { ...moved.server.payload('notes', id(1)), title: 'mine' })
  await moved.device.client.syncOnce()
  isSettled(moved, 'mine')

  const discarded = await fails()
  t.equal(discarded.device.client.discardHeld(discarded.device.client.held()[0]?.id ?? 0), true)
  isSettled(discarded, 'theirs')

  const updated = await fails()
  const broken = updated.device.reopen()
  t.match(broken.client.held(), [{ reason: 'resolver_failed', attempts: 1 }], 'once for each opening')
  const fixed = broken.reopen({ tables: [{ table: 'notes', conflict: () => 'keep' }] })
  t.match(fixed.client.status(), { held: 0, pending: 1, shadow: 0 })
  await fixed.client.syncOnce()
  isSettled({ ...updated, device: fixed }, 'mine')

  const ruled = await fails()
  const plain = ruled.device.reopen({ tables: ['notes'] })
  isSettled({ ...ruled, device: plain }, 'theirs')
})

t.test('a resolver runs outside every transaction: what it writes is captured, and it cannot end the client\'s', async t => {
  const open: boolean[] = []
  let scene: Scene | null = null
  const made = await collide(t, () => {
    const { db } = (scene as Scene).device
    open.push(db.inTransaction)
    db.exec(`begin; insert into notes (id, title) values ('${id(3)}', 'made by the resolver') on conflict do nothing; commit`)
    return 'keep'
  })
  scene = made
  await made.device.client.downloadOnce()
  t.strictSame(open, [false])
  t.strictSame(made.device.pending(), [`notes:${id(1)}`, `notes:${id(3)}`])
  await made.device.client.syncOnce()
  t.match(made.server.payload('notes', id(3)), { title: 'made by the resolver' })
  t.strictSame(made.device.all('select applying from _sync_client'), [{ applying: 0 }])
})

t.test('a resolver that leaves a transaction open fails the call, as the app\'s own open transaction does; the next call goes on', async t => {
  let scene: Scene | null = null
  const made = await collide(t, () => {
    (scene as Scene).device.db.exec('begin')
    return 'keep'
  })
  scene = made
  await t.rejects(made.device.client.downloadOnce(), { code: 'busy' })
  t.match(made.device.client.status(), { cursor: 2, held: 0, shadow: 0 }, 'nothing of the window is there')
  made.device.db.exec('rollback')
  const fixed = made.device.reopen({ tables: [{ table: 'notes', conflict: () => 'keep' }] })
  await fixed.client.syncOnce()
  t.match(made.server.payload('notes', id(1)), { title: 'mine' })
})

t.test('a resolver that edits the very row each time it is asked is given up on, and loses nothing (D22, D23)', async t => {
  let scene: Scene | null = null
  let edits = 0
  const made = await collide(t, () => {
    (scene as Scene).device.db.exec(`update notes set title = 'edit ${++edits}' where id = '${id(1)}'`)
    return 'keep'
  })
  scene = made
  await made.device.client.downloadOnce()
  t.equal(edits, MAX_QUESTION_PASSES)
  t.match(made.device.client.held(), [{ reason: 'resolver_failed', message: /kept changing/ }])
  t.equal(title(made), `edit ${MAX_QUESTION_PASSES}`)
})

t.test('what a resolver does to the rows that it is shown changes nothing', async t => {
  const scene = await collide(t, conflict => {
    conflict.local['title'] = conflict.server['title'] = 'spoilt'
    conflict.columns.length = 0
    return 'keep'
  })
  await scene.device.client.syncOnce()
  t.match(scene.device.client.conflicts(), [{ columns: ['title'], mine: { title: 'mine' }, theirs: { title: 'theirs' }, result: { title: 'mine' } }])
})

t.test('an answer that needs a unique value of another row waits for it', async t => {
  const scene = await collide(t, () => ({ code: 'taken' }))
  scene.device.db.exec(`update notes set code = 'taken' where id = '${id(2)}'`)
  await scene.device.client.downloadOnce()
  t.match(scene.device.client.held(), [{ key: id(1), reason: 'server_row_blocked' }])
  scene.device.db.exec(`update notes set code = null where id = '${id(2)}'`)
  await scene.device.client.syncOnce()
  t.match(scene.server.payload('notes', id(1)), { code: 'taken', title: 'theirs' })
  t.match(scene.device.client.status(), { held: 0, pending: 0, shadow: 0 })
})

t.test('rows that both sides made under one key go to the resolver without a base', async t => {
  const server = new FakeServer()
  const asked: Asked[] = []
  const device = createDevice(t, { server, sql: SQL, tables: [{ table: 'notes', conflict: answering(conflict => { asked.push(conflict); return { title: 'both' } }) }] })
  server.write('notes', id(1), { id: id(1), title: 'theirs' })
  device.db.exec(`insert into notes (id, title) values ('${id(1)}', 'mine')`)
  await device.client.syncOnce()
  t.match(asked, [{ kind: 'insert-insert', base: null, columns: ['title'], server: { title: 'theirs', n: null } }])
  t.match(server.payload('notes', id(1)), { title: 'both' })
  t.match(device.client.conflicts(), [{ kind: 'insert-insert', before: null }])
})

t.test('more conflicts than are asked about at once are all asked about, and nothing is asked twice', async t => {
  const server = new FakeServer()
  let asked = 0
  const device = createDevice(t, { server, sql: 'create table notes (id text primary key, title text)', tables: [{ table: 'notes', conflict: () => { asked++; return 'keep' } }] })
  const rows = 2 * MAX_QUESTIONS + 1
  for (let n = 1; n <= rows; n++) server.write('notes', id(n), { id: id(n), title: 'base' })
  await device.client.downloadOnce()
  device.db.exec("update notes set title = 'mine'")
  for (let n = 1; n <= rows; n++) server.write('notes', id(n), { id: id(n), title: 'theirs' })
  t.match(await device.client.downloadOnce(), { conflicts: rows, applied: rows, shadowed: 0, received: rows })
  t.equal(asked, rows)
  t.match(device.client.status(), { pending: rows, held: 0, shadow: 0, conflicts: rows })
})

t.test('a failure between two of those transactions loses nothing: the next opening goes on', async t => {
  const server = new FakeServer()
  let dies = false
  const device = createDevice(t, {
    server,
    sql: 'create table notes (id text primary key, title text)',
    tables: [{ table: 'notes', conflict: () => 'keep' }],
    wrap: driver => ({ ...driver, get inTransaction () { return driver.inTransaction }, all: (sql, params) => { if (dies && sql.includes("'undecided'")) throw new Error('dead'); return driver.all(sql, params) } })
  })
  for (let n = 1; n <= MAX_QUESTIONS + 5; n++) server.write('notes', id(n), { id: id(n), title: 'base' })
  await device.client.downloadOnce()
  device.db.exec("update notes set title = 'mine'")
  for (let n = 1; n <= MAX_QUESTIONS + 5; n++) server.write('notes', id(n), { id: id(n), title: 'theirs' })
  dies = true
  await t.rejects(device.client.downloadOnce(), /dead/)
  t.match(device.client.status(), { shadow: 5, held: 0, pending: MAX_QUESTIONS + 5 })
  dies = false
  const again = device.reopen()
  t.match(again.client.status(), { shadow: 0, held: 0, pending: MAX_QUESTIONS + 5, conflicts: MAX_QUESTIONS + 5 })
})

t.test('an edit against a deletion goes by its own rule, in either direction (J1, J4)', async t => {
  const outcomes: Array<[DeleteRule | undefined, string | null, string | null]> = [
    [undefined, null, 'theirs'], ['serverWins', null, 'theirs'], ['clientWins', 'mine', null], ['editWins', 'mine', 'theirs'], ['deleteWins', null, null]
  ]
  for (const [deleted, edited, removed] of outcomes) {
    for (const [mine, theirs, expected, kind] of [["update notes set title = 'mine'", null, edited, 'update-delete'], ['delete from notes', { id: id(1), title: 'theirs' }, removed, 'delete-update']] as const) {
      const server = new FakeServer()
      const conflict = answering(() => t.fail('the resolver is not asked about deletions'))
      const device = createDevice(t, { server, sql: SQL, tables: [{ table: 'notes', conflict, ...(deleted === undefined ? {} : { deleted }) }] })
      device.db.exec(`insert into notes (id, title) values ('${id(1)}', 'base')`)
      await device.client.syncOnce()
      device.db.exec(mine)
      server.write('notes', id(1), theirs)
      await device.client.syncOnce()
      const name = `${deleted ?? 'by default'}, ${kind}`
      t.strictSame(device.all('select title from notes'), expected === null ? [] : [{ title: expected }], name)
      t.equal(server.payload('notes', id(1))?.['title'] ?? null, expected, name)
      t.match(device.client.conflicts(), [{ kind, rule: deleted ?? 'serverWins' }], name)
      t.match(device.client.status(), { pending: 0, held: 0, shadow: 0 }, name)
    }
  }
})

t.test('rules that are none are refused at opening, by name', async t => {
  for (const [option, message] of [[{ conflict: 'editWins' }, /conflict of table notes/], [{ conflict: null }, /conflict of table notes/], [{ deleted: 'keep' }, /deleted of table notes must be one of serverWins, clientWins, editWins, deleteWins/], [{ delete: 'editWins' }, /delete of table notes is not known/]] as const) {
    t.throws(() => createDevice(t, { sql: SQL, tables: [{ table: 'notes', ...option } as unknown as string] }), { code: 'invalid_option', message })
  }
})

t.test('a day with a resolver that merges one row and fails over another ends the same wherever the process dies, or SQLite fails once (D22)', async t => {
  const tables = [{ table: 'notes', conflict: answering(({ key }) => { if (key === id(2)) throw new Error('never'); return { title: 'both' } }) }]
  const begin = async (): Promise<{ server: FakeServer, device: Device }> => {
    const server = new FakeServer()
    const device = createDevice(t, { server, sql: 'create table notes (id text primary key, title text, n integer)', tables })
    device.db.exec(`insert into notes values ('${id(1)}', 'base', 1), ('${id(2)}', 'base', 1), ('${id(3)}', 'base', 1)`)
    await device.client.syncOnce()
    device.db.exec("update notes set title = 'mine'")
    for (const n of [1, 2]) server.write('notes', id(n), { id: id(n), title: 'theirs', n: 1 })
    server.write('notes', id(4), { id: id(4), title: 'new', n: 1 })
    return { server, device }
  }
  const picture = (server: FakeServer, device: Device): unknown => ({
    rows: device.all('select * from notes order by id'),
    held: device.client.held().map(({ key, reason, message }) => [key, reason, message]),
    conflicts: device.client.conflicts().map(({ key, rule, result }) => [key, rule, result]),
    shadow: device.client.shadow().map(({ key, version, reason }) => [key, version, reason]),
    server: [...server.rows].map(([key, { payload }]) => [key, payload]).sort(),
    left: device.client.status().pending + device.client.status().outbox
  })
  const clean = await begin()
  await clean.device.client.syncOnce()
  const expected = picture(clean.server, clean.device)
  t.match(expected, { held: [[id(2), 'resolver_failed', /never/]], conflicts: [[id(1), 'resolver', { title: 'both' }]], shadow: [[id(2), 2, 'resolver']], left: 0 })

  for (const lives of [false, true]) {
    let failures = 0
    for (let n = 1; ; n++) {
      const { server, device } = await begin()
      const clock = { left: Infinity }
      const tick = <Result>(fn: () => Result): Result => {
        if (--clock.left === 0) throw new Error('failed at a statement')
        return fn()
      }
      const doomed = device.reopen({
        wrap: driver => !lives ? mortal(driver, clock) : ({ exec: sql => tick(() => driver.exec(sql)), run: (sql, params) => tick(() => driver.run(sql, params)), all: (sql, params) => tick(() => driver.all(sql, params)), close: () => driver.close(), get inTransaction () { return driver.inTransaction } })
      })
      clock.left = n
      const failed = await doomed.client.syncOnce().then(() => false, () => true)
      if (!failed && clock.left > 0) break
      failures++
      clock.left = Infinity
      const next = lives ? doomed : doomed.reopen({ wrap: driver => driver })
      if (next.db.pragma('foreign_keys', { simple: true }) !== 1) return t.fail(`foreign keys are off after a failure at call ${n}`)
      await next.client.syncOnce()
      if (!t.strictSame(picture(server, next), expected, `after a failure at call ${n}`)) return
      next.db.close()
    }
    t.ok(failures > (lives ? 150 : 70), `${failures} failures`)
  }
})
