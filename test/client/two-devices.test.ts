// The main path, and J2, K5.
import t from 'tap'
import { createDevice, id } from './device.js'
import { FakeServer } from './fake-server.js'

t.test('two devices come to hold the same rows', async t => {
  const server = new FakeServer()
  const phone = createDevice(t, { server, deviceId: 'phone' })
  const laptop = createDevice(t, { server, deviceId: 'laptop' })
  phone.db.prepare('insert into authors values (?, ?, ?)').run(id(1), 'Ann', 'ann@example.com')
  phone.db.prepare('insert into posts values (?, ?, ?, ?)').run(id(2), 'Hello', null, id(1))
  const report = await phone.client.syncOnce()
  t.match(report, { upload: { sent: 2, applied: 2, pending: 0 }, drained: true, rounds: 1 })
  await laptop.client.syncOnce()
  t.same(laptop.all('select * from authors'), phone.all('select * from authors'))
  t.same(laptop.all('select * from posts'), phone.all('select * from posts'))
  laptop.db.exec("update posts set title = 'Hi'")
  await laptop.client.syncOnce()
  await phone.client.syncOnce()
  t.same(phone.all('select title from posts'), [{ title: 'Hi' }])
  phone.db.exec('delete from authors')
  t.same(phone.pending().sort(), [`authors:${id(1)}`, `posts:${id(2)}`], 'a cascade is captured')
  await phone.client.syncOnce()
  await laptop.client.syncOnce()
  t.same(laptop.all('select * from authors'), [])
  t.same(laptop.all('select * from posts'), [])
  t.match(laptop.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 })
})
