// Uploads of one drain, one behind the other: what follows is frozen and sent before the verdicts over a batch are written down.
import t, { type Test } from 'tap'
import { DriverError, type Fetch } from '../../client/index.js'
import { createDevice, id, type Device } from './device.js'
import { FakeServer, reply } from './fake-server.js'
import { Crash, mortal, picture } from './mortal.js'
import { Unanswered } from './unanswered.js'

/** Seven rows to send, two a batch. `onUpload` is called before each upload with changes is answered, with its number. */
function build (t: Test, onUpload: (n: number, device: Device, init: RequestInit) => void | Promise<void> = () => {}): { server: FakeServer, device: Device } {
  const server = new FakeServer()
  let uploads = 0
  const fetch: Fetch = async (url, init) => {
    if (String(init.body).includes('"changes":[{')) await onUpload(++uploads, device, init)
    return await server.fetch(url, init)
  }
  const device = createDevice(t, { server, fetch, deviceId: 'phone', uploadBatchSize: 2 })
  for (let n = 1; n <= 7; n++) device.db.exec(`insert into authors values ('${id(n)}', 'Author ${n}', null)`)
  return { server, device }
}

const outbox = (device: Device): unknown[] => device.all('select source_change_id as id from _sync_outbox order by 1').map(row => row['id'])
const sentIds = (server: FakeServer): number[][] => server.uploads.map(({ changes }) => changes.map(change => change.id)).filter(ids => ids.length > 0)

t.test('once all of a batch was applied the next is frozen and sent before the verdicts are written down', async t => {
  const frozen: unknown[][] = []
  const { server, device } = build(t, (_, device) => { frozen.push(outbox(device)) })
  t.match(await device.client.syncOnce(), { upload: { sent: 7, applied: 7, pending: 0 }, rounds: 1, drained: true })
  t.same(frozen, [[1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7]])
  t.same(sentIds(server), [[1, 2], [3, 4], [5, 6], [7]])
  t.same(outbox(device), [])
})

t.test('one upload by itself freezes and sends its batch and no other', async t => {
  const { server, device } = build(t)
  t.match(await device.client.uploadOnce(), { sent: 2, applied: 2, pending: 5 })
  t.same(sentIds(server), [[1, 2]])
  t.same(outbox(device), [])
})

t.test('a crash at any driver call that may write changes nothing of how it ends, and no change is logged twice', async t => {
  const clean = build(t)
  await clean.device.client.syncOnce()
  const expected = picture(clean.server, clean.device)
  const held: number[] = []
  for (let n = 1; ; n++) {
    const { server, device } = build(t)
    const clock = { left: Infinity }
    const doomed = device.reopen({ wrap: driver => mortal(driver, clock) })
    clock.left = n
    try {
      await doomed.client.syncOnce()
      break
    } catch (error) {
      if (!(error instanceof Crash)) throw error
    }
    const reborn = doomed.reopen({ wrap: driver => driver })
    held.push(outbox(reborn).length)
    await reborn.client.syncOnce()
    if (!t.same(picture(server, reborn), expected, `after a crash at call ${n}`)) return
    t.same(server.log.map(entry => entry.id), [1, 2, 3, 4, 5, 6, 7])
    reborn.db.close()
  }
  t.ok(held.filter(rows => rows > 2).length > 10, 'often with two batches in the outbox')
})

t.test('a request or a reply that is lost: what was heard stays, the rest goes again byte for byte', async t => {
  for (const isHeard of [false, true]) {
    for (let lost = 1; lost <= 4; lost++) {
      const bodies: string[] = []
      const { server, device } = build(t, async (n, _, init) => {
        bodies.push(String(init.body).slice(String(init.body).indexOf('"changes"')))
        if (n !== lost) return
        if (isHeard) await server.fetch('http://server.test/sync/upload', init)
        throw new TypeError('lost')
      })
      await t.rejects(device.client.syncOnce(), { code: 'network' })
      t.equal(device.all('select count(*) as n from _sync_row')[0]?.['n'], (lost - 1) * 2)
      await device.client.syncOnce()
      t.equal(bodies[lost], bodies[lost - 1])
      t.same(server.log.map(entry => entry.id), [1, 2, 3, 4, 5, 6, 7])
    }
  }
})

t.test('what was edited while its batch was frozen ahead is a change of its own, later', async t => {
  const { server, device } = build(t, (n, device) => {
    if (n === 2) device.db.exec(`update authors set name = 'Edited' where id in ('${id(1)}', '${id(3)}', '${id(7)}')`)
  })
  t.match(await device.client.syncOnce(), { upload: { applied: 9, conflicts: 0 }, drained: true })
  t.same(server.uploads.flatMap(({ changes }) => changes.map(({ op, pk }) => `${op} ${Number(pk.slice(-2))}`)),
    ['INSERT 1', 'INSERT 2', 'INSERT 3', 'INSERT 4', 'INSERT 5', 'INSERT 6', 'INSERT 7', 'UPDATE 1', 'UPDATE 3'])
  for (const n of [1, 3, 7]) t.match(server.payload('authors', id(n)), { name: 'Edited' })
  t.same(device.client.conflicts(), [])
})

t.test('verdicts that are not plain are acted on before the next batch is sent', async t => {
  const frozen: unknown[][] = []
  const { server, device } = build(t, (_, device) => { frozen.push(outbox(device)) })
  server.refuse = change => change.pk === id(2) ? { reason: 'rejected', message: 'No.' } : null
  t.match(await device.client.syncOnce(), { upload: { applied: 6, held: 1 } })
  t.same(frozen.slice(0, 3), [[1, 2], [3, 4], [3, 4, 5, 6]])
})

t.test('a copy of the file whose ids come to light sends nothing more under them', async t => {
  const { server, device } = build(t, n => { if (n === 1) server.claimIds('phone', 100) })
  await device.client.syncOnce()
  const sources = server.uploads.filter(({ changes }) => changes.length > 0).map(({ source }) => source)
  t.equal(sources[0], 'phone')
  t.ok(sources.slice(1).every(source => source !== 'phone'), sources.join())
  t.equal(device.client.status().pending, 0)
})

t.test('a batch that is too large is halved, and what was frozen behind it keeps its place', async t => {
  const { server, device } = build(t)
  server.onRequest = ({ body }, answer) => (body?.match(/"pk"/g)?.length ?? 0) > 1 ? reply(413, '{"error":"body_too_large","message":"Too large."}') : answer()
  t.match(await device.client.syncOnce(), { upload: { applied: 7, held: 0 }, drained: true })
  t.same(server.log.map(entry => entry.id), [1, 2, 3, 4, 5, 6, 7])
})

t.test('a batch ends at 4 MiB, also where the next one is in the outbox already', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server })
  device.db.exec("insert into posts select printf('00000000-0000-4000-8000-%012d', value), 'Long', printf('%.*c', 1500000, 'x'), null from json_each('[1,2,3,4,5,6,7]')")
  t.match(await device.client.syncOnce(), { upload: { applied: 7 } })
  t.same(sentIds(server), [[1, 2, 3], [4, 5, 6], [7]])
})

t.test('closing the client ends the request that was sent before its turn', async t => {
  const ahead = new Unanswered()
  const { device } = build(t, (n, device, init) => {
    if (n !== 3) return
    device.client.close().catch(t.error)
    return ahead.request(init)
  })
  await t.rejects(device.client.syncOnce(), { code: 'aborted' })
  t.equal(ahead.isAborted, true)
  t.same(outbox(device), [5, 6], 'what was heard before is written down')
})

t.test('where verdicts cannot be written down, the request behind them ends with the call', async t => {
  const ahead = new Unanswered()
  const { device } = build(t, (n, _, init) => {
    if (n !== 2) return
    device.db.exec("create temp trigger full before delete on main._sync_outbox begin select raise(abort, 'Full.'); end")
    return ahead.request(init)
  })
  await t.rejects(device.client.syncOnce(), { code: 'constraint' })
  t.equal(ahead.isAborted, true)
  t.same(outbox(device), [1, 2, 3, 4])
})

t.test('a child that a conflict brings back goes up before the deletion of the parent that it has left (P1, P13)', async t => {
  const server = new FakeServer()
  const [left, joined, filler, child] = [id(1), id(2), id(3), id(4)]
  for (const author of [left, joined]) server.write('authors', author, { id: author, name: 'A', email: null })
  for (const [post, author] of [[filler, joined], [child, left]] as const) server.write('posts', post, { id: post, title: 'Old', body: null, author_id: author })
  const device = createDevice(t, { server, uploadBatchSize: 2 })
  await device.client.syncOnce()
  server.write('posts', child, { id: child, title: 'A peer was here', body: null, author_id: left })
  device.db.exec(`update posts set author_id = '${joined}' where id = '${child}'; update posts set body = 'New' where id = '${filler}'; delete from authors where id = '${left}'`)
  await device.client.syncOnce()
  t.same(server.uploads.flatMap(({ changes }) => changes.map(({ op, pk }) => `${op} ${Number(pk.slice(-2))}`)), ['UPDATE 4', 'UPDATE 3', 'UPDATE 4', 'DELETE 1'])
  t.match(server.payload('posts', child), { title: 'A peer was here', author_id: joined })
})

t.test('where there is no room for a second batch in the outbox, one goes after the other (D7)', async t => {
  const server = new FakeServer()
  const device = createDevice(t, { server, uploadBatchSize: 2 })
  await device.client.syncOnce()
  for (let n = 1; n <= 8; n++) device.db.exec(`insert into posts values ('${id(n)}', 'Long', printf('%.*c', 200000, 'x'), null)`)
  const pages = device.db.pragma('page_count', { simple: true }) as number
  const size = device.db.pragma('page_size', { simple: true }) as number
  device.db.pragma(`max_page_count = ${pages + Math.ceil(1_500_000 / size)}`)
  const { upload } = await device.client.syncOnce()
  t.match(upload, { applied: 8, pending: 0 })
})

t.test('where another process has the file when a batch is to be frozen ahead, the verdicts are written down first', async t => {
  const frozen: unknown[][] = []
  let isHeld = false
  const { device } = build(t, n => {
    isHeld = n === 1
    frozen.push(outbox(reopened))
  })
  const reopened = device.reopen({
    wrap: driver => ({
      ...mortal(driver, { left: Infinity }),
      get inTransaction () { return driver.inTransaction },
      all (sql, params) {
        if (isHeld && sql.includes('from _sync_outbox where source_change_id > ? and is_waiting = 0') && params?.[0] === 2) throw new DriverError('busy', 'The file is locked.')
        return driver.all(sql, params)
      }
    })
  })
  t.match(await reopened.client.syncOnce(), { upload: { applied: 7 } })
  t.same(frozen, [[1, 2], [3, 4], [3, 4, 5, 6], [5, 6, 7]])
})
