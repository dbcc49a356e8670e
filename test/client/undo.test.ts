// J1, J4: decisions on record, taken back as edits of their own; and the events that tell of them.
import t, { type Test } from 'tap'
import type { ConflictRecord, HeldRow, Undone } from '../../client/index.js'
import { createDevice, id, SCHEMA, type Device, type DeviceOptions } from './device.js'
import { FakeServer } from './fake-server.js'

interface Scene { device: Device, server: FakeServer }

const BASE = { id: id(1), name: 'base', email: 'base@x' }

/** A row that is in step, then changed on both sides and merged. */
async function decide (t: Test, { mine = "update authors set name = 'mine'", theirs = { ...BASE, name: 'theirs' }, ...options }: { mine?: string, theirs?: Record<string, unknown> | null } & DeviceOptions = {}): Promise<Scene> {
  const server = new FakeServer()
  const device = createDevice(t, { server, ...options })
  device.db.exec(`insert into authors values ('${id(1)}', 'base', 'base@x')`)
  await device.client.syncOnce()
  device.db.exec(mine)
  server.write('authors', id(1), theirs)
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ id: 1, undone: null }])
  return { device, server }
}

const authors = ({ device }: Scene): unknown => device.all('select name, email from authors order by id')
const reasonOf = (undone: Undone): string => undone.undone ? 'undone' : undone.reason

t.test('a decision is taken back as a new edit, which is captured, sent and on record', async t => {
  const scene = await decide(t)
  t.strictSame(scene.device.client.undoConflict(1), { undone: true })
  t.strictSame(authors(scene), [{ name: 'mine', email: 'base@x' }])
  t.strictSame(scene.device.pending(), [`authors:${id(1)}`])
  await scene.device.client.syncOnce()
  t.match(scene.server.payload('authors', id(1)), { name: 'mine' })
  t.equal(scene.server.version('authors', id(1)), 3, 'a version of its own')
  t.match(scene.device.client.conflicts(), [{ undone: 'mine', result: { name: 'mine', email: 'base@x' }, theirs: { name: 'theirs' } }])

  t.strictSame(scene.device.client.undoConflict(1, 'before'), { undone: true }, 'and another choice is possible later')
  t.strictSame(scene.device.client.undoConflict(1, 'theirs'), { undone: true })
  await scene.device.client.syncOnce()
  t.match(scene.server.payload('authors', id(1)), { name: 'theirs' })
  t.equal(scene.server.version('authors', id(1)), 4, 'one edit, for they were made between two uploads')
  t.equal(reasonOf(scene.device.client.undoConflict(1, 'theirs')), 'nothing_to_undo')
})

t.test('only the columns that were decided are written: later edits of others stay', async t => {
  const scene = await decide(t, { mine: "update authors set name = 'mine', email = 'mine@x'" })
  scene.server.write('authors', id(1), { ...BASE, name: 'theirs', email: 'peer@x' })
  await scene.device.client.syncOnce()
  t.strictSame(scene.device.client.undoConflict(1), { undone: true })
  t.strictSame(authors(scene), [{ name: 'mine', email: 'peer@x' }])
})

t.test('an edit made since is not written over, unless that is what the app wants', async t => {
  for (const edit of ["update authors set name = 'newer'", 'delete from authors']) {
    const scene = await decide(t)
    scene.device.db.exec(edit)
    await scene.device.client.syncOnce()
    const before = authors(scene)
    t.equal(reasonOf(scene.device.client.undoConflict(1)), 'changed_since', edit)
    t.strictSame(authors(scene), before)
    t.strictSame(scene.device.pending(), [])
    t.match(scene.device.client.conflicts(), [{ undone: null }])
    t.strictSame(scene.device.client.undoConflict(1, 'mine', { overwrite: true }), { undone: true })
    t.strictSame(authors(scene), [{ name: 'mine', email: 'base@x' }], 'also where the row was gone')
    await scene.device.client.syncOnce()
    t.match(scene.server.payload('authors', id(1)), { name: 'mine' })
  }
})

t.test('a deleted row is put back, a row that was brought back is deleted (J1, J4)', async t => {
  const gone = await decide(t, { theirs: null })
  t.strictSame(authors(gone), [])
  t.strictSame(gone.device.client.undoConflict(1), { undone: true })
  await gone.device.client.syncOnce()
  t.match(gone.server.payload('authors', id(1)), { name: 'mine', email: 'base@x' })
  gone.device.db.exec("update authors set email = 'newer'")
  t.equal(reasonOf(gone.device.client.undoConflict(1, 'theirs')), 'changed_since', 'a deletion would take the newer edit with it')

  const back = await decide(t, { mine: 'delete from authors' })
  t.strictSame(authors(back), [{ name: 'theirs', email: 'base@x' }])
  t.strictSame(back.device.client.undoConflict(1), { undone: true })
  await back.device.client.syncOnce()
  t.equal(back.server.payload('authors', id(1)), null)
  t.match(back.device.client.conflicts(), [{ undone: 'mine', result: null }])
})

t.test('a parent that came back for its child can go after all, when the child does', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'base', null)`)
  await device.client.syncOnce()
  device.db.exec('delete from authors')
  server.write('posts', id(2), { id: id(2), title: 't', body: null, author_id: id(1) })
  await device.client.downloadOnce()
  t.match(device.client.conflicts(), [{ kind: 'parent-restored', rule: 'children', mine: null }])
  device.db.exec('pragma foreign_keys = on')
  t.strictSame(device.client.undoConflict(1), { undone: true })
  t.strictSame(device.all('select * from posts'), [], 'the app\'s foreign key cascades')
  await device.client.syncOnce()
  t.equal(server.payload('posts', id(2)), null, 'and that is captured')
})

t.test('what SQLite refuses is an answer, not an error', async t => {
  const scene = await decide(t, { mine: "update authors set email = 'mine@x'", theirs: { ...BASE, email: 'theirs@x' } })
  scene.device.db.exec(`insert into authors values ('${id(2)}', 'other', 'mine@x')`)
  const undone = scene.device.client.undoConflict(1)
  t.match(undone, { undone: false, reason: 'refused', message: /UNIQUE/ })
  t.strictSame(authors(scene), [{ name: 'base', email: 'theirs@x' }, { name: 'other', email: 'mine@x' }])
  t.match(scene.device.client.conflicts(), [{ undone: null }])

  const back = await decide(t, { mine: 'delete from authors', sql: SCHEMA.replace(' on delete cascade', '') })
  back.device.db.exec(`pragma foreign_keys = on; insert into posts values ('${id(3)}', 't', null, '${id(1)}')`)
  t.match(back.device.client.undoConflict(1), { undone: false, reason: 'refused', message: /FOREIGN KEY/ })
})

t.test('a record, a table or a column that is no more', async t => {
  const scene = await decide(t)
  t.equal(reasonOf(scene.device.client.undoConflict(99)), 'not_found')
  const without = scene.device.reopen()
  t.equal(reasonOf(without.client.undoConflict(1)), 'undone')
  scene.device = without
  without.db.exec('begin')
  t.throws(() => without.client.undoConflict(1, 'before'), { code: 'busy' }, 'never inside the app\'s transaction')
  without.db.exec('rollback')

  const other = await decide(t, { sql: 'create table authors (id text primary key, name text, email text); create table x (id text primary key)', tables: ['authors', 'x'] })
  other.device.db.exec('select 1; drop trigger _sync_authors_before_insert; drop trigger _sync_authors_after_insert; drop trigger _sync_authors_before_update; drop trigger _sync_authors_after_update; drop trigger _sync_authors_after_delete; alter table authors drop column name')
  const dropped = other.device.reopen()
  t.equal(reasonOf(dropped.client.undoConflict(1)), 'nothing_to_undo')
  t.equal(reasonOf(dropped.reopen({ tables: ['x'] }).client.undoConflict(1)), 'table_not_open')
})

t.test('undoing while the row waits, is on its way or held is an edit like any other', async t => {
  const scene = await decide(t)
  const { device, server } = scene
  device.db.exec("update authors set email = 'frozen'")
  server.onRequest = ({ path }, answer) => {
    if (path === '/upload') device.client.undoConflict(1)
    return answer()
  }
  await device.client.uploadOnce()
  t.strictSame(authors(scene), [{ name: 'mine', email: 'frozen' }])
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.match(server.payload('authors', id(1)), { name: 'mine', email: 'frozen' })

  const held = await decide(t)
  held.server.refuse = () => ({ reason: 'rejected' })
  held.device.db.exec("update authors set email = 'bad'")
  await held.device.client.syncOnce()
  t.equal(held.device.client.held().length, 1)
  held.server.refuse = () => null
  t.strictSame(held.device.client.undoConflict(1), { undone: true })
  await held.device.client.syncOnce()
  t.match(held.server.payload('authors', id(1)), { name: 'mine', email: 'bad' })
  t.match(held.device.client.status(), { held: 0, pending: 0 })
})

t.test('records are forgotten by id, by time, or all', async t => {
  const { device, server } = await decide(t)
  for (const name of ['b', 'c', 'd']) {
    device.db.exec(`update authors set name = 'mine, ${name}'`)
    server.write('authors', id(1), { ...BASE, name })
    await device.client.syncOnce()
  }
  const ids = (): number[] => device.client.conflicts().map(record => record.id)
  t.strictSame(ids(), [1, 2, 3, 4])
  t.equal(device.client.forgetConflicts([2, 99]), 1)
  t.equal(device.client.forgetConflicts(3), 1)
  t.strictSame(ids(), [1, 4])
  device.db.exec("update _sync_conflict set at = '2020-01-01T00:00:00.000Z' where id = 1")
  t.equal(device.client.forgetConflicts({ before: new Date('2021-01-01') }), 1)
  t.strictSame(ids(), [4])
  t.equal(device.client.forgetConflicts([]), 0)
  t.equal(device.client.forgetConflicts(), 1)
  t.strictSame(ids(), [])
  t.match(device.client.status(), { conflicts: 0, pending: 0 })
})

t.test('events tell of each decision and each held row once, after it was committed, with what conflicts() and held() show', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  const told: Array<[string, unknown]> = []
  const isCommitted: boolean[] = []
  const listen = (name: 'conflict' | 'held' | 'change') => device.client.on(name, (event: ConflictRecord | HeldRow | { tables: string[] }) => {
    told.push([name, event])
    isCommitted.push(!device.db.inTransaction)
  })
  const stops = (['conflict', 'held', 'change'] as const).map(listen)
  device.db.exec(`insert into authors values ('${id(1)}', 'base', 'base@x')`)
  await device.client.syncOnce()
  t.strictSame(told, [])
  device.db.exec(`update authors set name = 'mine'; insert into posts values ('${id(2)}', 'bad', null, null)`)
  server.write('authors', id(1), { ...BASE, name: 'theirs' })
  server.refuse = ({ table }) => table === 'posts' ? { reason: 'rejected', message: 'No.' } : null
  await device.client.syncOnce()
  t.strictSame(told, [['conflict', device.client.conflicts()[0]], ['held', device.client.held()[0]], ['change', { tables: ['authors'] }]])
  t.ok(isCommitted.every(Boolean))

  told.length = 0
  device.client.forgetConflicts()
  device.db.exec("update authors set name = 'mine, again'")
  server.write('authors', id(1), { ...BASE, name: 'theirs, again' })
  await device.client.syncOnce()
  t.strictSame(told, [['conflict', device.client.conflicts()[0]], ['change', { tables: ['authors'] }]], 'after the list was cleared too, and no held row again')

  told.length = 0
  device.client.undoConflict(device.client.conflicts()[0]?.id ?? 0)
  t.strictSame(told, [['change', { tables: ['authors'] }]], 'the client changed the row: read it again')

  told.length = 0
  for (const stop of stops) stop()
  device.client.undoConflict(device.client.conflicts()[0]?.id ?? 0, 'before')
  t.strictSame(told, [])
})
