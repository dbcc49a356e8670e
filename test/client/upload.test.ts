// A20, A21, B1, B2, D1, G1, H7, H14, J2, K1, K8, P13, P18: freezing a batch and acting on its verdicts.
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer, reply } from './fake-server.js'

const author = (n: number, name = `Author ${n}`, email: string | null = null): string =>
  `insert into authors values ('${id(n)}', '${name}', ${email === null ? 'null' : `'${email}'`});`

t.test('a row that is again as the server has it is not sent', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await device.client.syncOnce()
  device.db.exec("update authors set name = 'x'; update authors set name = 'Author 1'")
  t.same(await device.client.uploadOnce(), { sent: 0, applied: 0, conflicts: 0, held: 0, pending: 0 })
  t.equal(server.uploads.length, 1)
})

t.test('a row made and removed between two uploads is never sent', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`${author(1)} delete from authors`)
  await device.client.uploadOnce()
  t.equal(server.uploads.length, 0)
  t.same(device.pending(), [])
})

t.test('a row removed while the reply to its insert is lost is deleted everywhere (A21)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  server.onRequest = ({ body }, answer) => {
    answer()
    if (body?.includes('INSERT') === true) throw new TypeError('lost')
    return answer()
  }
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  device.db.exec('delete from authors')
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.equal(server.payload('authors', id(1)), null)
  t.equal(server.version('authors', id(1)), 2)
})

t.test('a retry sends the same bytes, after a restart too, whatever the app did meanwhile', async t => {
  const server = new FakeServer()
  let device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2))
  const bodies: string[] = []
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes('"payload"') !== true) return response
    bodies.push(body)
    throw new TypeError('lost')
  }
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  device.db.exec(`update authors set name = 'newer' where id = '${id(1)}'; ${author(3)}`)
  device = device.reopen()
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  t.equal(bodies[0], bodies[1])
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.equal(server.payload('authors', id(1))?.['name'], 'newer')
  t.same(server.log.map(({ id, pk, version }) => [id, pk, version]), [[1, id(1), 1], [2, id(2), 1], [3, id(1), 2], [4, id(3), 1]])
})

t.test('an edit made while the upload is in flight is a new change with a new id on the new version (A20)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1) + author(2))
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('"payload"') === true) device.db.exec(`update authors set name = 'in flight' where id = '${id(1)}'; delete from authors where id = '${id(2)}'`)
    return answer()
  }
  await device.client.uploadOnce()
  t.same(device.all('select name from authors'), [{ name: 'in flight' }], 'the acknowledgement hid nothing')
  t.match(device.all('select key, image from _sync_pending'), [{ key: id(1), image: /Author 1/ }, { key: id(2), image: /Author 2/ }])
  server.onRequest = (_, answer) => answer()
  await device.client.uploadOnce()
  t.match(server.uploads[1]?.changes, [{ id: 3, op: 'UPDATE', base: 1 }, { id: 4, op: 'DELETE', base: 1 }])
})

t.test('rows of a circle, and ancestors in the same table, share a batch with what refers to them', async t => {
  const server = new FakeServer()
  const sql = `create table b (id text primary key, a text references a deferrable initially deferred);
    create table a (id text primary key, up text references a deferrable initially deferred, b text references b deferrable initially deferred);`
  const device = createDevice(t, { server, sql, tables: ['b', 'a'], uploadBatchSize: 3 })
  device.db.exec(`begin;
    insert into a values ('a3', 'a2', null), ('a2', 'a1', null), ('a1', null, 'b1'); insert into b values ('b1', 'a1'); commit`)
  const live = new Set<string>()
  server.refuse = ({ payload, pk }) => {
    const row = JSON.parse(payload as string) as { up?: string | null }
    if (row.up != null && !live.has(row.up)) return { reason: 'fk_missing' }
    live.add(pk)
    return null
  }
  await device.client.syncOnce()
  t.match(device.client.status(), { held: 0, pending: 0 })
  t.equal(server.rows.size, 4)
  t.same(server.uploads[0]?.changes.map(({ pk }) => pk).sort(), ['a1', 'a2', 'b1'], 'the circle and the parent share the first batch')
})

t.test('deletions come after upserts, children before parents', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`${author(1)} insert into posts values ('${id(2)}', 't', null, '${id(1)}')`)
  await device.client.syncOnce()
  device.db.exec(`delete from authors; ${author(5)} insert into posts values ('${id(6)}', 't', null, '${id(5)}')`)
  await device.client.uploadOnce()
  t.same(server.uploads[1]?.changes.map(({ op, table }) => `${op} ${table}`), ['INSERT authors', 'INSERT posts', 'DELETE posts', 'DELETE authors'])
})

t.test('a refused row is held with its reason, blocks nobody, and is tried again once the app edits it', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.refuse = ({ payload }) => payload?.includes('bad') === true ? { reason: 'constraint_violation', message: 'Not this name.', details: { constraint: 'c' } } : null
  device.db.exec(author(1, 'bad') + author(2, 'good'))
  const report = await device.client.syncOnce()
  t.match(report, { upload: { applied: 1 }, drained: true })
  t.match(device.client.held(), [{ table: 'authors', key: id(1), reason: 'constraint_violation', message: 'Not this name.', details: { constraint: 'c' }, server: null }])
  t.same(device.all('select name from authors order by id'), [{ name: 'bad' }, { name: 'good' }], 'it stays visible')
  device.db.exec(`update authors set name = 'better' where id = '${id(1)}'`)
  await device.client.syncOnce()
  t.same(device.client.held(), [])
  t.match(server.uploads.at(-1)?.changes, [{ op: 'INSERT', base: 0 }], 'still new to the server')
  t.equal(server.payload('authors', id(1))?.['name'], 'better')
})

t.test('a newer edit takes over the image of a refused or conflicting change', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1, 'v1') + author(2, 'v1'))
  await device.client.syncOnce()
  server.refuse = ({ payload }) => payload?.includes('bad') === true ? { reason: 'rejected' } : null
  device.db.exec(`update authors set name = 'bad' where id = '${id(1)}'; update authors set name = 'mine' where id = '${id(2)}'`)
  server.write('authors', id(2), { id: id(2), name: 'v1', email: 'peer@x' })
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('bad') === true) device.db.exec(`update authors set name = 'good' where id = '${id(1)}'; update authors set name = 'mine, again' where id = '${id(2)}'`)
    return answer()
  }
  await device.client.uploadOnce()
  t.same(device.client.held(), [])
  const images = device.all('select image from _sync_pending order by key').map(row => JSON.parse(row['image'] as string) as Record<string, string>)
  t.equal(images[0]?.['name'], "'v1'", 'the server still has v1')
  t.match(images[1], { name: "'v1'", email: "'peer@x'" }, 'the server\'s row of the conflict')
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.match(server.payload('authors', id(1)), { name: 'good' })
  t.match(server.payload('authors', id(2)), { name: 'mine, again', email: 'peer@x' })
  t.equal(device.client.status().conflicts, 0, 'different columns are no conflict')
})

t.test('fk_missing is retried by itself once the parent went up or came down, and no oftener (K1)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, uploadBatchSize: 10 })
  server.refuse = ({ table, payload }) => {
    const parent = table === 'posts' ? (JSON.parse(payload as string) as { author_id: string }).author_id : null
    return parent !== null && server.payload('authors', parent) == null ? { reason: 'fk_missing', details: { missing: [`business.authors:${parent}`] } } : null
  }
  let isBad = true
  const constraint = server.refuse
  server.refuse = change => isBad && change.pk === id(1) ? { reason: 'rejected' } : constraint(change)
  device.db.exec(`${author(1)} insert into posts values ('${id(11)}', 't', null, '${id(1)}')`)
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: id(1), reason: 'rejected' }, { key: id(11), reason: 'fk_missing' }])
  const uploads = server.uploads.length
  await device.client.syncOnce()
  t.equal(server.uploads.length, uploads, 'nothing changed, nothing is sent')
  isBad = false
  t.equal(device.client.retryHeld(device.client.held()[0]?.id), 1)
  await device.client.syncOnce()
  t.same(device.client.held(), [])
  t.ok(server.payload('posts', id(11)))
})

t.test('fk_missing that never ends is bounded', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.refuse = ({ table }) => table === 'posts' ? { reason: 'fk_missing', details: { missing: [`business.authors:${id(1)}`] } } : null
  device.db.exec(`${author(1)} insert into posts values ('${id(11)}', 't', null, '${id(1)}')`)
  for (let i = 0; i < 20; i++) {
    device.db.exec(`update authors set name = 'edit ${i}'`)
    await device.client.syncOnce()
  }
  t.ok(server.uploads.filter(({ changes }) => changes.some(({ pk }) => pk === id(11))).length <= 6)
  t.match(device.client.held(), [{ reason: 'fk_missing' }])
})

t.test('discardHeld takes the server\'s row: its old values, or none', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1, 'good'))
  await device.client.syncOnce()
  server.refuse = () => ({ reason: 'rejected' })
  device.db.exec(`update authors set name = 'bad'; ${author(2, 'bad')}`)
  await device.client.syncOnce()
  for (const { id } of device.client.held()) t.equal(device.client.discardHeld(id), true)
  t.same(device.all('select name from authors'), [{ name: 'good' }])
  t.same(device.pending(), [])
  t.equal(device.client.discardHeld(999), false)
})

t.test('a unique value taken by a peer: the row stays, marked, and both converge once it is changed (K8)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.refuse = ({ payload, pk }) => {
    const email = (JSON.parse(payload as string) as { email: string }).email
    return [...server.rows].some(([key, row]) => key !== `authors:${pk}` && row.payload?.includes(email) === true) ? { reason: 'constraint_violation' } : null
  }
  server.write('authors', id(9), { id: id(9), name: 'Peer', email: 'same@x' })
  device.db.exec(author(1, 'Mine', 'same@x'))
  await device.client.syncOnce()
  t.same(device.all('select id from authors'), [{ id: id(1) }])
  t.match(device.client.status(), { held: 1, shadow: 1, cursor: 1 }, 'the cursor moved all the same')
  device.db.exec("update authors set email = 'other@x'")
  await device.client.syncOnce()
  t.same(device.all('select id, email from authors order by id'), [{ id: id(1), email: 'other@x' }, { id: id(9), email: 'same@x' }])
  t.match(device.client.status(), { held: 0, shadow: 0, pending: 0 })
})

t.test('a batch that is too large is halved, by verdict or by 413; one row that is too large alone is held (G1)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, uploadBatchSize: 8 })
  device.db.exec([1, 2, 3, 4, 5, 6, 7].map(n => author(n)).join('') + author(8, 'huge'))
  server.onRequest = ({ body }, answer) => {
    const changes = body?.match(/source_change_id/g)?.length ?? 0
    if (changes > 4) {
      const ids = [...(body as string).matchAll(/"source_change_id":(\d+)/g)].map(match => match[1] as string)
      const statuses = ids.map(id => `{"source_change_id":${id},"status":"invalid","message":"m","invalid":{"reason":"batch_too_large"}}`)
      return reply(200, `{"accepted":false,"highest_server_seq":0,"statuses":[${statuses.join(',')}],"epoch":"epoch-1","source_id":"${device.client.status().deviceId}","next_source_change_id":1}`)
    }
    return body?.includes('huge') === true ? reply(413, '{"error":"body_too_large","message":"Too large."}') : answer()
  }
  await device.client.syncOnce()
  t.equal(server.rows.size, 7)
  t.match(device.client.held(), [{ key: id(8), reason: 'body_too_large' }])
})

t.test('statuses that do not fit the batch change nothing', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  device.db.exec(author(1) + author(2))
  const answers = [
    '{"source_change_id":1,"status":"applied","new_server_version":1}',
    '{"source_change_id":2,"status":"applied","new_server_version":1},{"source_change_id":1,"status":"applied","new_server_version":1}',
    '{"source_change_id":1,"status":"applied","new_server_version":1},{"source_change_id":2,"status":"conflict"}',
    '{"source_change_id":1,"status":"applied","new_server_version":1},{"source_change_id":2,"status":"great"}',
    `{"source_change_id":1,"status":"applied","new_server_version":1},{"source_change_id":2,"status":"conflict","server_row":{"schema_name":"business","table_name":"authors","id":"${id(7)}","server_version":4,"deleted":true,"payload":null}}`
  ]
  for (const statuses of answers) {
    server.onRequest = ({ body }, answer) => body?.includes('"payload"') === true
      ? reply(200, `{"accepted":true,"highest_server_seq":2,"statuses":[${statuses}],"epoch":"epoch-1","source_id":"phone","next_source_change_id":3}`)
      : answer()
    await t.rejects(device.client.uploadOnce(), { code: 'protocol_error' }, statuses)
    t.match(device.client.status(), { outbox: 2, pending: 0 })
    t.same(device.all('select * from _sync_row'), [])
  }
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.equal(server.rows.size, 2)
})

t.test('the client never writes inside the app\'s transaction', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  device.db.exec('begin')
  await t.rejects(device.client.uploadOnce(), { code: 'busy' })
  device.db.exec('commit')
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('"payload"') === true) device.db.exec('begin')
    return answer()
  }
  await t.rejects(device.client.uploadOnce(), { code: 'busy' })
  t.equal(device.db.inTransaction, true, 'the app\'s transaction is untouched')
  device.db.exec('rollback')
  server.onRequest = (_, answer) => answer()
  t.match(await device.client.uploadOnce(), { applied: 1 })
  t.equal(server.log.length, 1)
})

t.test('keys that cannot travel are held by name, and can be discarded (H5, H14)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: 'create table x (id text primary key, v text); create table b (id blob primary key); create table i (id int primary key)', tables: ['x', 'b', 'i'] })
  const upper = 'ABCDEF00-0000-4000-8000-000000000001'
  device.db.prepare('insert into x values (?, 1), (null, 2), (?, 3), (cast(x\'ff61\' as text), 4), (?, 5), (?, 6)').run(upper, Buffer.from('blob'), 'x'.repeat(1025), 'nul\0')
  device.db.exec("insert into b values (x'00'), (x'00112233445566778899aabbccddeeff'), ('text'); insert into i values (1), ('one'), (1.5)")
  await device.client.syncOnce()
  t.same([...server.rows.keys()].sort(), ['b:00112233-4455-6677-8899-aabbccddeeff', 'i:1'])
  t.equal(device.client.held().length, 10)
  t.ok(device.client.held().every(({ reason }) => reason === 'unrepresentable'))
  const composed = ['\u00e9', 'e\u0301']
  for (const key of composed) device.db.prepare('insert into x values (?, null)').run(key)
  await device.client.syncOnce()
  for (const key of composed) t.ok(server.payload('x', key), 'composed and decomposed are two keys')
  for (const { id } of device.client.held()) t.equal(device.client.discardHeld(id), true)
  t.same(device.all('select id from x order by id').map(row => row['id']), composed.toSorted())
  t.same(device.all('select hex(id) as id from b'), [{ id: '00112233445566778899AABBCCDDEEFF' }])
  t.same(device.all('select id from i'), [{ id: 1 }])
})

t.test('a conflict with a row that the server has never had sends it as new', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await device.client.syncOnce()
  server.rows.clear() // as after a restore that nobody told
  device.db.exec("update authors set name = 'kept'")
  await device.client.syncOnce()
  t.match(server.payload('authors', id(1)), { name: 'kept' })
})

t.test('a server that knows only an older version of the row than the device gets it held', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  await device.client.syncOnce()
  server.write('authors', id(1), { id: id(1), name: 'v2', email: null })
  await device.client.syncOnce()
  server.rows.set(`authors:${id(1)}`, { version: 1, payload: '{"name":"old"}' })
  device.db.exec("update authors set name = 'mine'")
  await device.client.syncOnce()
  t.match(device.client.held(), [{ reason: 'version_ahead' }])
  t.same(device.all('select name from authors'), [{ name: 'mine' }])
})

t.test('calls of one client run one after the other', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1))
  let running = 0
  let most = 0
  server.onRequest = async (_, answer) => {
    most = Math.max(most, ++running)
    await new Promise(resolve => setImmediate(resolve))
    running--
    return answer()
  }
  await Promise.all([device.client.syncOnce(), device.client.uploadOnce(), device.client.downloadOnce(), device.client.hydrate()])
  t.equal(most, 1)
  t.equal(server.log.length, 1)
  const closing = device.client.close()
  await t.rejects(device.client.syncOnce(), { code: 'closed' })
  await closing
  t.throws(() => device.client.status(), { code: 'closed' })
})

t.test('two clients on one file send each change once (A19)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone' })
  const twin = createDevice(t, { server, file: device.file, deviceId: 'phone' })
  device.db.exec([1, 2, 3].map(n => author(n)).join(''))
  server.onRequest = async (_, answer) => {
    await new Promise(resolve => setImmediate(resolve))
    return answer()
  }
  server.write('authors', id(9), { id: id(9), name: 'Peer', email: null })
  await Promise.all([device.client.syncOnce(), twin.client.syncOnce()])
  await device.client.syncOnce()
  t.equal(server.log.length, 4)
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
  t.equal(device.all('select count(*) as n from authors')[0]?.['n'], 4)
})

t.test('a column that the server keeps to itself is taken out of what is sent, and the row is not sent again for it', async t => {
  const server = new FakeServer()
  server.onRequest = async ({ path }, answer) => {
    const answered = await answer().text()
    if (path !== '/upload') return reply(200, answered)
    const body = JSON.parse(answered) as { statuses: Array<Record<string, unknown>> }
    const changes = server.uploads.at(-1)?.changes ?? []
    for (const [i, status] of body.statuses.entries()) {
      const change = changes[i]
      if (change === undefined || status['status'] !== 'applied') continue
      const { body: _, ...payload } = server.payload(change.table, change.pk) ?? {}
      status['server_row'] = { schema_name: 'business', table_name: change.table, id: change.pk, server_version: status['new_server_version'], deleted: false, payload }
    }
    return reply(200, JSON.stringify(body))
  }
  const device = createDevice(t, { server })
  device.db.exec(`insert into posts (id, title, body) values ('${id(1)}', 'a', 'mine alone')`)
  t.match(await device.client.uploadOnce(), { sent: 1, applied: 1, pending: 0 })
  t.match(await device.client.uploadOnce(), { sent: 0, pending: 0 })
  t.strictSame(device.all('select title, body from posts'), [{ title: 'a', body: 'mine alone' }])
  t.strictSame(device.pending(), [])
})
