// F7, P12, D1: capture through the app's own migrations, those that the client is told of and those that it is not.
import t, { type Test } from 'tap'
import { createDevice, id, withoutLock, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { loseReplies, NOTES, notesInStep, uploadUnheard } from './notes.js'

const isQuiet = (t: Test, device: Device): void => {
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, JSON.stringify(device.client.held()))
  t.same(device.all('select * from _sync_migration'), [])
  t.same(device.all('select migrating, recheck, applying from _sync_client'), [{ migrating: 0, recheck: 0, applying: 0 }])
}

t.test('ADD COLUMN sends nothing, whatever its default; a value that the migration puts there is sent', async t => {
  const { server, device } = await notesInStep(t)
  await device.client.migrate(() => { device.db.exec("alter table notes add column done integer not null default (0); alter table notes add column tag text default 'none'") })
  t.same(device.pending(), [])
  await device.client.migrate(async () => { device.db.exec("alter table notes add column shout text; update notes set shout = upper(title) where id = 'a'") })
  t.same(device.pending(), ['notes:a'])
  device.db.exec("update notes set done = 1 where id = 'b'")
  await device.client.syncOnce()
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'one', n: 1, old: 'x', done: 0, tag: 'none', shout: 'ONE' })
  t.same(server.payload('notes', 'b'), { id: 'b', title: 'two', n: 2, old: 'y', done: 1, tag: 'none', shout: null })
  t.equal(server.version('notes', 'c'), 1)
  isQuiet(t, device)
})

t.test('a new column gets what the server sent meanwhile, and its default is no edit (F7)', async t => {
  const { server, device } = await notesInStep(t, { tables: [{ table: 'notes', conflict: 'clientWins' }] })
  server.write('notes', 'a', { id: 'a', title: 'one', n: 1, old: 'x', tag: 'theirs' })
  await device.client.syncOnce()
  device.db.exec("update notes set title = 'mine'")
  await device.client.migrate(() => { device.db.exec("alter table notes add column tag text not null default 'none'") })
  t.same(device.all('select id, tag from notes'), [{ id: 'a', tag: 'theirs' }, { id: 'b', tag: 'none' }, { id: 'c', tag: 'none' }])
  server.write('notes', 'b', { id: 'b', title: 'two', n: 2, old: 'y', tag: 'late' })
  await device.client.syncOnce()
  t.same(device.all('select title, tag from notes'), [{ title: 'mine', tag: 'theirs' }, { title: 'mine', tag: 'late' }, { title: 'mine', tag: 'none' }])
  isQuiet(t, device)
})

t.test('a table rebuilt in twelve steps: inserts, updates, deletions and unsent edits of before all go up, each once', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'edited' where id = 'b'; insert into notes values ('e', 'new', 5, null)")
  await device.client.migrate(() => {
    device.db.pragma('foreign_keys = off')
    device.db.exec(`begin; create table fresh (id text primary key, title text not null, n text, old text) strict, without rowid;
      insert into fresh select id, title, n, old from notes where id <> 'c'; insert into fresh values ('d', 'made', '4', null);
      update fresh set old = 'changed' where id = 'a'; drop table notes; alter table fresh rename to notes; commit`)
    device.db.pragma('foreign_keys = on')
  })
  t.same(device.pending().sort(), ['notes:a', 'notes:b', 'notes:c', 'notes:d', 'notes:e'])
  device.db.exec("update notes set title = 'after' where id = 'd'")
  await device.client.syncOnce()
  t.equal(server.payload('notes', 'c'), null)
  t.match(server.payload('notes', 'a'), { old: 'changed' })
  t.match(server.payload('notes', 'b'), { title: 'edited' })
  t.match(server.payload('notes', 'd'), { title: 'after' })
  t.equal(server.log.length, 3 + 5)
  isQuiet(t, device)
})

t.test('a column of another type alone is no change of its rows, and merges go on', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'mine' where id = 'a'")
  await device.client.migrate(() => {
    device.db.exec('create table fresh (id text primary key, title text, n text, old text); insert into fresh select * from notes; drop table notes; alter table fresh rename to notes')
  })
  t.same(device.pending(), ['notes:a'])
  server.write('notes', 'a', { id: 'a', title: 'one', n: 7, old: 'x' })
  await device.client.syncOnce()
  t.same(device.all("select title, n from notes where id = 'a'"), [{ title: 'mine', n: '7' }])
  t.same(device.client.conflicts(), [])
  isQuiet(t, device)
})

t.test('DROP COLUMN: unsent values go up in the old shape, others stay on the server (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'unsent' where id = 'a'; insert into notes values ('d', 'four', 4, 'new'); update notes set title = 'edited' where id = 'b'; delete from notes where id = 'c'")
  await device.client.migrate(() => { device.db.exec('alter table notes drop column old') })
  t.match(device.client.status(), { outbox: 2, pending: 2 })
  device.db.exec("update notes set n = 10 where id = 'a'")
  await device.client.syncOnce()
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'one', n: 10, old: 'unsent' })
  t.match(server.payload('notes', 'd'), { old: 'new' })
  t.same(server.payload('notes', 'b'), { id: 'b', title: 'edited', n: 2, old: 'y' })
  t.equal(server.payload('notes', 'c'), null)
  isQuiet(t, device)
})

t.test('RENAME COLUMN: the new name has its values, on this device and the next (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'edited' where id = 'a'")
  await device.client.migrate(() => { device.db.exec('alter table notes rename column title to headline') })
  await device.client.syncOnce()
  t.match(server.payload('notes', 'a'), { headline: 'edited' })
  t.match(server.payload('notes', 'b'), { headline: 'two' })
  const other = createDevice(t, { server, sql: 'create table notes (id text primary key, headline text, n integer, old text)', tables: ['notes'], deviceId: 'pad' })
  await other.client.syncOnce()
  t.same(other.all('select id, headline from notes order by id'), device.all('select id, headline from notes order by id'))
  isQuiet(t, device)
})

t.test('RENAME TABLE and DROP TABLE: unsent changes go up under the old name, and nothing is deleted anywhere (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'unsent' where id = 'a'; delete from notes where id = 'b'; insert into notes values ('d', 'four', 4, null)")
  await device.client.migrate(() => { device.db.exec('alter table notes rename to memos') }, { tables: ['memos'] })
  await device.client.syncOnce()
  t.match(server.payload('notes', 'a'), { title: 'unsent' })
  t.equal(server.payload('notes', 'b'), null)
  t.match(server.payload('notes', 'c'), { title: 'three' })
  t.match(server.payload('memos', 'd'), { title: 'four' })
  device.db.exec("update memos set n = 9 where id = 'd'")
  t.same(device.pending(), ['memos:d'])
  await device.client.syncOnce()
  isQuiet(t, device)
  await device.client.migrate(() => { device.db.exec(NOTES) }, { tables: ['notes', 'memos'] })
  await device.client.syncOnce()
  t.same(device.all('select id, title from notes order by id'), [{ id: 'a', title: 'unsent' }, { id: 'c', title: 'three' }, { id: 'd', title: 'four' }], 'a table that comes back gets its rows again')
  isQuiet(t, device)
})

t.test('what a migration that throws has done is noted all the same, and its error is the call\'s', async t => {
  const { device } = await notesInStep(t)
  await t.rejects(device.client.migrate(() => {
    device.db.exec("update notes set n = 100 where id = 'a'")
    throw new Error('half way')
  }), { message: 'half way' })
  t.same(device.pending(), ['notes:a'])
  device.db.exec("update notes set n = 100 where id = 'b'")
  t.same(device.pending(), ['notes:a', 'notes:b'], 'and capture goes on')
  t.equal(await device.client.migrate(() => 5), 5)
})

t.test('a migration that died in the middle is ended by the next opening (D1)', async t => {
  const { server, device } = await notesInStep(t, { wrap: withoutLock }) // the system takes the lock from a process that is gone
  await new Promise<void>(resolve => {
    device.client.migrate(() => {
      device.db.exec("update notes set n = 100 where id = 'a'; alter table notes add column tag text")
      resolve()
      return new Promise<never>(() => {}) // the process is gone
    }).catch(() => {})
  })
  t.throws(() => device.client.discardHeld(1), { code: 'migrating' }, 'another client on the file waits')
  const again = device.reopen()
  t.same(again.pending(), ['notes:a'])
  again.db.exec("update notes set n = 100 where id = 'b'")
  await again.client.syncOnce()
  t.match(server.payload('notes', 'b'), { n: 100, tag: null })
  isQuiet(t, again)
})

t.test('a second client on the file sees the new shape before it sends or applies anything', async t => {
  const { server, device } = await notesInStep(t)
  const other = createDevice(t, { server, file: device.file, tables: ['notes'] })
  await other.client.syncOnce()
  await device.client.migrate(() => { device.db.exec('alter table notes add column tag text') })
  device.db.exec("update notes set tag = 'seen' where id = 'a'")
  server.write('notes', 'b', { id: 'b', title: 'two', n: 2, old: 'y', tag: 'theirs' })
  await other.client.syncOnce()
  t.match(server.payload('notes', 'a'), { tag: 'seen' })
  t.same(device.all("select tag from notes where id = 'b'"), [{ tag: 'theirs' }])
})

t.test('after a rebuild behind the client\'s back the opening finds new and deleted rows, and the next window finds edits (P12)', async t => {
  const { server, device } = await notesInStep(t)
  await device.client.close()
  device.db.exec(`create table fresh (id text primary key, title text, n integer, old text); insert into fresh select * from notes; drop table notes; alter table fresh rename to notes;
    update notes set title = 'missed' where id = 'a'; delete from notes where id = 'b'; insert into notes values ('d', 'new', 4, null)`)
  const again = device.reopen()
  t.same(again.pending().sort(), ['notes:b', 'notes:d'])
  await again.client.syncOnce()
  t.match(server.payload('notes', 'a'), { title: 'missed' })
  t.equal(server.payload('notes', 'b'), null)
  t.match(server.payload('notes', 'd'), { title: 'new' })
  t.equal(server.version('notes', 'c'), 1)
  isQuiet(t, again)
  t.same(again.reopen().pending(), [])
})

t.test('a deletion that was missed loses against a newer edit of another device, and an edit merges with it', async t => {
  const { server, device } = await notesInStep(t)
  await device.client.close()
  for (const { name } of device.all("select name from sqlite_schema where type = 'trigger'")) device.db.exec(`drop trigger ${name as string}`)
  device.db.exec("delete from notes where id = 'b'; update notes set title = 'missed' where id = 'a'")
  server.write('notes', 'a', { id: 'a', title: 'one', n: 50, old: 'x' })
  server.write('notes', 'b', { id: 'b', title: 'theirs', n: 2, old: 'y' })
  const again = device.reopen()
  await again.client.syncOnce()
  t.same(again.all('select id, title, n from notes order by id'), [{ id: 'a', title: 'missed', n: 50 }, { id: 'b', title: 'theirs', n: 2 }, { id: 'c', title: 'three', n: 3 }])
  t.match(server.payload('notes', 'a'), { title: 'missed', n: 50 })
  isQuiet(t, again)
})

t.test('a missed edit of a column of which the server\'s row says nothing is found; a default that ADD COLUMN gave is none (P12)', async t => {
  const { server, device } = await notesInStep(t)
  await device.client.close()
  for (const { name } of device.all("select name from sqlite_schema where type = 'trigger'")) device.db.exec(`drop trigger ${name as string}`)
  device.db.exec("alter table notes add column tag text not null default 'none'; update notes set tag = 'missed' where id = 'a'")
  const again = device.reopen()
  await again.client.syncOnce()
  t.match(server.payload('notes', 'a'), { tag: 'missed' })
  t.equal(server.version('notes', 'b'), 1)
  isQuiet(t, again)
})

t.test('ADD COLUMN behind the back of an open client: nothing is missed, and the next call has the new column', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("alter table notes add column tag text; update notes set tag = 'x' where id = 'a'")
  await device.client.syncOnce()
  t.match(server.payload('notes', 'a'), { tag: 'x' })
  t.equal(server.log.length, 4)
  isQuiet(t, device)
})

t.test('keys of several columns and rows that cannot travel come through a migration', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table x (a text, n integer, v text, primary key (a, n)); create table left_out (id text primary key, v text)', tables: ['x', 'left_out'] })
  device.db.exec("insert into x values ('a', 1, 'v'), (null, 1, 'odd'), ('b', 2, 'v'); insert into left_out values ('k', 'v')")
  await device.client.syncOnce()
  const less = device.reopen({ tables: ['x'] })
  await less.client.migrate(() => { less.db.exec("alter table x rename column a to b; update x set v = 'w' where b = 'b'; update left_out set v = 'w'") })
  await less.client.syncOnce()
  t.match(server.payload('x', '["b","2"]'), { b: 'b', v: 'w' })
  t.match(less.client.held(), [{ key: 'NULL, 1' }])
  await less.reopen({ tables: ['x', 'left_out'] }).client.syncOnce()
  t.match(server.payload('left_out', 'k'), { v: 'w' }, 'a table that this version leaves out is noted too')
})

t.test('a new column that the server\'s row has had all along belongs to changes on their way too: a later edit does not empty it (F7, B3)', async t => {
  const { server, device } = await notesInStep(t)
  server.write('notes', 'a', { id: 'a', title: 'one', n: 1, old: 'x', tag: 'theirs' })
  await device.client.syncOnce()
  device.db.exec("update notes set n = 5 where id = 'a'")
  await uploadUnheard(t, { server, device }, loseReplies, '"n":5')
  device.db.exec("update notes set title = 'later' where id = 'a'")
  await device.client.migrate(() => { device.db.exec('alter table notes add column tag text') })
  t.same(device.all("select tag from notes where id = 'a'"), [{ tag: 'theirs' }])
  await device.client.uploadOnce()
  server.write('notes', 'a', { id: 'a', title: 'one', n: 5, old: 'x', tag: 'newer' }) // a peer edits that column meanwhile
  await device.client.syncOnce()
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'later', n: 5, old: 'x', tag: 'newer' })
  t.same(device.client.conflicts(), [])
  isQuiet(t, device)
})

t.test('a deletion from before a new column that does not stand brings the row back with what the server has there (F7, P13)', async t => {
  const { server, device } = await notesInStep(t)
  server.write('notes', 'a', { id: 'a', title: 'one', n: 1, old: 'x', tag: 'theirs' })
  await device.client.syncOnce()
  device.db.exec("delete from notes where id = 'a'")
  server.refuse = () => ({ reason: 'rejected', message: 'No.' })
  await device.client.syncOnce()
  await device.client.migrate(() => { device.db.exec('alter table notes add column tag text') })
  t.equal(device.client.discardHeld(device.client.held()[0]?.id ?? 0), true)
  t.same(device.all("select title, tag from notes where id = 'a'"), [{ title: 'one', tag: 'theirs' }])
  isQuiet(t, device)
})

t.test('a new column whose default is a name, which SQLite takes for a text', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, tables: ['tickets'], sql: 'create table tickets (id text primary key, title text)' })
  device.db.exec(`insert into tickets values ('${id(1)}', 'a')`)
  await device.client.syncOnce()
  device.db.exec("update tickets set title = 'b'")
  device.db.exec('alter table tickets add column status text default "open"')
  const updated = device.reopen()
  await updated.client.syncOnce()
  t.strictSame(server.payload('tickets', id(1)), { id: id(1), title: 'b', status: 'open' })
  t.match(updated.client.status(), { pending: 0, held: 0, shadow: 0 })
})
