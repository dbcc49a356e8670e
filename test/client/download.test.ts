// B4, B14, D2, D6, J1, K2, K3, L3, P11, P13, P14: fetching a window and applying it.
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer, reply } from './fake-server.js'

const author = (n: number, name = `Author ${n}`, email: string | null = null): Record<string, unknown> => ({ id: id(n), name, email })
const post = (n: number, parent: number | null, title = `Post ${n}`): Record<string, unknown> => ({ id: id(n), title, body: null, author_id: parent === null ? null : id(parent) })

t.test('a window that was interrupted goes on with the page that is missing, also after a restart', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server })
  for (let n = 1; n <= 6; n++) server.write('authors', id(n), author(n))
  server.onRequest = ({ path }, answer) => {
    if (path === '/download' && server.downloads.length === 2) throw new TypeError('lost')
    return answer()
  }
  await t.rejects(device.client.downloadOnce(2), { code: 'network' })
  server.onRequest = (_, answer) => answer()
  device = device.reopen()
  t.match(await device.client.downloadOnce(2), { pages: 1, received: 6, cursor: 6 })
  t.same(server.downloads.map(query => query.get('after')), ['0', '2', '4'])
})

t.test('children before parents, circles and self-loops, across pages, with foreign keys on (K2)', async t => {
  const server = new FakeServer()
  const sql = 'create table a (id text primary key, b text references b, up text references a); create table b (id text primary key, a text not null references a)'
  const device = createDevice(t, { server, sql, tables: ['a', 'b'] })
  server.write('b', 'b1', { id: 'b1', a: 'a1' })
  server.write('a', 'a2', { id: 'a2', b: null, up: 'a1' })
  server.write('a', 'a1', { id: 'a1', b: 'b1', up: 'a1' })
  t.match(await device.client.downloadOnce(1), { applied: 3, shadowed: 0 })
  t.same(device.all('pragma foreign_key_check'), [])
  t.equal(device.db.pragma('foreign_keys', { simple: true }), 1, 'switched on again')
})

t.test('a child without its parent waits in shadow and appears with it; one whose parent goes disappears with it', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('posts', id(11), post(11, 1))
  t.match(await device.client.downloadOnce(), { shadowed: 1, cursor: 1 })
  t.same(device.all('select * from posts'), [])
  server.write('authors', id(1), author(1))
  t.match(await device.client.downloadOnce(), { shadowed: 0 })
  t.same(device.all('select title from posts'), [{ title: 'Post 11' }])
  server.write('authors', id(1), null)
  t.match(await device.client.downloadOnce(), { shadowed: 1 })
  t.same(device.all('select * from posts'), [])
  server.write('authors', id(1), author(1, 'Back'))
  await device.client.downloadOnce()
  t.same(device.all('select title, name from posts join authors on authors.id = author_id'), [{ title: 'Post 11', name: 'Back' }])
  t.match(device.client.status(), { pending: 0, shadow: 0 })
})

t.test('WITHOUT ROWID children are found dangling too', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table p (id text primary key) without rowid; create table c (id text primary key, p text references p) without rowid', tables: ['p', 'c'] })
  server.write('c', 'c1', { id: 'c1', p: 'p1' })
  await device.client.downloadOnce()
  t.match(device.client.status(), { shadow: 1 })
  server.write('p', 'p1', { id: 'p1' })
  await device.client.downloadOnce()
  t.same(device.all('select * from c'), [{ id: 'c1', p: 'p1' }])
})

t.test('a deletion by a peer eats no local work: no cascade runs', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1))
  server.write('posts', id(11), post(11, 1))
  await device.client.syncOnce()
  device.db.exec(`update posts set body = 'local work'; insert into posts values ('${id(12)}', 'new', null, '${id(1)}')`)
  server.write('authors', id(1), null)
  await device.client.downloadOnce()
  t.same(device.all('select id, body from posts order by id'), [{ id: id(11), body: 'local work' }, { id: id(12), body: null }])
  t.same(device.pending(), [`posts:${id(11)}`, `posts:${id(12)}`])
})

t.test('K3: a parent that was deleted here, and got a child elsewhere, comes back and is reported', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1))
  await device.client.syncOnce()
  device.db.exec('delete from authors')
  server.write('posts', id(11), post(11, 1))
  await device.client.downloadOnce()
  t.same(device.all('select name, title from posts join authors on authors.id = author_id'), [{ name: 'Author 1', title: 'Post 11' }])
  t.match(device.client.conflicts(), [{ kind: 'parent-restored', table: 'authors', key: id(1), mine: null, result: { name: 'Author 1' } }])
  t.same(device.pending(), [])
})

t.test('K3: a parent that comes back is back for all of its new children: each is shown (P18)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1))
  server.write('authors', id(2), author(2))
  await device.client.syncOnce()
  device.db.exec('delete from authors')
  for (const [n, by] of [[11, 1], [12, 2], [13, 1], [14, 2]] as const) server.write('posts', id(n), post(n, by))
  t.match(await device.client.downloadOnce(), { applied: 4, shadowed: 0, conflicts: 2 })
  t.same(device.all('select title, name from posts join authors on authors.id = author_id order by title'), [11, 12, 13, 14].map(n => ({ title: `Post ${n}`, name: `Author ${2 - n % 2}` })))
  t.same(device.client.shadow(), [])
  t.same(device.pending(), [])
})

t.test('unique values that are swapped or handed on within a window', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  for (const n of [1, 2, 3]) server.write('authors', id(n), author(n, `Author ${n}`, `mail${n}`))
  await device.client.downloadOnce()
  server.write('authors', id(1), author(1, 'One', 'mail2'))
  server.write('authors', id(2), { id: id(2), email: 'mail3' }) // a partial payload: the name must survive
  server.write('authors', id(3), author(3, 'Three', 'mail1'))
  t.match(await device.client.downloadOnce(), { applied: 3, shadowed: 0 })
  t.same(device.all('select name, email from authors order by id'), [
    { name: 'One', email: 'mail2' }, { name: 'Author 2', email: 'mail3' }, { name: 'Three', email: 'mail1' }
  ])
})

t.test('values that were swapped here and there at once are merged together', async t => {
  for (const conflict of ['serverWins', 'clientWins'] as const) {
    const server = new FakeServer()
    const device = createDevice(t, { server, tables: [{ table: 'authors', conflict }, 'posts'] })
    for (const n of [1, 2]) server.write('authors', id(n), author(n, `Author ${n}`, `mail${n}`))
    await device.client.syncOnce()
    device.db.exec(`update authors set email = null where id = '${id(1)}'; update authors set email = 'mail1' where id = '${id(2)}'; update authors set email = 'mail2' where id = '${id(1)}'`)
    server.write('authors', id(1), author(1, 'One', 'mail3'))
    server.write('authors', id(2), author(2, 'Two', 'mail2'))
    await device.client.downloadOnce()
    t.match(device.client.status(), { shadow: 0, held: 0 }, conflict)
    t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 2)
  }
})

t.test('a row that cannot be merged for a local rule is held and visible, not silently stuck', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1, 'One', 'mail1'))
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'Uno'; insert into authors values ('${id(2)}', 'Two', 'taken')`)
  server.write('authors', id(1), author(1, 'One', 'taken'))
  await device.client.downloadOnce()
  t.match(device.client.held(), [{ key: id(1), reason: 'server_row_blocked' }])
  t.same(device.all('select name, email from authors order by id'), [{ name: 'Uno', email: 'mail1' }, { name: 'Two', email: 'taken' }])
  device.db.exec(`update authors set email = 'free' where id = '${id(2)}'`)
  await device.client.syncOnce()
  t.same(device.all('select name, email from authors order by id'), [{ name: 'Uno', email: 'taken' }, { name: 'Two', email: 'free' }])
  t.match(device.client.status(), { held: 0, shadow: 0, pending: 0 })
  t.match(server.payload('authors', id(1)), { name: 'Uno', email: 'taken' })
})

t.test('absent payload keys leave columns as they are, also NOT NULL ones', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1, 'Name', 'mail'))
  await device.client.downloadOnce()
  server.write('authors', id(1), { id: id(1), email: 'new' })
  await device.client.downloadOnce()
  t.same(device.all('select name, email from authors'), [{ name: 'Name', email: 'new' }])
})

t.test('unknown tables and columns are kept, and a later version of the app gets them', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, sql: 'create table authors (id text primary key, name text not null)', tables: ['authors'] })
  server.write('authors', id(1), '{"id":"' + id(1) + '","name":"A","big":9007199254740993}')
  server.write('authors', id(2), '{"id":"' + id(2) + '","name":"B","big":7}')
  server.write('later', id(3), { id: id(3), v: 'x' })
  await device.client.syncOnce()
  t.match(device.client.status(), { cursor: 3, shadow: 1 })
  device.db.exec(`update authors set name = 'edited' where id = '${id(1)}'`)
  await device.client.syncOnce()
  t.equal(server.rows.get(`authors:${id(1)}`)?.payload, `{"id":"${id(1)}","name":"edited","big":9007199254740993}`, 'what this version does not know goes back up unchanged')
  device.db.exec(`update authors set name = 'pending' where id = '${id(2)}'`)
  device.db.exec('alter table authors add column big integer; create table later (id text primary key, v text)')
  device = device.reopen({ tables: ['authors', 'later'] })
  t.same(device.all('select cast(big as text) as big from authors order by id'), [{ big: '9007199254740993' }, { big: '7' }])
  t.same(device.all('select * from later'), [{ id: id(3), v: 'x' }])
  t.same(device.pending(), [`authors:${id(2)}`], 'taking them over is no local change')
  await device.client.syncOnce()
  t.same(server.payload('authors', id(2)), { id: id(2), name: 'pending', big: 7 })
})

t.test('a row in the outbox is not touched until it was judged', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), author(1, 'v1', 'v1'))
  await device.client.syncOnce()
  device.db.exec("update authors set name = 'mine'")
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('"payload"') === true) throw new TypeError('lost')
    return answer()
  }
  await t.rejects(device.client.uploadOnce())
  server.write('authors', id(1), author(1, 'v1', 'theirs'))
  await device.client.downloadOnce()
  t.same(device.all('select name, email from authors'), [{ name: 'mine', email: 'v1' }])
  t.match(device.client.status(), { shadow: 1, cursor: 2 })
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.same(device.all('select name, email from authors'), [{ name: 'mine', email: 'theirs' }])
  t.match(device.client.status(), { shadow: 0, outbox: 0, pending: 0 })
  t.match(server.payload('authors', id(1)), { name: 'mine', email: 'theirs' })
})

t.test('an older version than the known one is passed over', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'v1', null)`)
  await device.client.syncOnce()
  server.write('authors', id(1), author(1, 'v2'))
  device.db.exec("update authors set email = 'mine'")
  await device.client.uploadOnce() // conflict: v2 comes with the verdict, before the window
  const report = await device.client.downloadOnce()
  t.match(report, { received: 1, skipped: 1, applied: 0, cursor: 2 })
  t.same(device.all('select name, email from authors'), [{ name: 'v2', email: 'mine' }])
})

t.test('hydrate brings everything again and keeps local edits (L3)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null)`)
  await device.client.syncOnce()
  device.db.exec("update authors set name = 'edited'")
  t.match(await device.client.hydrate(), { received: 1, skipped: 1 })
  t.equal(server.downloads.at(-1)?.get('include_self'), 'true')
  t.same(device.all('select name from authors'), [{ name: 'edited' }])
  t.same(device.pending(), [`authors:${id(1)}`])
})

t.test('pages that break the contract change nothing', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  const identity = '"epoch":"epoch-1","source_id":"phone","next_source_change_id":1,"floor":0'
  const change = (serverId: number): string => `{"server_id":${serverId},"schema":"business","table":"authors","op":"INSERT","pk":"${id(1)}","payload":${JSON.stringify(author(1))},"server_version":1,"deleted":false,"source_id":"p","source_change_id":1,"ts":"2026-01-01T00:00:00Z"}`
  const pages: Array<[string, string]> = [
    ['not_json', '{"changes":[' + change(1)],
    ['protocol_error', '[]'],
    ['protocol_error', `{"changes":[${change(2)},${change(1)}],"has_more":false,"next_after":2,"window_until":2,${identity}}`],
    ['protocol_error', `{"changes":[${change(5)}],"has_more":false,"next_after":2,"window_until":2,${identity}}`],
    ['protocol_error', `{"changes":[],"has_more":true,"next_after":0,"window_until":2,${identity}}`],
    ['protocol_error', '{"changes":[],"has_more":false,"next_after":2,"window_until":2}'],
    ['wrong_device', `{"changes":[],"has_more":false,"next_after":2,"window_until":2,${identity.replace('phone', 'tablet')}}`],
    ['history_changed', `{"changes":[${change(1)}],"has_more":false,"next_after":1,"window_until":1,${identity.replace('epoch-1', 'epoch-2')}}`]
  ]
  for (const [code, page] of pages) {
    server.onRequest = ({ path }, answer) => path === '/download' ? reply(200, page) : answer()
    await t.rejects(device.client.downloadOnce(), { code }, `${code}: ${page.slice(0, 60)}`)
    t.match(device.client.status(), { cursor: 0 })
    t.same(device.all('select * from authors'), [])
    t.same(device.all('select * from _sync_page'), [])
  }
})

t.test('a window of 20,000 rows comes in pages and is applied', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  for (let n = 0; n < 20_000; n++) server.write('authors', id(n), author(n, 'n', `mail${n}`))
  t.match(await device.client.downloadOnce(), { pages: 20, applied: 20_000 })
  t.same(device.all('select count(*) as n from authors union all select count(*) from _sync_page'), [{ n: 20_000 }, { n: 0 }])
})

t.test('positions and versions up to 2^53 are exact; beyond, nothing of the reply is used (L7)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  const [last, beyond] = ['9007199254740991', '9007199254740993'] // a double cannot tell the second from its neighbour
  const page = (position: string, version: string): string => `{"changes":[{"server_id":${position},"schema":"business","table":"authors","op":"UPDATE","pk":"a","payload":{"id":"a","name":"Ann","email":null},
    "server_version":${version},"deleted":false,"source_id":"peer","source_change_id":1,"ts":"2026-01-01T00:00:00Z"}],"has_more":false,"next_after":${position},"window_until":${position},"floor":0,
    "epoch":"epoch-1","source_id":"${device.client.status().deviceId}","next_source_change_id":1}`
  let body = ''
  server.onRequest = ({ path }, answer) => path === '/download' ? reply(200, body) : answer()
  for (const [position, version] of [[beyond, '1'], ['1', beyond], ['1e300', '1'], ['-1', '1'], ['1.5', '1']] as const) {
    body = page(position, version)
    await t.rejects(device.client.downloadOnce(), { code: 'protocol_error' }, `${position}, version ${version}`)
    t.match(device.client.status(), { cursor: 0 })
    t.same(device.all('select * from authors'), [])
  }
  body = page(last, last)
  await device.client.downloadOnce()
  t.equal(device.client.status().cursor, Number(last))
  t.same(device.all('select cast(cursor as text) as cursor, (select cast(server_version as text) from _sync_row) as version from _sync_client'), [{ cursor: last, version: last }])
})
