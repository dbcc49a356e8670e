// Where two things meet that are each tested alone: two processes on a file, a sign-out and what is unheard, a rebuild and what
// was missed, temporary tables, triggers that refuse.
import t from 'tap'
import { createDevice, id, withoutLock } from './device.js'
import { FakeServer } from './fake-server.js'
import { loseDownloads, loseNothing, loseReplies, NOTES, notesInStep } from './notes.js'

t.test('opening a file in which another process migrates is refused, and ends nothing (D1, A19)', async t => {
  const { server, device } = await notesInStep(t)
  let goOn = (): void => {}
  const migration = device.client.migrate(async () => {
    device.db.exec("update notes set n = 100 where id = 'a'")
    await new Promise<void>(resolve => { goOn = resolve })
    device.db.exec("update notes set n = 100 where id = 'b'")
  })
  await new Promise(resolve => setImmediate(resolve))
  t.throws(() => createDevice(t, { server, file: device.file, tables: ['notes'] }), { code: 'migrating', retry: true })
  goOn()
  await migration
  t.same(device.pending(), ['notes:a', 'notes:b'])
  const other = createDevice(t, { server, file: device.file, tables: ['notes'] })
  await other.client.syncOnce()
  t.match([server.payload('notes', 'a'), server.payload('notes', 'b')], [{ n: 100 }, { n: 100 }])
})

t.test('a migration waits for another process that syncs the file, and says so where that takes too long (A19)', async t => {
  const { device } = await notesInStep(t, { timeoutMs: 50 })
  const release = device.driver.lockRun?.() as () => void
  let hasRun = false
  await t.rejects(device.client.migrate(() => { hasRun = true }), { code: 'sync_elsewhere', retry: true })
  t.equal(hasRun, false)
  release()
  t.equal(await device.client.migrate(() => 5), 5)
})

t.test('an unforced sign-out does not lose a deletion, or an edit taken back, of which the server may have the earlier form (D13, B3)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null), ('${id(2)}', 'Two', null)`)
  await device.client.syncOnce()
  device.db.exec(`insert into authors values ('${id(3)}', 'made', null); update authors set name = 'edited' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
  const sourceId = device.client.status().deviceId
  loseReplies(server, 'made')
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  server.claimIds(sourceId, 50)
  loseDownloads(server)
  const again = device.reopen()
  await t.rejects(again.client.syncOnce(), { code: 'network' })
  again.db.exec(`delete from authors where id = '${id(3)}'; update authors set name = 'One' where id = '${id(1)}'; insert into authors values ('${id(2)}', 'Two', null)`)
  await t.rejects(again.client.signOut(), { code: 'unsent_changes', unsent: 3 })
  loseNothing(server)
  await again.client.syncOnce()
  t.same([server.payload('authors', id(3)), server.payload('authors', id(1)), server.payload('authors', id(2))], [null, { id: id(1), name: 'One', email: null }, { id: id(2), name: 'Two', email: null }])
  t.same(await again.client.signOut(), { unsent: 0 })
})

t.test('a row with an empty key is a row like any other: gone after an expired cursor, and with columns that came later (F7, L1)', async t => {
  const server = new FakeServer()
  server.write('notes', '', { id: '', title: 'empty', n: 1, old: null, tag: 'theirs' })
  server.write('notes', 'k', { id: 'k', title: 'kay', n: 1, old: null, tag: 'theirs' })
  const device = createDevice(t, { server, sql: NOTES, tables: ['notes'] })
  await device.client.syncOnce()
  device.db.exec('alter table notes add column tag text')
  const again = device.reopen()
  t.same(again.all('select id, tag from notes order by id'), [{ id: '', tag: 'theirs' }, { id: 'k', tag: 'theirs' }])
  server.write('notes', '', null)
  server.write('notes', 'z', { id: 'z', title: 'zed', n: 1, old: null, tag: null })
  server.compact(server.head)
  await again.client.syncOnce()
  t.same(again.all('select id from notes order by id'), [{ id: 'k' }, { id: 'z' }])
})

t.test('the report of a sync tells of a rebuild also where the upload found it (L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec("update notes set title = 'edited' where id = 'a'")
  server.restore(1, 'epoch-2')
  const { download } = await device.client.syncOnce()
  t.match(download.rebuilt, { reason: 'history', queued: 2 })
  t.equal(download.pages > 0, true)
})

t.test('discarding a row that was made here gets past a trigger that refuses its deletion', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec("create trigger refuses before delete on authors begin select raise(abort, 'never'); end; insert into authors values ('a', 'Ann', null)")
  server.refuse = () => ({ reason: 'rejected' })
  await device.client.syncOnce()
  t.equal(device.client.discardHeld(device.client.held()[0]?.id as number), true)
  t.same(device.all('select * from authors'), [])
  t.match(device.client.status(), { held: 0, pending: 0 })
  t.equal(device.all("select count(*) as n from sqlite_schema where name = 'refuses'")[0]?.['n'], 1, 'it is there again')
})

t.test('undoing and signing out reach the app\'s tables past temporary ones of the same name', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec("insert into authors values ('a', 'Ann', null)")
  await device.client.syncOnce()
  server.write('authors', 'a', { id: 'a', name: 'theirs', email: null })
  device.db.exec("update authors set name = 'mine' where id = 'a'")
  await device.client.syncOnce()
  device.db.exec('create temp table authors (id text primary key, name text, email text)')
  t.match(device.client.undoConflict(device.client.conflicts()[0]?.id as number), { undone: true })
  t.same(device.all('select name from main.authors'), [{ name: 'mine' }])
  t.same(device.all('select * from temp.authors'), [])
  await device.client.syncOnce()
  t.match(server.payload('authors', 'a'), { name: 'mine' })
  device.db.exec("insert into temp.authors values ('t', 'temporary', null)")
  t.same(await device.client.signOut(), { unsent: 0 })
  t.same(device.all('select * from main.authors'), [])
  t.equal(device.all('select * from temp.authors').length, 1)
})

t.test('a client whose file another process uninstalled says so, once, and does nothing (D13)', async t => {
  const { server, device } = await notesInStep(t, { timeoutMs: 200 })
  const other = createDevice(t, { server, file: device.file, tables: ['notes'] })
  const errors: unknown[] = []
  device.client.on('error', error => errors.push((error as { code?: string }).code))
  await other.client.uninstall()
  for (const call of [() => device.client.status(), () => device.client.held(), () => device.client.discardHeld(1), () => device.client.retryHeld(), () => device.client.signIn({ userId: 'ann' })]) {
    t.throws(call, { code: 'signed_out', retry: false })
  }
  for (const call of ['syncOnce', 'uploadOnce', 'downloadOnce', 'rebuild', 'signOut', 'wipe', 'uninstall'] as const) {
    await t.rejects(async () => await device.client[call](), { code: 'signed_out' }, call)
  }
  t.same(device.all('select id from notes order by id'), [{ id: 'a' }, { id: 'b' }, { id: 'c' }])
  const blocked = new Promise(resolve => device.client.on('error', resolve))
  device.client.start()
  t.match(await blocked, { code: 'signed_out' })
  await device.client.stop()
  t.same(errors, ['signed_out'])
})

t.test('uninstall after another process migrated the file counts by the tables as they are', async t => {
  const { server, device } = await notesInStep(t)
  const other = createDevice(t, { server, file: device.file, tables: ['notes'] })
  await other.client.migrate(() => { other.db.exec('alter table notes add column tag text') })
  device.db.exec("update notes set tag = 'unsent' where id = 'a'")
  await t.rejects(device.client.uninstall(), { code: 'unsent_changes', unsent: 1 })
})

t.test('a file that another process began anew introduces itself before anything goes up (D13)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, wrap: withoutLock })
  device.db.exec("insert into authors values ('a', 'Ann', null)")
  await device.client.syncOnce()
  const other = createDevice(t, { server, file: device.file, wrap: withoutLock })
  await other.client.wipe()
  other.client.signIn({ userId: 'ann' })
  const bodies: Array<{ changes: unknown[], source: string | null }> = []
  server.onRequest = ({ path, body, headers }, answer) => {
    if (path === '/upload') bodies.push({ changes: (JSON.parse(body as string) as { changes: unknown[] }).changes, source: headers.get('oversync-source-id') })
    return answer()
  }
  device.db.exec("insert into authors values ('b', 'Bob', null)")
  await device.client.syncOnce()
  t.same(bodies[0]?.changes, [], 'an empty upload comes first')
  t.equal(new Set(bodies.map(({ source }) => source)).size, 1)
  t.same(device.all('select id from authors order by id'), [{ id: 'a' }, { id: 'b' }])
  t.same([...server.rows.keys()].sort(), ['authors:a', 'authors:b'])
})

t.test('verdicts over ids that were given anew while they were on their way are not used (A19, P13)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, wrap: withoutLock })
  device.db.exec("insert into authors values ('a', 'Ann', null)")
  await device.client.syncOnce()
  device.db.exec("insert into authors values ('b', 'Bob', null)")
  const other = createDevice(t, { server, file: device.file, wrap: withoutLock })
  server.onRequest = async ({ body }, answer) => {
    if (body?.includes('"pk":"b"') !== true) return answer()
    const response = answer()
    loseNothing(server)
    other.db.exec("insert into authors values ('c', 'Cid', null)")
    await other.client.rebuild() // a new source id, and ids from 1 on
    server.verdict = () => ({ status: 'invalid', message: 'Not now.', invalid: { reason: 'later' } })
    await other.client.uploadOnce()
    server.verdict = () => null
    return response
  }
  await device.client.syncOnce()
  device.client.retryHeld()
  await device.client.syncOnce()
  t.same([...server.rows.keys()].sort(), ['authors:a', 'authors:b', 'authors:c'])
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0 })
})

t.test('a resolver and undoing over a row with two pasts see values, and null where nobody knows them (L3)', async t => {
  const server = new FakeServer()
  const seen: unknown[] = []
  const device = createDevice(t, {
    server,
    tables: [{ table: 'authors', conflict: ({ base, local, server }) => { seen.push({ base, local, server }); return 'take' } }, 'posts']
  })
  server.write('authors', 'a', { id: 'a', name: 'first', email: null })
  server.write('authors', 'a', { id: 'a', name: 'second', email: 'same@x' })
  await device.client.syncOnce()
  server.restore(1, 'epoch-2')
  server.write('authors', 'a', { id: 'a', name: 'another past', email: 'same@x' }, 'a device that is not known here')
  await device.client.syncOnce()
  t.same(seen, [{ base: { id: 'a', name: null, email: 'same@x' }, local: { id: 'a', name: 'second', email: 'same@x' }, server: { id: 'a', name: 'another past', email: 'same@x' } }])
  const [record] = device.client.conflicts()
  t.match(record, { columns: ['name'], before: { id: 'a' }, mine: { name: 'second' }, theirs: { name: 'another past' } })
  t.match(device.client.undoConflict(record?.id as number, 'before'), { undone: false }, 'there is nothing to put back')
  t.same(device.all('select name from authors'), [{ name: 'another past' }])
  t.match(device.client.undoConflict(record?.id as number, 'mine'), { undone: true })
  await device.client.syncOnce()
  t.match(server.payload('authors', 'a'), { name: 'second' })
})

t.test('edits that were missed while the triggers were away are found also by a rebuild of history (P12, L3)', async t => {
  const { server, device } = await notesInStep(t)
  device.db.exec(`create table copy (id text primary key, title text, n integer, old text); insert into copy select * from notes; drop table notes; alter table copy rename to notes;
    update notes set title = 'missed' where id = 'a'; insert into notes values ('d', 'new', 4, null); delete from notes where id = 'c'`)
  const again = device.reopen()
  server.restore(server.head, 'epoch-2')
  server.write('notes', 'b', { id: 'b', title: 'theirs', n: 2, old: 'y' })
  await again.client.syncOnce()
  t.match(server.payload('notes', 'a'), { title: 'missed' })
  t.match(server.payload('notes', 'd'), { title: 'new' })
  t.equal(server.payload('notes', 'c'), null)
  t.match(again.all("select title from notes where id = 'b'"), [{ title: 'theirs' }])
  t.same(again.client.conflicts(), [])
  t.match(again.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0, rebuild: null })
})
