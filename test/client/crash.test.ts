// D1, D2, D3, D7, B2: the device dies at every driver call that may write and at every network exchange of a scripted day, starts
// again, and ends as if nothing had happened.
import t, { type Test } from 'tap'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { Crash, mortal, picture } from './mortal.js'

/** The world before the day: two synced authors, and what happened to them on both sides since. */
async function prepare (t: Test): Promise<{ server: FakeServer, device: Device, file: string }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone', uploadBatchSize: 3 })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', 'one@x'), ('${id(2)}', 'Two', 'two@x'), ('${id(3)}', 'Three', 'three@x')`)
  await device.client.syncOnce()
  server.pageSize = 2
  server.write('authors', id(1), { id: id(1), name: 'One', email: 'new@x' }) // merges with a local edit of the name
  server.write('authors', id(2), { id: id(2), name: 'Zwei', email: 'two@x' }) // conflicts
  server.write('posts', id(11), { id: id(11), title: 'Child first', body: null, author_id: id(4) })
  server.write('authors', id(4), { id: id(4), name: 'Four', email: 'three@x' }) // takes the value that Three gives up
  server.write('authors', id(3), { id: id(3), name: 'Three', email: 'drei@x' })
  device.db.exec(`
    update authors set name = 'Eins' where id = '${id(1)}';
    update authors set name = 'Deux' where id = '${id(2)}';
    insert into posts values ('${id(21)}', 'A', 'a', '${id(1)}'), ('${id(22)}', 'B', 'b', '${id(2)}'), ('${id(23)}', 'Refused', null, null);
    insert into posts values ('${id(24)}', 'Gone', null, null);
  `)
  server.refuse = change => change.pk === id(23) ? { reason: 'rejected', message: 'No.' } : null
  return { server, device, file: device.file }
}

t.test('the fault-free day', async t => {
  const { server, device } = await prepare(t)
  await device.client.syncOnce()
  t.same(device.all('select id, name, email from authors order by id'), [
    { id: id(1), name: 'Eins', email: 'new@x' }, { id: id(2), name: 'Zwei', email: 'two@x' },
    { id: id(3), name: 'Three', email: 'drei@x' }, { id: id(4), name: 'Four', email: 'three@x' }
  ])
  t.same(server.payload('authors', id(1)), { id: id(1), name: 'Eins', email: 'new@x' })
  t.match(device.client.status(), { pending: 0, outbox: 0, held: 1, shadow: 0, conflicts: 1 })
  t.equal(device.all('select count(*) as n from posts')[0]?.['n'], 5)
})

t.test('a crash at any driver call that may write changes nothing of how the day ends (D1, D2, D3)', async t => {
  const clean = await prepare(t)
  await clean.device.client.syncOnce()
  const expected = picture(clean.server, clean.device)
  let crashes = 0
  for (let n = 1; ; n++) {
    const { server, device } = await prepare(t)
    const clock = { left: Infinity }
    const doomed = device.reopen({ wrap: driver => mortal(driver, clock) })
    clock.left = n
    let died = false
    try {
      await doomed.client.syncOnce()
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      died = true
    }
    if (!died) break
    crashes++
    const reborn = doomed.reopen({ wrap: driver => driver })
    await reborn.client.syncOnce()
    const found = picture(server, reborn)
    if (!t.same(found, expected, `after a crash at call ${n}`)) return
    const sent = server.log.map(entry => `${entry.source}#${entry.id}`)
    if (new Set(sent).size !== sent.length) return t.fail(`a change was logged twice after a crash at call ${n}`)
    reborn.db.close()
  }
  t.ok(crashes > 100, `${crashes} crashes`)
})

t.test('a request or a reply that is lost, at any exchange (B1, B2, B4)', async t => {
  const clean = await prepare(t)
  await clean.device.client.syncOnce()
  const expected = picture(clean.server, clean.device)
  for (const kind of ['request', 'reply', 'cut', 'unavailable'] as const) {
    for (let n = 1; ; n++) {
      const { server, device } = await prepare(t)
      let left = n
      server.onRequest = (_, answer) => {
        if (--left !== 0) return answer()
        if (kind === 'request') throw new TypeError('fetch failed')
        if (kind === 'unavailable') return new Response('{"error":"unavailable","message":"Later."}', { status: 503, headers: { 'content-type': 'application/json' } })
        const response = answer()
        if (kind === 'cut') return response.text().then(text => new Response(text.slice(0, text.length >> 1), { headers: { 'content-type': 'application/json' } }))
        throw new TypeError('socket hang up')
      }
      const again = device.reopen()
      let failed = false
      await again.client.syncOnce().catch(() => { failed = true })
      if (!failed) {
        t.ok(n > 3, `${n - 1} exchanges`)
        break
      }
      await again.client.syncOnce()
      if (!t.same(picture(server, again), expected, `${kind} ${n} lost`)) return
      again.db.close()
    }
  }
})
