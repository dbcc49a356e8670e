import fs from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import type { Driver } from '../../client/index.js'
import { createDevice, id, type Device, type DeviceOptions } from './device.js'
import { FakeServer } from './fake-server.js'
import { Crash, mortal } from './mortal.js'

const author = (n: number, name = `Author ${n}`): string => `insert into authors values ('${id(n)}', '${name}', null);`
const OWN_TABLES = ['_sync_row', '_sync_pending', '_sync_outbox', '_sync_held', '_sync_shadow', '_sync_lost', '_sync_seen', '_sync_conflict', '_sync_page', '_sync_stage']
const counts = (device: Device): Record<string, unknown> => Object.fromEntries([...OWN_TABLES, 'authors', 'posts'].map(table => [table, device.all(`select count(*) as n from ${table}`)[0]?.['n']]))
const EMPTY = Object.fromEntries([...OWN_TABLES, 'authors', 'posts'].map(table => [table, 0]))

/** A device of nobody yet. */
function unclaimed (t: Test, options: DeviceOptions = {}): Device {
  return createDevice(t, { ...options, userId: null })
}

t.test('before sign-in changes are noted and nothing is sent; signing in sends them', async t => {
  const server = new FakeServer()
  let requests = 0
  server.onRequest = (_, answer) => { requests++; return answer() }
  const device = unclaimed(t, { server })
  device.db.exec(author(1))
  t.match(device.client.status(), { userId: null, scope: null, pending: 1, epoch: null })
  for (const call of ['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate', 'rebuild'] as const) {
    await t.rejects(async () => device.client[call](), { code: 'signed_out', retry: false }, call)
  }
  t.equal(requests, 0)
  device.client.signIn({ userId: 'ann' })
  await device.client.syncOnce()
  t.equal(server.log.length, 1)
  t.match(device.reopen({ userId: null }).client.status(), { userId: 'ann', pending: 0 }, 'the file remembers, without the option too')
})

t.test('a file keeps its user and scope until it is signed out (D13)', async t => {
  const device = unclaimed(t)
  device.client.signIn({ userId: 'ann', scope: 'team' })
  device.client.signIn({ userId: 'ann', scope: 'team' })
  t.throws(() => device.client.signIn({ userId: 'bob', scope: 'team' }), { code: 'wrong_user' })
  t.throws(() => device.client.signIn({ userId: 'ann' }), { code: 'wrong_scope' })
  t.throws(() => device.client.signIn({ userId: '' }), { code: 'invalid_option' })
  t.throws(() => device.reopen({ userId: 'ann', scope: 'other' }), { code: 'wrong_scope' })
  t.throws(() => createDevice(t, { file: device.file, userId: 'bob' }), { code: 'wrong_user' })
  const again = createDevice(t, { file: device.file, userId: 'ann', scope: 'team' })
  t.match(again.client.status(), { userId: 'ann', scope: 'team' })
  await again.client.signOut()
  again.client.signIn({ userId: 'ann' })
  t.match(again.client.status(), { userId: 'ann', scope: null })
})

t.test('signing out is refused with the number of unsent changes, and forced takes everything (D13)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2) + author(3) + author(4))
  server.refuse = change => change.pk === id(4) ? { reason: 'rejected' } : null
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'unsent' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
  device.db.exec(`update authors set name = 'and back' where id = '${id(3)}'; update authors set name = 'Author 3' where id = '${id(3)}';` + author(5) + `delete from authors where id = '${id(5)}'`)
  await t.rejects(device.client.signOut(), { code: 'unsent_changes', unsent: 3, retry: false }, 'two pending, one held; what is as the server has it does not count')
  t.match(device.client.status(), { userId: 'ann', held: 1 })
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 3)
  t.same(await device.client.signOut({ force: true }), { unsent: 3 })
  t.match(device.client.status(), { userId: null, scope: null, epoch: null, cursor: 0, deviceId: 'phone' })
  t.same(counts(device), EMPTY)
  await t.rejects(device.client.syncOnce(), { code: 'signed_out' })
  device.db.exec(author(6, 'of the next one'))
  t.equal(device.client.status().pending, 1, 'capture goes on')
})

t.test('signing out waits for the running call, and listeners hear which tables changed', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  const changed: string[][] = []
  device.client.on('change', ({ tables }) => { changed.push(tables) })
  const order: string[] = []
  await Promise.all([
    device.client.syncOnce().then(() => order.push('sync')),
    device.client.signOut().then(() => order.push('out'))
  ])
  t.same(order, ['sync', 'out'])
  t.equal(server.log.length, 1)
  t.same(changed.at(-1), ['authors', 'posts'])
})

t.test('the same user who signs in again goes on numbering and gets everything back (D11)', async t => {
  for (const call of ['signOut', 'wipe'] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server, deviceId: 'phone' })
    device.db.exec(author(1) + author(2))
    await device.client.syncOnce()
    await device.client[call]()
    device.db.exec(author(3))
    device.client.signIn({ userId: 'ann' })
    await device.client.syncOnce()
    t.same(device.all('select name from authors order by id').map(row => row['name']), ['Author 1', 'Author 2', 'Author 3'], call)
    t.same(server.log.map(({ source, id }) => `${source}#${id}`), ['phone#1', 'phone#2', 'phone#3'])
  }
})

t.test('a browser that threw the file away is a new device: what was synced comes back, and the server is none the worse (D11)', async t => {
  const server = new FakeServer()
  const before = createDevice(t, { server })
  before.db.exec(author(1))
  await before.client.syncOnce()
  before.db.exec(author(2, 'unsent'))
  const after = createDevice(t, { server })
  await after.client.syncOnce()
  t.not(after.client.status().deviceId, before.client.status().deviceId)
  t.same(after.all('select name from authors'), [{ name: 'Author 1' }])
  t.equal(server.log.length, 1)
})

t.test('wipe makes a file that was never synced, of another device', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  const { deviceId } = device.client.status()
  device.db.exec(author(1))
  await device.client.syncOnce()
  device.db.exec(author(2))
  t.same(await device.client.wipe(), { unsent: 1 })
  t.same(counts(device), EMPTY)
  t.match(device.client.status(), { userId: null, pending: 0 })
  t.not(device.client.status().deviceId, deviceId)
  t.equal(device.reopen().client.status().deviceId, device.reopen().client.status().deviceId)
})

t.test('uninstall removes the client and leaves the rows', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await t.rejects(device.client.uninstall(), { code: 'unsent_changes', unsent: 1 })
  await device.client.syncOnce()
  device.db.exec(author(2))
  t.same(await device.client.uninstall({ force: true }), { unsent: 1 })
  t.same(device.all("select name from sqlite_schema where name like '\\_sync\\_%' escape '\\'"), [])
  device.db.exec(author(3))
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 3)
  t.throws(() => device.client.status(), { code: 'closed' })
  const again = device.reopen()
  t.equal(again.client.status().pending, 3, 'as a file that syncs for the first time')
})

t.test('a table that this version does not open is emptied too (D13)', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server })
  device.db.exec(author(1) + `insert into posts values ('${id(11)}', 'secret', null, '${id(1)}')`)
  await device.client.syncOnce()
  device = device.reopen({ tables: ['authors'] })
  await device.client.signOut()
  t.same(counts(device), EMPTY)
})

t.test('a client that was opened for a user does nothing after another process signed in somebody else (D13)', async t => {
  const server = new FakeServer()
  const anns = createDevice(t, { server })
  await anns.client.syncOnce()
  const other = createDevice(t, { server, file: anns.file })
  await other.client.signOut()
  other.client.signIn({ userId: 'bob' })
  other.db.exec(author(1, 'of bob'))
  await t.rejects(anns.client.syncOnce(), { code: 'wrong_user' })
  t.equal(server.log.length, 0)
})

t.test('a user who signs in elsewhere while a page is on its way gets nothing of it (D13)', async t => {
  const server = new FakeServer()
  const anns = createDevice(t, { server })
  await anns.client.syncOnce()
  server.write('authors', id(1), { id: id(1), name: 'of ann', email: null })
  const other = createDevice(t, { server, file: anns.file })
  server.onRequest = async ({ path }, answer) => {
    const response = answer()
    if (path === '/download') {
      server.onRequest = (_, answer) => answer()
      await other.client.signOut()
      other.client.signIn({ userId: 'bob' })
    }
    return response
  }
  await t.rejects(anns.client.downloadOnce(), { code: 'wrong_user' })
  t.same(counts(other), EMPTY)
})

t.test('a crash at any step of sign-in, sign-out, wipe and uninstall leaves before or after, never half (D1, D13)', async t => {
  const signature = (device: Device): string => JSON.stringify([
    device.all("select name from sqlite_schema where name like '\\_sync\\_%' escape '\\' order by name"), device.all('select * from authors order by id'), device.all('select * from posts order by id'),
    ...(device.all("select 1 from sqlite_schema where name = '_sync_client'").length === 0 ? [] : [device.all('select user_id, scope, epoch, cursor, next_change_id, rebuild, applying from _sync_client'), ...OWN_TABLES.map(table => device.all(`select count(*) from ${table}`))])
  ])
  for (const call of ['signIn', 'signOut', 'wipe', 'uninstall'] as const) {
    let crashes = 0
    const outcomes = new Set<string>()
    for (let n = 1; ; n++) {
      const server = new FakeServer()
      const clock = { left: Infinity }
      const wrap = (driver: Driver): Driver => mortal(driver, clock)
      const device = call === 'signIn' ? unclaimed(t, { server, wrap }) : createDevice(t, { server, wrap })
      if (call !== 'signIn') {
        device.db.exec(author(1) + `insert into posts values ('${id(11)}', 'a post', null, '${id(1)}')`)
        await device.client.syncOnce()
      }
      const before = signature(device)
      clock.left = n
      let died = false
      try {
        if (call === 'signIn') device.client.signIn({ userId: 'ann' })
        else await device.client[call]()
      } catch (error) {
        if (!(error instanceof Crash)) throw error
        died = true
      }
      device.db.close()
      const reborn = unclaimed(t, { server, file: device.file })
      // After a whole uninstall, opening installs anew.
      const found = reborn.client.status().pending > 0 && call === 'uninstall' ? 'uninstalled' : signature(reborn)
      outcomes.add(found === before ? 'before' : 'after')
      if (found !== before && call !== 'uninstall') {
        t.match(reborn.client.status(), call === 'signIn' ? { userId: 'ann' } : { userId: null })
        if (call !== 'signIn') t.same(counts(reborn), EMPTY)
      }
      reborn.db.close()
      if (!died) break
      crashes++
    }
    t.ok(crashes > 2, `${call}: ${crashes} crashes`)
    t.same([...outcomes].sort(), ['after', 'before'], `${call}: both are seen`)
  }
})

t.test('the client commits every transaction for good, as the connection is set up, and changes no setting of it (D5)', async t => {
  const server = new FakeServer()
  const commits: string[] = []
  let file: string | null = null
  const device = createDevice(t, {
    server,
    wrap: driver => ({
      ...driver,
      exec (sql) {
        driver.exec(sql)
        // What is in the files at this moment is what a process that never comes back leaves behind.
        if (sql !== 'commit' || file === null) return
        const copy = path.join(path.dirname(file), `copy-${commits.length}.db`)
        for (const suffix of ['', '-wal']) fs.copyFileSync(file + suffix, copy + suffix)
        commits.push(copy)
      },
      get inTransaction () { return driver.inTransaction }
    })
  })
  device.db.pragma('synchronous = full')
  file = device.file
  const settings = (): unknown => ['synchronous', 'journal_mode', 'foreign_keys', 'recursive_triggers', 'locking_mode', 'wal_autocheckpoint'].map(name => device.db.pragma(name, { simple: true }))
  const before = settings()
  device.db.exec(author(1))
  server.write('authors', id(2), { id: id(2), name: 'two', email: null })
  await device.client.syncOnce()
  t.same(settings(), before)
  t.ok(commits.length >= 4, `${commits.length} commits`)
  const last = createDevice(t, { server, file: commits.at(-1) as string })
  t.match(last.client.status(), { pending: 0, outbox: 0, cursor: 2 })
  t.same(last.all('select name from authors order by id'), [{ name: 'Author 1' }, { name: 'two' }])
})

t.test('triggers of the app keep no row of a user from going at sign-out (D13, P16)', async t => {
  const device = createDevice(t)
  device.db.exec(`create table log (what); create trigger app_log after insert on authors begin insert into log values (new.id); end;
    create trigger refuses before delete on posts begin select raise(abort, 'never'); end;
    insert into authors values ('a', 'Ann''s', null); insert into posts values ('p', 'Ann''s', null, 'a')`)
  await device.client.syncOnce()
  t.same(await device.client.signOut(), { unsent: 0 })
  t.same(device.all('select id from authors union all select id from posts'), [])
  t.equal(device.all("select count(*) as n from sqlite_schema where type = 'trigger' and name in ('app_log', 'refuses')")[0]?.['n'], 2, 'the triggers are there again')
})

t.test('a table that this version of the app leaves out is emptied at sign-out too, after a rebuild as before (D13, P16)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec("insert into authors values ('a', 'Ann', null); insert into posts values ('p', 'secret', null, null)")
  await device.client.syncOnce()
  const smaller = device.reopen({ tables: ['authors'] })
  await smaller.client.rebuild()
  await smaller.client.signOut({ force: true })
  t.same(smaller.all('select id from posts'), [])
})
