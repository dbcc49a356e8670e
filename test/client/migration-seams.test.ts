// F7 and what it meets: migrations that drop tables and columns while changes of them are unsent, frozen, held or refused,
// or the server was restored; and migrations that nobody ended.
import t from 'tap'
import Database from 'better-sqlite3'
import { createDevice, withoutLock, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { dropNotes, dropOld, loseDownloads, loseNothing, loseReplies, loseRequests, NOTES, notesInStep, oldOnItsWay, ROWS, uploadUnheard } from './notes.js'

const FAMILY = 'create table authors (id text primary key, name text); create table posts (id text primary key, author_id text references authors, body text)'
const makeNotes = async ({ client, db }: Device): Promise<void> => { await client.migrate(() => { db.exec(NOTES) }, { tables: ['memos', 'notes'] }) }
const records = ({ client }: Device): unknown[] => client.conflicts().map(({ key, kind, columns }) => [key, kind, columns.join()])
const idle = { pending: 0, outbox: 0, shadow: 0 }

t.test('values of a dropped column that a rebuild keeps from going up are on record (F7, L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'unsent', n = 7 where id = 'a'; update notes set title = 'edited' where id = 'b'")
  await dropOld(device)
  t.match(device.client.status(), { outbox: 1, pending: 1, conflicts: 0 })
  server.restore(server.head, 'epoch-2')
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ table: 'notes', key: 'a', kind: 'dropped', rule: 'migration', columns: ['old'], mine: { id: 'a', n: 7, old: 'unsent' }, theirs: null, result: null }])
  t.equal(device.client.conflicts().length, 1)
  t.match(server.payload('notes', 'a'), { n: 7, title: 'one' }, 'the rest of the change went up')
  t.match(server.payload('notes', 'b'), { title: 'edited' })
  t.match(device.client.undoConflict(1), { undone: false, reason: 'nothing_to_undo' })
})

t.test('values of a dropped column that lose a conflict are on record; those that are applied are not (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'unsent' where id = 'a'; update notes set old = 'taken' where id = 'b'")
  await dropOld(device)
  server.write('notes', 'a', { id: 'a', title: 'theirs', n: 1, old: 'x' })
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ key: 'a', kind: 'dropped', columns: ['old'], mine: { old: 'unsent' } }])
  t.equal(device.client.conflicts().length, 1)
  t.match(server.payload('notes', 'b'), { old: 'taken' })
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
})

t.test('a batch that was on its way when its column was dropped: applied, or on record (F7, B3)', async t => {
  const { server, device } = await oldOnItsWay(t)
  t.match(device.client.conflicts(), [{ key: 'a', kind: 'dropped', columns: ['old'], mine: { old: 'newer' } }], 'the newer one has nothing to go up with')
  server.restore(server.head, 'epoch-2')
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ mine: { old: 'newer' } }, { key: 'a', columns: ['old'], mine: { old: 'on its way' } }])
})

t.test('a migration during a rebuild: unsent edits go up when it is done, values of dropped columns are on record (F7, L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'unsent' where id = 'a'; update notes set title = 'edited' where id = 'b'; insert into notes values ('d', 'four', 4, 'new')")
  server.restore(server.head, 'epoch-2')
  loseDownloads(server)
  await t.rejects(device.client.syncOnce(), { code: 'network' })
  t.equal(device.client.status().rebuild, 'history')
  await dropOld(device)
  t.match(device.client.conflicts().map(({ key, kind, columns, mine }) => ({ key, kind, columns, old: (mine as { old?: string } | null)?.old })),
    [{ key: 'a', kind: 'dropped', columns: ['old'], old: 'unsent' }, { key: 'd', kind: 'dropped', columns: ['old'], old: 'new' }])
  loseNothing(server)
  await device.client.syncOnce()
  t.match(server.payload('notes', 'b'), { title: 'edited' })
  t.match(server.payload('notes', 'd'), { title: 'four', n: 4 })
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0, rebuild: null })
})

t.test('work on a dropped table that cannot go up any more is on record and stands in nobody\'s way (F7, D13)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'lost' where id = 'a'; delete from notes where id = 'b'; insert into notes values ('d', 'refused', 4, null)")
  server.write('notes', 'a', { id: 'a', title: 'theirs', n: 1, old: 'x' })
  server.refuse = change => change.pk === 'd' ? { reason: 'rejected' } : null
  await dropNotes(device)
  t.match(device.client.status(), { outbox: 3, pending: 0 })
  await device.client.syncOnce()
  t.equal(server.payload('notes', 'b'), null, 'the deletion went up')
  t.match(device.client.conflicts(), [{ table: 'notes', key: 'a', kind: 'dropped', mine: { title: 'lost' } }, { table: 'notes', key: 'd', kind: 'dropped', mine: { title: 'refused' } }])
  const [held] = device.client.held()
  t.match(held, { table: 'notes', key: 'd', reason: 'rejected' })
  t.equal(device.client.retryHeld(), 0, 'there is nothing to send')
  await t.rejects(device.client.signOut(), { code: 'unsent_changes', unsent: 1 })
  t.equal(device.client.discardHeld(held?.id as number), true)
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
  t.same(await device.client.signOut(), { unsent: 0 })
})

t.test('work on a dropped table that a rebuild catches is on record (F7, L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'lost' where id = 'a'; delete from notes where id = 'b'")
  await dropNotes(device)
  server.restore(server.head, 'epoch-2')
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ key: 'a', kind: 'dropped', mine: { title: 'lost' } }, { key: 'b', kind: 'dropped', before: { title: 'two' }, mine: null }])
  t.match(device.client.status(), { pending: 0, outbox: 0 })
  t.same(await device.client.signOut(), { unsent: 0 })
})

t.test('a table that was dropped behind the client\'s back leaves a record of what was unsent (F7, D13)', async t => {
  const { device } = await notesInStep(t)
  device.db.exec("update notes set title = 'lost' where id = 'a'; insert into notes values ('d', 'lost too', 4, null); drop table notes; create table memos (id text primary key)")
  const again = device.reopen({ tables: ['memos'] })
  t.match(again.client.conflicts(), [{ table: 'notes', key: 'a', kind: 'dropped', before: { title: 'one' }, mine: {} }, { key: 'd', kind: 'dropped', before: null }])
  t.equal(again.client.status().pending, 0)
  t.same(await again.client.signOut(), { unsent: 0 })
})

t.test('what an earlier batch had of a row is read in the new shape after a migration (F7, B3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set n = 5 where id = 'a'")
  await uploadUnheard(t, { server, device }, loseReplies, '"n":5')
  const state = device.all('select source_id from _sync_client')[0] as { source_id: string }
  server.claimIds(state.source_id, 50) // a copy of the file goes on: this one takes a new source id
  await t.rejects(async () => {
    loseDownloads(server)
    await device.reopen().client.syncOnce()
  }, { code: 'network' })
  loseNothing(server)
  const again = device.reopen()
  t.match(again.all('select sent from _sync_pending'), [{ sent: /"n"/ }])
  await again.client.migrate(() => { again.db.exec('alter table notes rename column n to m; update notes set m = 6 where id = \'a\'') })
  t.match(again.all('select sent from _sync_pending where key = \'a\''), [{ sent: /"m"/ }])
  t.notMatch(again.all('select sent from _sync_pending where key = \'a\'')[0]?.['sent'], /"n"/)
  await again.client.syncOnce()
  t.match(server.payload('notes', 'a'), { m: 6 })
  t.match(again.client.status(), { pending: 0, outbox: 0, held: 0 })
})

t.test('a table that is dropped and made again before its last changes were judged gets what the server has (F7, P15)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'edited' where id = 'a'; delete from notes where id = 'b'")
  await dropNotes(device)
  await makeNotes(device)
  await device.client.syncOnce()
  await device.client.syncOnce()
  t.match([server.payload('notes', 'a'), server.payload('notes', 'b'), server.payload('notes', 'c')], [{ title: 'edited' }, null, { title: 'three' }])
  t.same(device.all('select id, title from notes order by id'), [{ id: 'a', title: 'edited' }, { id: 'c', title: 'three' }])
  t.same(records(device), [])
  t.match(device.client.status(), idle)
})

t.test('and where the server answers them with a conflict nothing is deleted, and the change is on record (F7, P5)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'edited' where id in ('a', 'b')")
  server.write('notes', 'a', { id: 'a', title: 'one', n: 1, old: 'x' })
  server.write('notes', 'b', { id: 'b', title: 'theirs', n: 2, old: 'y' })
  await dropNotes(device)
  await makeNotes(device)
  await device.client.syncOnce()
  await device.client.syncOnce()
  t.match([server.payload('notes', 'a'), server.payload('notes', 'b')], [{ title: 'one' }, { title: 'theirs' }])
  t.same(device.all('select id, title from notes order by id'), [{ id: 'a', title: 'one' }, { id: 'b', title: 'theirs' }, { id: 'c', title: 'three' }])
  t.same(records(device), [['a', 'dropped', 'id,title,n,old'], ['b', 'dropped', 'id,title,n,old']])
  t.match(device.client.status(), idle)
})

t.test('a migration that leaves a transaction open fails with its own error, and is ended by the next call (F7, P18)', async t => {
  const { server, device } = await notesInStep(t)
  await t.rejects(device.client.migrate(() => { device.db.exec('begin; update notes set n = 9; select * from nowhere') }), { message: /no such table: nowhere/ })
  await t.rejects(device.client.syncOnce(), { code: 'busy' })
  device.db.exec('rollback')
  await device.client.syncOnce()
  device.db.exec("update notes set title = 'later' where id = 'a'")
  t.same(device.pending(), ['notes:a'])
  await device.client.syncOnce()
  t.match(server.payload('notes', 'a'), { title: 'later', n: 1 })
})

t.test('a migration whose end meets another writer is ended by the next call, with the tables that it named (F7, P18)', async t => {
  const { server, device } = await notesInStep(t)
  const other = new Database(device.file)
  t.teardown(() => other.close())
  device.db.pragma('busy_timeout = 1')
  await t.rejects(device.client.migrate(() => {
    device.db.exec("create table memos (id text primary key); insert into memos values ('m'); update notes set n = 7 where id = 'a'")
    other.exec('begin immediate')
  }, { tables: ['notes', 'memos'] }), { code: 'busy' })
  other.exec('rollback')
  await device.client.syncOnce()
  t.match([server.payload('notes', 'a'), server.payload('memos', 'm')], [{ n: 7 }, { id: 'm' }])
  t.equal(await device.client.migrate(() => 5), 5)
})

t.test('a migration whose process died is ended by another that has the file open (D1, P18)', async t => {
  const { server, device } = await notesInStep(t, { wrap: withoutLock }) // the system takes the lock from a process that is gone
  const daemon = createDevice(t, { server, file: device.file, tables: ['notes'] })
  await daemon.client.syncOnce()
  await new Promise<void>(resolve => {
    device.client.migrate(() => {
      device.db.exec("update notes set n = 100 where id = 'a'")
      resolve()
      return new Promise<never>(() => {})
    }).catch(() => {})
  })
  await daemon.client.syncOnce()
  t.match(server.payload('notes', 'a'), { n: 100 })
  daemon.db.exec("update notes set n = 100 where id = 'b'")
  t.same(daemon.pending(), ['notes:b'])
})

t.test('a value of a dropped column that was refused and given up never goes up again (F7, P5)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'bad' where id = 'a'")
  server.refuse = change => change.payload?.includes('"bad"') === true ? { reason: 'rejected' } : null
  await dropOld(device)
  await device.client.syncOnce()
  t.same(records(device), [['a', 'dropped', 'old']])
  t.equal(device.client.discardHeld(device.client.held()[0]?.id as number), true)
  device.db.exec("update notes set title = 'later' where id = 'a'")
  await device.client.syncOnce()
  t.same(device.client.held(), [])
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'later', n: 1, old: 'x' })
})

t.test('what is on record as lost does not go up with a later edit; what was applied stays (F7)', async t => {
  const { server, device } = await oldOnItsWay(t)
  t.same(records(device), [['a', 'dropped', 'old']])
  await device.client.syncOnce()
  device.db.exec("update notes set title = 'unrelated' where id = 'a'")
  await device.client.syncOnce()
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'unrelated', n: 1, old: 'on its way' })
  t.equal(device.client.conflicts().length, 1)
})

t.test('a dropped column of a row that was edited during a rebuild keeps the server\'s value (F7, L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'unsent', title = 'edited' where id = 'a'")
  server.restore(server.head, 'epoch-2')
  loseDownloads(server)
  await t.rejects(device.client.syncOnce(), { code: 'network' })
  await dropOld(device)
  loseNothing(server)
  await device.client.syncOnce()
  t.same(records(device), [['a', 'dropped', 'old']])
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'edited', n: 1, old: 'x' })
})

t.test('undoing a record of a dropped change changes nothing, whatever is chosen (F7, P13)', async t => {
  for (const choice of ['mine', 'theirs', 'before'] as const) {
    for (const overwrite of [false, true]) {
      const { server, device } = await notesInStep(t)
      device.db.exec("update notes set old = 'unsent' where id = 'a'")
      await dropOld(device)
      server.write('notes', 'a', { id: 'a', title: 'theirs', n: 1, old: 'x' })
      await device.client.syncOnce()
      device.db.exec("update notes set title = 'newest' where id = 'a'")
      t.match(device.client.undoConflict(device.client.conflicts()[0]?.id as number, choice, { overwrite }), { undone: false, reason: 'nothing_to_undo' }, `${choice} ${overwrite}`)
      await device.client.syncOnce()
      t.match(server.payload('notes', 'a'), { title: 'newest' })
    }
  }
  const { device } = await notesInStep(t)
  device.db.exec("update notes set title = 'lost' where id = 'a'; drop table notes; create table memos (id text primary key)")
  const again = device.reopen({ tables: ['memos'] })
  again.db.exec(NOTES)
  t.match(again.reopen({ tables: ['memos', 'notes'] }).client.undoConflict(1), { undone: false, reason: 'nothing_to_undo' })
})

t.test('held rows of dropped columns and tables leave a record, and can be given up (F7, D13)', async t => {
  const { server, device } = await notesInStep(t)
  server.refuse = change => change.pk === 'd' ? { reason: 'rejected' } : null
  device.db.exec("insert into notes values ('d', 'four', 4, 'only here')")
  await device.client.syncOnce()
  await dropOld(device)
  t.match(device.client.conflicts(), [{ key: 'd', kind: 'dropped', columns: ['old'], mine: { old: 'only here' } }])
  await dropNotes(device)
  t.match(device.client.conflicts()[1], { key: 'd', kind: 'dropped', mine: { title: 'four', n: 4 } })
  t.equal(device.client.retryHeld(), 0)
  t.equal(device.client.discardHeld(device.client.held()[0]?.id as number), true)
  t.same(await device.client.signOut(), { unsent: 0 })
})

t.test('a change of a dropped table that is too large for the server leaves a record (F7, G4)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'big one' where id = 'a'")
  await dropNotes(device)
  server.verdict = () => ({ status: 'invalid', message: 'Too large.', invalid: { reason: 'batch_too_large' } })
  await device.client.syncOnce()
  t.match(device.client.conflicts(), [{ key: 'a', kind: 'dropped', mine: { title: 'big one' } }])
  t.match(device.client.held(), [{ reason: 'body_too_large' }])
  t.equal(device.client.discardHeld(device.client.held()[0]?.id as number), true)
})

t.test('what a migration froze goes up together with the parents that were not sent either (F7, J4)', async t => {
  for (const migration of ['alter table posts drop column body', 'drop table posts']) {
    const server = new FakeServer()
    const device = createDevice(t, { server, sql: FAMILY, tables: ['authors', 'posts'] })
    await device.client.syncOnce()
    // Parents and children may come in any order within a batch.
    server.refuse = change => {
      const author = change.table === 'posts' && change.payload !== null ? (JSON.parse(change.payload) as { author_id: string }).author_id : null
      const isThere = author === null || server.rows.has(`authors:${author}`) || server.uploads.at(-1)?.changes.some(other => other.table === 'authors' && other.pk === author) === true
      return isThere ? null : { reason: 'fk_missing', details: { missing: [`business.authors:${author}`] } }
    }
    device.db.exec("insert into authors values ('a', 'Ann'); insert into posts values ('p', 'a', 'long text')")
    await device.client.migrate(() => { device.db.exec(migration) }, { tables: migration.startsWith('drop') ? ['authors'] : ['authors', 'posts'] })
    device.db.exec("insert into authors values ('b', 'Bob')")
    await device.client.syncOnce()
    t.match(server.payload('posts', 'p'), { body: 'long text' }, migration)
    t.equal(server.uploads.length, 1, 'in one batch')
    t.same([device.client.held(), device.client.conflicts()], [[], []])
    t.match(device.client.status(), idle)
  }
})

t.test('a table that can be synced no more leaves held rows that can be given up (F7, D13)', async t => {
  const { server, device } = await notesInStep(t)
  server.refuse = change => change.pk === 'a' ? { reason: 'rejected' } : null
  device.db.exec("update notes set title = 'mine' where id in ('a', 'b')")
  server.write('notes', 'b', { id: 'b', title: 'theirs', n: 2, old: 'y' })
  await device.client.migrate(() => { device.db.exec('create table n2 as select * from notes; drop table notes; alter table n2 rename to notes; create table memos (id text primary key)') }, { tables: ['memos'] })
  await device.client.syncOnce()
  t.match(records(device), [['a', 'dropped'], ['b', 'dropped']])
  t.same(device.client.held().map(({ id }) => device.client.discardHeld(id)), [true])
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
  t.same(await device.client.signOut(), { unsent: 0 })
})

t.test('rows that only this device has go on record when their table is dropped (F7, L3)', async t => {
  const { device } = await notesInStep(t)
  device.db.exec("insert into _sync_lost values ('notes', 'z', '{\"id\":\"z\",\"title\":\"only here\"}')")
  await dropNotes(device)
  t.match(device.client.conflicts(), [{ key: 'z', kind: 'dropped', mine: { title: '"only here"' } }])
  t.same(await device.client.signOut(), { unsent: 0 })
})

t.test('rows that were noted and not changed are neither sent nor recorded when their table is dropped (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec('update notes set title = title')
  server.write('notes', 'a', { id: 'a', title: 'theirs', n: 1, old: 'x' })
  await dropNotes(device)
  t.match(device.client.status(), idle)
  await device.client.syncOnce()
  t.same(['a', 'b', 'c'].map(key => server.version('notes', key)), [2, 1, 1])
  t.same(records(device), [])
})

t.test('text that is none does not go up in the old shape, and is held or recorded (P17)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'v', title = cast(x'61ff62' as text) where id = 'a'")
  await dropOld(device)
  await device.client.syncOnce()
  t.same(server.payload('notes', 'a'), { id: 'a', title: 'one', n: 1, old: 'x' })
  t.match(device.client.held(), [{ key: 'a', reason: 'unrepresentable' }])
  t.same(records(device), [['a', 'dropped', 'old']])
})

t.test('a value of a dropped column that the server has from elsewhere is not on record as lost (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'same' where id = 'a'")
  await dropOld(device)
  server.write('notes', 'a', { id: 'a', title: 'one', n: 1, old: 'same' })
  await device.client.syncOnce()
  t.same(records(device), [])
})

t.test('a column that a rebuild behind the client\'s back took from a change on its way leaves a record where that is not applied (F7)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set old = 'sent' where id = 'a'")
  await uploadUnheard(t, { server, device }, loseRequests, '"sent"')
  device.db.exec('create table n2 (id text primary key, title text, n integer); insert into n2 select id, title, n from notes; drop table notes; alter table n2 rename to notes')
  server.write('notes', 'a', { id: 'a', title: 'theirs', n: 1, old: 'x' })
  const again = device.reopen()
  await again.client.syncOnce()
  t.match(again.client.conflicts(), [{ key: 'a', kind: 'dropped', columns: ['old'], mine: { old: 'sent' } }])
  t.match(server.payload('notes', 'a'), { old: 'x' })
})

t.test('a reinstalled device that migrates before its first contact goes on numbering where it was (F7, D11)', async t => {
  const server = new FakeServer()
  server.claimIds('dev', 50)
  const device = createDevice(t, { server, sql: NOTES, tables: ['notes'], deviceId: 'dev' })
  device.db.exec(ROWS)
  await dropOld(device)
  t.match(device.client.status(), { outbox: 2, pending: 1 })
  await device.client.syncOnce()
  t.match(['a', 'b', 'c'].map(key => server.payload('notes', key)), [{ old: 'x' }, { old: 'y' }, { title: 'three' }])
  t.same(server.log.map(({ source, id }) => [source, id]), [['dev', 50], ['dev', 51], ['dev', 52]])
  t.same(records(device), [])
  t.match(device.client.status(), { ...idle, deviceId: 'dev' })
})

t.test('a row that was sent unheard and deleted here is on record when its table is dropped (F7, B3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("insert into notes values ('d', 'made', 4, null)")
  loseReplies(server, 'made')
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  server.claimIds(device.client.status().deviceId, 50)
  loseDownloads(server)
  const again = device.reopen()
  await t.rejects(again.client.syncOnce(), { code: 'network' })
  again.db.exec("delete from notes where id = 'd'")
  await dropNotes(again)
  t.match(again.client.conflicts(), [{ key: 'd', kind: 'dropped', before: { title: 'made' }, mine: null }])
})

t.test('a client can be uninstalled whatever became of the app\'s tables', async t => {
  const { device } = await notesInStep(t)
  device.db.exec('drop table notes')
  t.same(await device.client.uninstall({ force: true }), { unsent: 0 })
  t.same(device.all("select name from sqlite_schema where name like '\\_sync%' escape '\\'"), [])
  const second = (await notesInStep(t)).device
  await t.rejects(second.client.migrate(() => { second.db.exec('begin') }), { code: 'busy' })
  second.db.exec('rollback')
  t.same(await second.client.uninstall(), { unsent: 0 })
})

t.test('who listens to the status of a client that another process uninstalled hears one error (D13)', async t => {
  const { server, device } = await notesInStep(t, { timeoutMs: 200 })
  const errors: unknown[] = []
  const first = new Promise(resolve => device.client.on('error', error => { errors.push((error as { code?: string }).code); resolve(error) }))
  device.client.on('status', () => {})
  const other = createDevice(t, { server, file: device.file, tables: ['notes'] })
  await other.client.uninstall()
  device.client.start()
  await first
  await device.client.stop()
  t.same(errors, ['signed_out'])
})
