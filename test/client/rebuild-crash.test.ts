import t, { type Test } from 'tap'
import { createDevice, id, type Device } from './device.js'
import { FakeServer } from './fake-server.js'
import { Crash, mortal, picture } from './mortal.js'

/** The server was restored, or has forgotten deletions, while the device was away with work of its own. */
async function prepareRebuild (t: Test, kind: 'history' | 'expired' | 'copy'): Promise<{ server: FakeServer, device: Device }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, deviceId: 'phone', uploadBatchSize: 3 })
  device.db.exec(`insert into authors values ('${id(1)}', 'One', null), ('${id(2)}', 'Two', 'two@x'), ('${id(3)}', 'Three', null);
    insert into posts values ('${id(11)}', 'Post', null, '${id(3)}')`)
  await device.client.syncOnce()
  server.write('authors', id(4), { id: id(4), name: 'Four', email: null })
  device.db.exec(`update authors set name = 'Eins' where id = '${id(1)}'; delete from posts; delete from authors where id = '${id(3)}'`)
  await device.client.syncOnce()
  device.db.exec(`update authors set name = 'unheard' where id = '${id(1)}'; insert into authors values ('${id(5)}', 'Five', null)`)
  server.onRequest = ({ body }, answer) => {
    if (body?.includes('"payload"') === true) {
      if (kind !== 'history') answer()
      throw new TypeError('lost')
    }
    return answer()
  }
  await device.client.uploadOnce().catch(() => {})
  server.onRequest = (_, answer) => answer()
  device.db.exec(`update authors set email = 'later@x' where id = '${id(1)}'`)
  server.pageSize = 2
  if (kind === 'history') {
    server.restore(4, 'epoch-2')
    server.write('authors', id(2), { id: id(2), name: 'Zwei', email: 'two@x' })
  } else if (kind === 'expired') {
    server.write('authors', id(2), null)
    server.write('authors', id(6), { id: id(6), name: 'Six', email: null })
    server.compact(server.head - 1)
  } else {
    server.claimIds('phone', 90)
  }
  return { server, device }
}

t.test('a crash at any driver call of a rebuild that may write changes nothing of how it ends (J7, D1, D2)', async t => {
  for (const kind of ['history', 'expired', 'copy'] as const) {
    const end = (server: FakeServer, device: Device): unknown => {
      const found = picture(server, device) as { status: object }
      return { ...found, status: { ...found.status, deviceId: '' } }
    }
    const clean = await prepareRebuild(t, kind)
    await clean.device.client.syncOnce()
    await clean.device.client.syncOnce()
    const expected = end(clean.server, clean.device)
    t.match(clean.device.client.status(), { pending: 0, outbox: 0, held: 0, rebuild: null }, kind)
    t.equal(clean.server.payload('authors', id(1))?.['name'], 'unheard')
    t.equal(clean.server.payload('authors', id(1))?.['email'], 'later@x')
    t.equal(clean.device.client.status().conflicts, 0, `${kind}: nothing was in anybody's way`)
    let crashes = 0
    for (let n = 1; ; n++) {
      const { server, device } = await prepareRebuild(t, kind)
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
      await reborn.client.syncOnce()
      if (!t.same(end(server, reborn), expected, `${kind}: after a crash at call ${n}`)) return
      reborn.db.close()
    }
    t.ok(crashes > 50, `${kind}: ${crashes} crashes`)
  }
})
