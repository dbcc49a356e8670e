// F1, G1, G3, G4, K1, K3, K8, P18: rows that were set aside: shown, retried, edited or given up, and never in the way of others.
import t, { type Test } from 'tap'
import { createDevice, type Device, id, SCHEMA, withoutLock } from './device.js'
import { FakeServer, reply, type Refusal } from './fake-server.js'

interface Scene { device: Device, server: FakeServer }

const author = (n: number, name: string, email: string | null = null): string => `insert into authors values ('${id(n)}', '${name}', ${email === null ? 'null' : `'${email}'`});`
const held = (device: Device): number => device.client.held()[0]?.id ?? -1
const authors = (device: Device): unknown => device.all('select name, email from authors order by id')

/** Reasons of the server that concern one change, those that are not invented yet included. */
const REASONS: Array<[string, Record<string, unknown> | undefined]> = [
  ['bad_payload', undefined], ['unregistered_table', undefined], ['fk_missing', { missing: [`business.authors:${id(99)}`] }], ['fk_missing', undefined], ['internal_error', undefined],
  ['constraint_violation', { constraint: 'authors_email_key', column: 'email', sqlstate: '23505' }], ['not_owner', undefined], ['rejected', { by: 'the app' }], ['read_only', undefined],
  ['a_reason_of_the_future', { why: ['not', 'known'] }], ['', undefined]
]

/** Row 1 is in step and changed by `change`, which the server refuses; row 9 is a neighbour that it takes. */
async function refused (t: Test, refusal: Refusal, change: string): Promise<Scene> {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(author(1, 'base', 'base@x'))
  await device.client.syncOnce()
  server.refuse = ({ pk }) => pk === id(9) ? null : refusal
  device.db.exec(change + author(9, 'neighbour'))
  const report = await device.client.syncOnce()
  t.match(report, { upload: { applied: 1, held: 1 }, drained: true })
  return { device, server }
}

const CHANGES = {
  edit: { sql: "update authors set name = 'bad';", row: [{ name: 'bad', email: 'base@x' }], server: { name: 'base', email: 'base@x' }, again: `update authors set name = 'better' where id = '${id(1)}'` },
  insert: { sql: author(2, 'bad'), row: [{ name: 'base', email: 'base@x' }, { name: 'bad', email: null }], server: null, again: `update authors set name = 'better' where id = '${id(2)}'` },
  deletion: { sql: 'delete from authors;', row: [], server: { name: 'base', email: 'base@x' }, again: author(1, 'better', 'base@x') }
} as const

for (const [kind, { sql, row, server: known, again }] of Object.entries(CHANGES)) {
  t.test(`an ${kind} that is refused is shown with its reason, whatever that is, and can be retried, edited or given up (F1)`, async t => {
    const key = kind === 'insert' ? id(2) : id(1)
    const neighbour = { name: 'neighbour', email: null }
    for (const [reason, details] of REASONS) {
      const refusal: Refusal = { reason, message: 'No.', ...(details === undefined ? {} : { details }) }
      const name = `${kind}, ${reason}`
      const { device, server } = await refused(t, refusal, sql)
      t.match(device.client.held(), [{ table: 'authors', key, reason, message: 'No.', details: details ?? null, server: known, attempts: 0, since: /^\d{4}-/ }], name)
      t.strictSame(authors(device), [...row, neighbour], `${name}: what the user did stays`)
      t.ok(server.payload('authors', id(9)), `${name}: the neighbour went up`)
      const uploads = server.uploads.length
      await device.client.syncOnce()
      t.ok(server.uploads.length <= uploads + 1, `${name}: it is not sent for ever`)

      t.equal(device.client.retryHeld(held(device)), 1, name)
      await device.client.syncOnce()
      t.match(device.client.held(), [{ reason, key }], `${name}: refused again`)

      server.refuse = () => null
      t.equal(device.client.retryHeld(held(device)), 1, name)
      await device.client.syncOnce()
      t.match(device.client.status(), { held: 0, pending: 0, outbox: 0 }, `${name}: taken in the end`)
      t.equal(server.payload('authors', key)?.['name'] ?? null, kind === 'deletion' ? null : 'bad', name)

      const edited = await refused(t, refusal, sql)
      edited.server.refuse = () => null
      edited.device.db.exec(again)
      await edited.device.client.syncOnce()
      t.match(edited.device.client.status(), { held: 0, pending: 0, outbox: 0, conflicts: 0 }, `${name}: edited`)
      t.match(edited.server.payload('authors', key), { name: 'better' }, name)

      const given = await refused(t, refusal, sql)
      t.equal(given.device.client.discardHeld(held(given.device)), true, name)
      t.strictSame(authors(given.device), [{ name: 'base', email: 'base@x' }, neighbour], `${name}: the server's row again`)
      const sent = given.server.log.length
      await given.device.client.syncOnce()
      t.match(given.device.client.status(), { held: 0, pending: 0, outbox: 0, shadow: 0 }, `${name}: given up`)
      t.equal(given.server.log.length, sent, `${name}: and nothing is sent`)
      t.equal(given.device.client.discardHeld(1), false, 'it is no longer held')
    }
  })
}

t.test('a refused row that the server changes meanwhile is merged with it and tried again', async t => {
  for (const [reason] of REASONS) {
    const { device, server } = await refused(t, { reason }, "update authors set name = 'bad';")
    server.refuse = () => null
    server.write('authors', id(1), { id: id(1), name: 'base', email: 'peer@x' })
    await device.client.syncOnce()
    t.match(server.payload('authors', id(1)), { name: 'bad', email: 'peer@x' }, reason)
    t.match(device.client.status(), { held: 0, pending: 0, conflicts: 0 }, reason)
  }
  const deleted = await refused(t, { reason: 'rejected' }, 'delete from authors;')
  deleted.server.write('authors', id(1), null)
  await deleted.device.client.syncOnce()
  t.match(deleted.device.client.status(), { held: 0, pending: 0, conflicts: 0 }, 'a deletion that another device made too is settled')
})

t.test('a child whose parent never goes up stays held and shown; once it does, it follows by itself (K1)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  let isTaken = false
  server.refuse = ({ table, payload }) => {
    if (table === 'authors') return isTaken ? null : { reason: 'rejected' }
    return server.payload('authors', (JSON.parse(payload as string) as { author_id: string }).author_id) == null ? { reason: 'fk_missing' } : null
  }
  device.db.exec(`${author(1, 'parent')} insert into posts values ('${id(2)}', 'child', null, '${id(1)}')`)
  for (let i = 0; i < 3; i++) await device.client.syncOnce()
  t.equal(server.uploads.length, 1, 'without a parent there is nothing to try')
  t.match(device.client.held(), [{ table: 'authors', reason: 'rejected' }, { table: 'posts', reason: 'fk_missing' }])
  const after = device.reopen()
  t.equal(after.client.held().length, 2, 'also after a restart')
  isTaken = true
  after.client.retryHeld(held(after))
  await after.client.syncOnce()
  t.match(after.client.status(), { held: 0, pending: 0 })
  t.ok(server.payload('posts', id(2)))
})

t.test('giving up a parent leaves its children held until they are given up too (K3)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.refuse = ({ table }) => table === 'authors' ? { reason: 'rejected' } : { reason: 'fk_missing' }
  device.db.exec(`pragma foreign_keys = on; ${author(1, 'parent')} insert into posts values ('${id(2)}', 'child', null, '${id(1)}')`)
  await device.client.syncOnce()
  t.equal(device.client.discardHeld(held(device)), true)
  t.strictSame(device.all('select title from posts'), [{ title: 'child' }], 'no cascade takes the user\'s work')
  t.match(device.client.held(), [{ table: 'posts', reason: 'fk_missing' }])
  await device.client.syncOnce()
  t.equal(server.log.length, 0)
  t.equal(device.client.discardHeld(held(device)), true)
  t.strictSame(device.all('select * from posts'), [])
  t.match(device.client.status(), { held: 0, pending: 0, shadow: 0 })
})

t.test('giving up the move of a child to a parent that does not exist takes it back to its old one, and back into sight', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec(`${author(1, 'old')} insert into posts values ('${id(2)}', 'child', null, '${id(1)}')`)
  await device.client.syncOnce()
  server.refuse = () => ({ reason: 'fk_missing' })
  device.db.exec(`pragma foreign_keys = off; update posts set author_id = '${id(3)}'; pragma foreign_keys = on`)
  await device.client.syncOnce()
  server.write('authors', id(1), null)
  await device.client.syncOnce()
  device.client.discardHeld(held(device))
  t.strictSame(device.all('select * from posts'), [], 'its old parent went meanwhile: it waits')
  t.match(device.client.shadow(), [{ table: 'posts', reason: 'dangling' }])
  server.write('authors', id(1), { id: id(1), name: 'again', email: null })
  await device.client.syncOnce()
  t.strictSame(device.all('select author_id from posts'), [{ author_id: id(1) }])
  t.match(device.client.status(), { held: 0, shadow: 0, pending: 0 })
})

t.test('a row whose old unique value was taken here meanwhile waits for room when its edit is given up', async t => {
  const { device, server } = await refused(t, { reason: 'rejected' }, "update authors set email = 'moved@x';")
  server.refuse = () => null
  device.db.exec(author(3, 'squatter', 'base@x'))
  t.equal(device.client.discardHeld(held(device)), true)
  t.match(device.client.shadow(), [{ key: id(1), version: 1, reason: 'unique' }])
  t.strictSame(authors(device), [{ name: 'squatter', email: 'base@x' }, { name: 'neighbour', email: null }])
  device.db.exec(`update authors set email = 'other@x' where id = '${id(3)}'`)
  await device.client.syncOnce()
  t.strictSame(authors(device), [{ name: 'base', email: 'base@x' }, { name: 'squatter', email: 'other@x' }, { name: 'neighbour', email: null }])
  t.match(device.client.status(), { held: 0, shadow: 0, pending: 0 })
})

t.test('a row that waits for room can be given up for the server\'s row, which is shown (K8)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  server.write('authors', id(1), { id: id(1), name: 'One', email: 'one@x' })
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'Uno'; ${author(2, 'Two', 'taken@x')}`)
  server.refuse = ({ pk }) => pk === id(2) ? { reason: 'constraint_violation' } : null
  server.write('authors', id(1), { id: id(1), name: 'One', email: 'taken@x' })
  await device.client.syncOnce()
  t.match(device.client.held(), [{ key: id(2), reason: 'constraint_violation', server: null }, { key: id(1), reason: 'server_row_blocked', server: { name: 'One', email: 'taken@x' } }])
  t.equal(device.client.retryHeld(), 2)
  t.match(device.client.held(), [{ key: id(1), reason: 'server_row_blocked' }], 'there is no more room than before')
  t.equal(device.client.discardHeld(held(device)), true)
  t.match(device.client.shadow(), [{ key: id(1), version: 2, reason: 'unique' }], 'the newest row waits, not the one that it replaced')
  t.strictSame(device.all(`select name, email from authors where id = '${id(1)}'`), [{ name: 'One', email: 'one@x' }], 'until then the last one that fits is shown')
  device.db.exec(`delete from authors where id = '${id(2)}'`)
  await device.client.syncOnce()
  t.strictSame(authors(device), [{ name: 'One', email: 'taken@x' }])
  t.match(device.client.status(), { held: 0, shadow: 0, pending: 0 })
})

t.test('constraint_violation is tried once after each sync in which a server row was taken over, and no oftener', async t => {
  const { device, server } = await refused(t, { reason: 'constraint_violation' }, author(2, 'bad', 'x@x'))
  const tries = (): number => server.uploads.filter(({ changes }) => changes.some(({ pk }) => pk === id(2))).length
  await device.client.syncOnce()
  const first = tries()
  for (let i = 0; i < 3; i++) await device.client.syncOnce()
  t.equal(tries(), first, 'nothing happened, nothing is tried')
  for (let i = 1; i <= 3; i++) {
    server.write('authors', id(50 + i), { id: id(50 + i), name: 'peer', email: null })
    await device.client.syncOnce()
    t.equal(tries(), first + i)
  }
  t.match(device.client.held(), [{ attempts: /\d/ }])
})

t.test('a row that is too large alone is held while its neighbours go on, and goes up once it is smaller (G1, G4)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, uploadBatchSize: 16 })
  server.onRequest = ({ body }, answer) => (body?.length ?? 0) > 1_500 ? reply(413, '<html>too large</html>', { 'content-type': 'text/html' }) : answer()
  device.db.exec(Array.from({ length: 15 }, (_, i) => author(i + 1, i === 7 ? 'x'.repeat(2_000) : 'small')).join(''))
  const report = await device.client.syncOnce()
  t.match(report, { drained: true, upload: { applied: 14, held: 1 } })
  t.match(device.client.held(), [{ key: id(8), reason: 'body_too_large', message: /larger than the server takes/ }])
  t.match(device.client.status(), { pending: 0, outbox: 0 })
  const requests = server.uploads.length
  await device.client.syncOnce()
  t.equal(server.uploads.length, requests, 'it is not sent again by itself')
  device.db.exec(`update authors set name = 'smaller' where id = '${id(8)}'`)
  await device.client.syncOnce()
  t.match(server.payload('authors', id(8)), { name: 'smaller' })
  t.match(device.client.status(), { held: 0 })
})

t.test('a batch limit of any size is found by halving (G3)', async t => {
  for (const max of [1, 3, 7]) {
    const server = new FakeServer()
    const device = createDevice(t, { server, uploadBatchSize: 16, deviceId: 'phone' })
    server.onRequest = ({ body }, answer) => {
      const ids = [...(body ?? '').matchAll(/"source_change_id":(\d+)/g)].map(match => match[1] as string)
      if (ids.length <= max) return answer()
      const statuses = ids.map(id => `{"source_change_id":${id},"status":"invalid","message":"m","invalid":{"reason":"batch_too_large"}}`)
      return reply(200, `{"accepted":false,"highest_server_seq":0,"statuses":[${statuses.join(',')}],"epoch":"epoch-1","source_id":"phone","next_source_change_id":${server.nextId('phone')}}`)
    }
    device.db.exec(Array.from({ length: 40 }, (_, i) => author(i + 1, 'n')).join(''))
    t.match(await device.client.syncOnce(), { drained: true, upload: { applied: 40, held: 0 } })
    t.equal(server.rows.size, 40)
    t.ok(server.uploads.every(({ changes }) => changes.length <= max))
  }
})

t.test('a refusal as too large that comes when another process has had the batch judged holds nothing', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, uploadBatchSize: 1 })
  const other = createDevice(t, { server, file: device.file, uploadBatchSize: 1, wrap: withoutLock })
  device.db.exec(author(1, 'one') + author(2, 'two'))
  let isFirst = true
  server.onRequest = async ({ body }, answer) => {
    if (body?.includes('"payload"') !== true || !isFirst) return answer()
    isFirst = false
    await other.client.uploadOnce() // the same batch, judged
    await t.rejects(async () => { server.onRequest = () => { throw new TypeError('lost') }; await other.client.uploadOnce() }) // the next one, frozen
    return reply(413, '{"error":"body_too_large","message":"Too large."}')
  }
  await device.client.uploadOnce()
  t.match(device.client.status(), { held: 0, outbox: 1, pending: 0 })
  server.onRequest = (_, answer) => answer()
  await device.client.syncOnce()
  t.equal(server.rows.size, 2)
})

t.test('a newer row that another process fetched is not lost to a verdict that is older', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  const other = createDevice(t, { server, file: device.file, wrap: withoutLock })
  device.db.exec(author(1, 'base', 'base@x'))
  await device.client.syncOnce()
  server.write('authors', id(1), { id: id(1), name: 'v2', email: 'base@x' })
  device.db.exec("update authors set name = 'mine'")
  server.onRequest = async ({ path, body }, answer) => {
    if (path !== '/upload' || body?.includes('"payload"') !== true) return answer()
    server.onRequest = (_, answer) => answer()
    const late = answer() // conflict with version 2
    server.write('authors', id(1), { id: id(1), name: 'v2', email: 'v3@x' })
    await other.client.downloadOnce() // version 3, while the row is in the outbox
    return late
  }
  await device.client.uploadOnce()
  t.strictSame(authors(device), [{ name: 'v2', email: 'v3@x' }])
  t.match(device.client.status(), { pending: 0, shadow: 0, outbox: 0 })
})

t.test('held rows of a table that this version of the app does not open wait for one that does', async t => {
  const { device } = await refused(t, { reason: 'rejected' }, `insert into posts values ('${id(5)}', 'bad', null, null);`)
  const without = device.reopen({ tables: ['authors'] })
  t.match(without.client.held(), [{ table: 'posts', reason: 'rejected' }])
  t.equal(without.client.discardHeld(held(without)), false)
  t.equal(without.client.held().length, 1)
  const again = without.reopen({ tables: ['authors', 'posts'] })
  t.equal(again.client.discardHeld(held(again)), true)
  t.strictSame(again.all('select * from posts'), [])
})

t.test('a held row that the app deletes, or makes as it was, has nothing left to send', async t => {
  const inserted = await refused(t, { reason: 'rejected' }, author(2, 'bad'))
  inserted.device.db.exec(`delete from authors where id = '${id(2)}'`)
  const edited = await refused(t, { reason: 'rejected' }, "update authors set name = 'bad';")
  edited.device.db.exec(`update authors set name = 'base' where id = '${id(1)}'`)
  for (const { device, server } of [inserted, edited]) {
    const uploads = server.uploads.length
    await device.client.syncOnce()
    t.match(device.client.status(), { held: 0, pending: 0 })
    t.equal(server.uploads.length, uploads)
  }
})

t.test('a server row that has no place is kept aside as the server has it, whatever a trigger of the app makes of it', async t => {
  const server = new FakeServer()
  const sql = `${SCHEMA.replace('name text not null', 'name not null')} create trigger shout after insert on authors when new.name = 'odd' begin update authors set name = x'00' where id = new.id; end;`
  const device = createDevice(t, { server, sql })
  server.write('authors', id(1), { id: id(1), name: 'odd', email: 'one@x' })
  await device.client.syncOnce()
  device.db.exec("update authors set name = 'mine', email = 'moved@x'")
  server.refuse = () => ({ reason: 'rejected' })
  await device.client.syncOnce()
  device.db.exec(author(2, 'squatter', 'one@x'))
  t.equal(device.client.discardHeld(held(device)), true)
  t.strictSame(authors(device), [{ name: 'squatter', email: 'one@x' }])
  t.match(device.client.shadow(), [{ key: id(1), reason: 'unique' }])
  device.db.exec(`update authors set email = null where id = '${id(2)}'`)
  await device.client.syncOnce()
  t.match(device.all('select typeof(name) as type, cast(name as text) as name, email from authors where email is not null'), [{ type: 'text', name: 'odd', email: 'one@x' }])
})

t.test('what is given up does not stay in columns of which the server\'s row says nothing (P15)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  await device.client.syncOnce()
  server.refuse = () => ({ reason: 'rejected', message: 'No.' })
  device.db.exec(`insert into posts (id, title, body) values ('${id(1)}', 'mine', 'refused')`)
  server.write('posts', id(1), { id: id(1), title: 'theirs' }) // an older version of the app, without the column, made it too
  await device.client.syncOnce()
  t.same(device.all('select title, body from posts'), [{ title: 'theirs', body: 'refused' }], 'merged, and refused again')
  t.equal(device.client.discardHeld(held(device)), true)
  t.same(device.all('select title, body from posts'), [{ title: 'theirs', body: null }])
  t.match(device.client.status(), { pending: 0, held: 0, shadow: 0 })
})
