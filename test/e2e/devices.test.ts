import { randomUUID } from 'node:crypto'
import t from 'tap'
import { createWorld, expectConverged, syncUntilQuiet, type Fate } from './world.js'

t.test('rows made offline on two devices are on both after they sync, and on a third that joins late', async t => {
  const world = await createWorld(t)
  const [phone, tablet] = [world.device('phone'), world.device('tablet')]
  const ada = randomUUID()
  phone.db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(ada)
  phone.db.prepare("insert into posts values (?, 'Letter', null, ?, 1, 2)").run(randomUUID(), ada)
  tablet.db.prepare("insert into users values (?, 'Grace', 'grace@example.com', null, null)").run(randomUUID())
  await syncUntilQuiet([phone, tablet])
  const laptop = world.device('laptop')
  await laptop.sync.syncOnce()
  t.strictSame(laptop.db.prepare('select name from users order by name').pluck().all(), ['Ada', 'Grace'])
  await expectConverged(t, world, [phone, tablet, laptop])
})

t.test('edits of different columns of one row both survive', async t => {
  const world = await createWorld(t)
  const [phone, tablet] = [world.device('phone'), world.device('tablet')]
  const id = randomUUID()
  phone.db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(id)
  await syncUntilQuiet([phone, tablet])
  phone.db.prepare("update users set name = 'Ada Lovelace'").run()
  tablet.db.prepare("update users set email = 'ada@analytical.example'").run()
  await syncUntilQuiet([phone, tablet])
  t.strictSame(phone.db.prepare('select name, email from users').get(), { name: 'Ada Lovelace', email: 'ada@analytical.example' })
  await expectConverged(t, world, [phone, tablet])
})

t.test('a conflict on one column goes to the server under serverWins, to the device under clientWins, and is recorded', async t => {
  for (const [rule, winner] of [['serverWins', 'first'], ['clientWins', 'second']] as const) {
    const world = await createWorld(t)
    const options = { tables: ['posts', 'users', 'files', 'file_reviews', 'typed_rows'].map(table => ({ table, conflict: rule })) }
    const [first, second] = [world.device('first', options), world.device('second', options)]
    first.db.prepare("insert into posts (id, title) values (?, 'title')").run(randomUUID())
    await syncUntilQuiet([first, second])
    first.db.prepare("update posts set title = 'first'").run()
    second.db.prepare("update posts set title = 'second'").run()
    await syncUntilQuiet([first, second])
    t.equal(first.db.prepare('select title from posts').pluck().get(), winner, rule)
    t.equal(second.sync.conflicts().length, 1, 'the device that lost the race has one decision on record')
    t.equal(first.sync.conflicts().length, 0)
    await expectConverged(t, world, [first, second])
  }
})

t.test('J1: a deletion against an edit ends the same on both devices, in both orders', async t => {
  for (const deletesFirst of [true, false]) {
    const world = await createWorld(t)
    const [one, two] = [world.device('one'), world.device('two')]
    one.db.prepare("insert into posts (id, title) values (?, 'title')").run(randomUUID())
    await syncUntilQuiet([one, two])
    one.db.prepare('delete from posts').run()
    two.db.prepare("update posts set title = 'edited'").run()
    await syncUntilQuiet(deletesFirst ? [one, two] : [two, one])
    t.equal(one.db.prepare('select count(*) from posts').pluck().get(), deletesFirst ? 0 : 1)
    await expectConverged(t, world, [one, two])
  }
})

t.test('B2, B6: lost replies and double deliveries change nothing', async t => {
  for (const fate of ['lose request', 'lose reply', 'deliver twice', 'deliver twice at once'] as Fate[]) {
    const world = await createWorld(t)
    const [phone, tablet] = [world.device('phone'), world.device('tablet')]
    for (const device of [phone, tablet]) {
      const seen = new Set<string>()
      // The first delivery of each request meets its fate, the next one gets through.
      device.fate = (method, body) => {
        const request = method + (body ?? '')
        if (seen.has(request)) return 'deliver'
        seen.add(request)
        return fate
      }
    }
    const author = randomUUID()
    phone.db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(author)
    for (let i = 0; i < 5; i++) phone.db.prepare('insert into posts (id, title, author_id) values (?, ?, ?)').run(randomUUID(), `post ${i}`, author)
    for (let attempt = 0; attempt < 8; attempt++) {
      for (const device of [phone, tablet]) await device.sync.syncOnce().catch((error: Error & { code?: string }) => { t.equal(error.code, 'network', error.message) })
      phone.db.prepare('update users set updated_at = ?').run(attempt)
    }
    for (const device of [phone, tablet]) device.fate = () => 'deliver'
    await syncUntilQuiet([phone, tablet])
    t.equal(phone.db.prepare('select count(*) from posts').pluck().get(), 5, fate)
    await expectConverged(t, world, [phone, tablet])
  }
})

t.test('A20: an edit made while its row is being uploaded is kept and goes up later', async t => {
  const world = await createWorld(t)
  const phone = world.device('phone')
  const id = randomUUID()
  phone.db.prepare("insert into posts (id, title) values (?, 'first')").run(id)
  let edits = 0
  phone.fate = (_method, body) => {
    if (body?.includes('source_change_id') === true && edits++ === 0) phone.db.prepare("update posts set title = 'second'").run()
    return 'deliver'
  }
  await phone.sync.uploadOnce()
  t.equal(phone.db.prepare('select title from posts').pluck().get(), 'second', 'the edit stays visible')
  await syncUntilQuiet([phone])
  t.strictSame([...await world.sql`select version::int, payload ->> 'title' as title from sync.changes order by server_id`], [{ version: 1, title: 'first' }, { version: 2, title: 'second' }])
  await expectConverged(t, world, [phone])
})

t.test('A21: a row that is deleted while its INSERT is under way, or after its reply was lost, ends deleted everywhere', async t => {
  for (const losesReply of [false, true]) {
    const world = await createWorld(t)
    const [phone, tablet] = [world.device('phone'), world.device('tablet')]
    phone.db.prepare("insert into posts (id, title) values (?, 'short-lived')").run(randomUUID())
    let uploads = 0
    phone.fate = (_method, body) => {
      if (body?.includes('source_change_id') !== true || uploads++ > 0) return 'deliver'
      phone.db.prepare('delete from posts').run()
      return losesReply ? 'lose reply' : 'deliver'
    }
    await phone.sync.uploadOnce().catch(() => {})
    await syncUntilQuiet([phone, tablet])
    t.strictSame([...await world.sql`select op from sync.changes order by server_id`].map(row => row['op']), ['INSERT', 'DELETE'])
    await expectConverged(t, world, [phone, tablet])
  }
})

t.test('int64, decimals of 30 digits, doubles, JSON and blobs arrive to the last digit', async t => {
  const world = await createWorld(t)
  const [phone, tablet] = [world.device('phone'), world.device('tablet')]
  const rows: Array<[string, string | null, string | null, number | null, number | null, string | null, string | null, Buffer | null]> = [
    [randomUUID(), '9223372036854775807', '123456789012345678901234567890.123456789', 1, 0.1 + 0.2, '{"a":[1,2,9007199254740993]}', 'note', Buffer.from([0, 1, 254, 255])],
    [randomUUID(), '-9223372036854775808', '-0.000000000000000000000000000001', 0, 5e-324, '[]', '', Buffer.alloc(0)],
    [randomUUID(), '9007199254740993', '1e30', 0, 1.7976931348623157e308, '"null"', 'é ≠ é, 😀, "quoted", \\, \n', Buffer.from('00', 'hex')],
    [randomUUID(), null, null, null, null, null, null, null]
  ]
  const insert = phone.db.prepare('insert into typed_rows values (?, cast(? as integer), ?, ?, ?, ?, ?, ?)')
  for (const row of rows) insert.run(...row)
  await syncUntilQuiet([phone, tablet])
  const read = (device: typeof phone) => device.db.prepare('select id, quote(big), quote(dec), quote(flag), quote(ratio), quote(doc), quote(note), quote(blob) from typed_rows order by id').raw().all()
  t.strictSame(read(tablet), read(phone))
  t.equal(read(tablet).length, rows.length)
  const server = await world.sql`select big::text, dec::text, ratio::text from business.typed_rows where id = ${rows[0]?.[0] as string}`
  t.strictSame(server[0], { big: '9223372036854775807', dec: '123456789012345678901234567890.123456789', ratio: '0.30000000000000004' })
})

t.test('A24, I5: a second user sees nothing, and cannot take a key that is in use', async t => {
  const world = await createWorld(t)
  const alice = world.device('phone')
  const bob = world.device('phone', { user: 'bob', deviceId: alice.sync.status().deviceId })
  const id = randomUUID()
  alice.db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(id)
  await alice.sync.syncOnce()
  await bob.sync.syncOnce()
  t.equal(bob.db.prepare('select count(*) from users').pluck().get(), 0)
  bob.db.prepare("insert into users values (?, 'Mallory', 'mallory@example.com', 1, 2)").run(id)
  bob.db.prepare("insert into users values (?, 'Bob', 'bob@example.com', 1, 2)").run(randomUUID())
  await bob.sync.syncOnce()
  t.strictSame(bob.sync.held().map(({ reason }) => reason), ['not_owner'], 'the taken key is held, its neighbour went in')
  t.strictSame([...await world.sql`select name from business.users order by name`].map(row => row['name']), ['Ada', 'Bob'])
  bob.db.prepare('delete from users where id = ?').run(id)
  await syncUntilQuiet([alice, bob])
  await expectConverged(t, world, [alice, bob])
})

t.test('K1: children that went up before their parent are sent again once it is there, by themselves', async t => {
  const world = await createWorld(t)
  const phone = world.device('phone', { uploadBatchSize: 1 })
  phone.db.pragma('foreign_keys = off')
  const author = randomUUID()
  for (let i = 0; i < 3; i++) phone.db.prepare('insert into posts (id, title, author_id) values (?, ?, ?)').run(randomUUID(), `post ${i}`, author)
  phone.db.prepare("insert into users values (?, 'Late', 'late@example.com', 1, 2)").run(author)
  await syncUntilQuiet([phone])
  await expectConverged(t, world, [phone])
})

t.test('D20: many rows in one transaction go up and come down in bounded batches and pages', async t => {
  const world = await createWorld(t)
  const [phone, tablet] = [world.device('phone', { uploadBatchSize: 100 }), world.device('tablet', { downloadLimit: 64 })]
  phone.db.transaction(() => {
    const author = randomUUID()
    const post = phone.db.prepare('insert into posts (id, title, author_id) values (?, ?, ?)')
    phone.db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(author)
    for (let i = 0; i < 1000; i++) post.run(randomUUID(), `post ${i}`, author)
  })()
  await syncUntilQuiet([phone, tablet])
  t.equal(tablet.db.prepare('select count(*) from posts').pluck().get(), 1000)
  await expectConverged(t, world, [phone, tablet])
})
