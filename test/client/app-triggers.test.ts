// P12, P15, D23: the app's own triggers. Every synced row is what the server says; nothing goes up that no user made; what the
// triggers feed besides goes on being fed.
import t, { type Test } from 'tap'
import { writingTo } from '../../client/sqlite/app-triggers.js'
import { createDevice, id, SCHEMA, type Device } from './device.js'
import { FakeServer } from './fake-server.js'

const CLOCK = 'create table clock (now integer); insert into clock values (0);'
const DATED = `create table notes (id text primary key, title text, body text, code text unique, updated_at integer); ${CLOCK}
  create trigger dated after update on notes begin update clock set now = now + 1; update notes set updated_at = (select now from clock) where id = new.id; end;
  create trigger created after insert on notes begin update clock set now = now + 1; update notes set updated_at = (select now from clock) where id = new.id; end;`

function twoDevices (t: Test, sql: string, tables: string[]): { server: FakeServer, phone: Device, pad: Device, settle: () => Promise<void> } {
  const server = new FakeServer()
  const phone = createDevice(t, { server, sql, tables, deviceId: 'phone' })
  const pad = createDevice(t, { server, sql, tables, deviceId: 'pad' })
  return {
    server,
    phone,
    pad,
    settle: async () => {
      for (const device of [phone, pad, phone, pad]) await device.client.syncOnce()
      const sent = server.log.length
      for (const device of [phone, pad]) await device.client.syncOnce()
      t.equal(server.log.length, sent, 'nothing goes up that nobody wrote')
      for (const table of tables) {
        t.same(pad.all(`select * from ${table} order by 1`), phone.all(`select * from ${table} order by 1`), `${table}: both devices`)
        for (const row of pad.all(`select * from ${table}`)) t.same(server.payload(table, String(row['id'])), row, `${table}: the server`)
      }
      for (const device of [phone, pad]) t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, JSON.stringify(device.client.shadow()))
      for (const device of [phone, pad]) t.same(device.all('select * from _sync_echo'), [])
    }
  }
}

t.test('an updated_at trigger: both devices hold the time of the device that edited (P15)', async t => {
  const { server, phone, pad, settle } = twoDevices(t, DATED, ['notes'])
  pad.db.exec('update clock set now = 1000')
  phone.db.exec("insert into notes (id, title, code) values ('a', 'one', 'x'), ('b', 'two', 'y')")
  await settle()
  t.same(pad.all('select updated_at from notes order by id'), [{ updated_at: 2 }, { updated_at: 4 }])
  pad.db.exec("update notes set title = 'edited' where id = 'a'")
  await settle()
  t.ok((phone.all("select updated_at from notes where id = 'a'")[0]?.['updated_at'] as number) > 1000)
  t.equal(server.version('notes', 'a'), 2)
  t.equal(server.version('notes', 'b'), 1)
  phone.db.exec("update notes set body = 'mine' where id = 'b'")
  pad.db.exec("update notes set title = 'theirs' where id = 'b'")
  await settle()
  t.match(pad.all("select title, body from notes where id = 'b'"), [{ title: 'theirs', body: 'mine' }], 'a merge is exact too')
})

t.test('unique values that move while a trigger writes the same rows', async t => {
  const { phone, settle } = twoDevices(t, DATED, ['notes'])
  phone.db.exec("insert into notes (id, code) values ('a', '1'), ('b', '2'), ('c', '3')")
  await settle()
  phone.db.exec("update notes set code = null; update notes set code = '2' where id = 'a'; update notes set code = '3' where id = 'b'; update notes set code = '1' where id = 'c'")
  await settle()
})

t.test('a counter in the parent, kept by triggers, is counted once, also beside local edits (P15)', async t => {
  const sql = `create table authors (id text primary key, name text, posts integer not null default 0);
    create table posts (id text primary key, author text references authors);
    create trigger more after insert on posts begin update authors set posts = posts + 1 where id = new.author; end;
    create trigger less after delete on posts begin update authors set posts = posts - 1 where id = old.author; end;`
  const { server, phone, pad, settle } = twoDevices(t, sql, ['authors', 'posts'])
  phone.db.exec("insert into authors (id, name) values ('ann', 'Ann'), ('bob', 'Bob'); insert into posts values ('1', 'ann'), ('2', 'ann'), ('3', 'bob')")
  await settle()
  t.same(pad.all('select id, posts from authors order by id'), [{ id: 'ann', posts: 2 }, { id: 'bob', posts: 1 }])
  pad.db.exec("update authors set name = 'Robert' where id = 'bob'")
  phone.db.exec("insert into posts values ('4', 'bob'); delete from posts where id = '1'")
  await phone.client.syncOnce()
  await pad.client.downloadOnce()
  t.same(pad.all('select id, name, posts from authors order by id'), [{ id: 'ann', name: 'Ann', posts: 1 }, { id: 'bob', name: 'Robert', posts: 2 }])
  await settle()
  server.write('posts', '9', { id: '9', author: 'ann' })
  await settle()
  t.same(pad.all("select posts from authors where id = 'ann'"), [{ posts: 1 }], 'the server has spoken of no other count')
})

t.test('triggers that insert, replace and delete rows of synced tables leave none of it behind', async t => {
  const sql = `create table notes (id text primary key, title text); create table history (id integer primary key, note text unique, title text);
    create trigger log after update on notes begin insert or replace into history (note, title) values (new.id, old.title); end;
    create trigger gone after delete on notes begin delete from history where note = old.id; end;`
  const { phone, pad, settle } = twoDevices(t, sql, ['notes', 'history'])
  phone.db.exec("insert into notes values ('a', 'one'), ('b', 'one')")
  phone.db.exec("update notes set title = 'two'; update notes set title = 'three' where id = 'a'")
  await settle()
  t.equal(pad.all('select * from history').length, 2)
  pad.db.exec("delete from notes where id = 'a'; update notes set title = 'four'")
  await settle()
})

t.test('a full-text index is fed by server rows, and by what is put right after another trigger', async t => {
  const sql = `${DATED.replace('update notes set updated_at =', 'update notes set title = trim(title), updated_at =')}
    create virtual table found using fts5(title, content = 'notes', content_rowid = 'rowid');
    create trigger found_i after insert on notes begin insert into found (rowid, title) values (new.rowid, new.title); end;
    create trigger found_d after delete on notes begin insert into found (found, rowid, title) values ('delete', old.rowid, old.title); end;
    create trigger found_u after update on notes begin insert into found (found, rowid, title) values ('delete', old.rowid, old.title);
      insert into found (rowid, title) values (new.rowid, new.title); end;`
  const { server, phone, pad, settle } = twoDevices(t, sql, ['notes'])
  phone.db.exec("insert into notes (id, title) values ('a', 'red apple')")
  await settle()
  server.write('notes', 'a', { id: 'a', title: ' green pear ', body: null, code: null, updated_at: 5 })
  await settle()
  for (const { db, all } of [phone, pad]) {
    t.same(all("select id from notes where rowid in (select rowid from found('pear'))"), [{ id: 'a' }])
    t.same(all("select rowid from found('apple')"), [])
    db.exec("insert into found (found, rank) values ('integrity-check', 1)")
  }
})

t.test('a trigger that refuses, ignores or cannot run does not keep the server\'s row away', async t => {
  for (const action of ["raise(abort, 'posted')", 'raise(ignore)', "json('{')", 'unknown_function(1)']) {
    const server = new FakeServer()
    const device = createDevice(t, { server })
    device.db.exec(`insert into authors values ('${id(1)}', 'One', null), ('${id(2)}', 'Two', null), ('${id(3)}', 'Three', null)`)
    await device.client.syncOnce()
    device.db.exec('create table other (x)')
    for (const event of ['insert', 'update', 'delete']) device.db.exec(`create trigger no_${event} before ${event} on authors begin select ${action}; end`)
    server.write('authors', id(1), { id: id(1), name: 'Uno', email: null })
    server.write('authors', id(2), null)
    server.write('authors', id(4), { id: id(4), name: 'Four', email: null })
    await device.client.syncOnce()
    t.same(device.all('select name from authors order by id'), [{ name: 'Uno' }, { name: 'Three' }, { name: 'Four' }], action)
    t.match(device.client.status(), { pending: 0, shadow: 0 })
    try { device.db.exec("delete from authors where name = 'Three'") } catch {}
    t.equal(device.all('select * from authors').length, 3, 'the app is still refused')
    t.equal(device.all("select count(*) as n from sqlite_schema where name like 'no\\_%' escape '\\'")[0]?.['n'], 3, 'the triggers are back')
  }
})

t.test('triggers made while the client is open are watched, temporary ones too; those that rest by the client\'s flag cost nothing', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: SCHEMA })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  await device.client.syncOnce()
  device.db.exec("create temp trigger shout after update on authors begin update authors set name = upper(name), email = 'x' where id = new.id; end")
  server.write('authors', id(1), { id: id(1), name: 'quiet', email: null })
  await device.client.syncOnce()
  t.same(device.all('select name, email from authors'), [{ name: 'quiet', email: null }])
  device.db.exec(`update authors set name = 'loud' where id = '${id(1)}'`)
  t.same(device.all('select name from authors'), [{ name: 'LOUD' }], 'the trigger is back, temporary as it was')
  t.equal(device.all('select count(*) as n from sqlite_temp_schema')[0]?.['n'], 1)
  device.db.exec('drop trigger shout')
  t.match(device.reopen().all("select name from sqlite_schema where name like '%echo%' and type = 'trigger'"), [], 'echo triggers go with the last trigger of the app')
})

t.test('triggers that may write to a table are found by their text', t => {
  const trigger = (table: string, sql: string): Parameters<typeof writingTo>[1][number] => ({ schema: 'main', name: sql, table, sql: `CREATE TRIGGER x after update on ${table} begin ${sql}; end` })
  const direct = ['insert into Posts values (1)', 'insert or replace into "posts" select 1', 'replace into [posts] values (1)', 'update or ignore `posts` set a = 1', "delete from 'posts'", 'delete /* from x */ from -- y\n posts']
  for (const sql of direct) t.equal(writingTo(new Set(['posts']), [trigger('posts', sql)]).length, 1, sql)
  const not = ["insert into log values ('update posts set')", 'select 1 /* delete from posts */', 'insert into log select * from posts', 'update log set posts = 1 -- into posts']
  for (const sql of not) t.equal(writingTo(new Set(['posts']), [trigger('posts', sql)]).length, 0, sql)
  const chain = [trigger('posts', 'insert into log values (1)'), trigger('log', 'insert into more values (1)'), trigger('more', 'delete from posts')]
  t.equal(writingTo(new Set(['posts']), chain).length, 3, 'by way of other tables')
  t.end()
})
