import t from 'tap'
import { sourceIdFrom } from '../../src/index.js'
import { createWorld, expectConverged, syncUntilQuiet, type World } from './world.js'

const key = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** A server whose tokens name user and device, as an app's would. */
async function createTokenWorld (t: Parameters<typeof createWorld>[0]): Promise<World> {
  return await createWorld(t, {
    getIdentity: request => {
      const [userId, deviceId] = (request.headers.authorization ?? '').replace('Bearer ', '').split('/')
      if (userId === undefined || userId === '' || deviceId === undefined) throw new Error('no token')
      if (sourceIdFrom(request) !== deviceId) throw new Error('a token of another device')
      return { userId, deviceId }
    }
  })
}

t.test('two users in turn on one file see and send nothing of each other, both ways (D13)', async t => {
  const world = await createTokenWorld(t)
  let user = 'ann'
  const phone = world.device('phone', { user: 'ann', getToken: ({ deviceId }) => `${user}/${deviceId}` })
  const posts = (): unknown[] => phone.db.prepare('select title from posts order by title').pluck().all()
  const add = (n: number, title: string): void => { phone.db.prepare('insert into posts (id, title) values (?, ?)').run(key(n), title) }
  const streamOf = async (name: string): Promise<unknown[]> => (await world.sql`select payload->>'title' as title from sync.rows where scope = ${name} order by title`).map(row => (row as { title: string }).title)

  add(1, "ann's first")
  await phone.sync.syncOnce()
  add(2, "ann's unsent")
  await t.rejects(phone.sync.signOut(), { code: 'unsent_changes', unsent: 1 })
  await phone.sync.signOut({ force: true })
  t.strictSame(posts(), [])

  user = 'bob'
  add(3, 'before bob signed in')
  phone.sync.signIn({ userId: 'bob' })
  await phone.sync.syncOnce()
  add(4, "bob's")
  await phone.sync.syncOnce()
  t.strictSame(posts(), ['before bob signed in', "bob's"])
  t.strictSame(await streamOf('bob'), ['before bob signed in', "bob's"])
  t.strictSame(await streamOf('ann'), ["ann's first"])

  await phone.sync.signOut()
  user = 'ann'
  phone.sync.signIn({ userId: 'ann' })
  await phone.sync.syncOnce()
  t.strictSame(posts(), ["ann's first"])
  t.strictSame(await streamOf('ann'), ["ann's first"])
  t.equal(phone.sync.status().pending, 0)
})

t.test('after a new source id getToken is asked for a token of that id, and the server refuses the old one (D9, D10)', async t => {
  const world = await createTokenWorld(t)
  const asked: string[] = []
  const getToken = ({ deviceId }: { deviceId: string }): string => {
    asked.push(deviceId)
    return `alice/${deviceId}`
  }
  const [phone, twin] = [world.device('phone', { deviceId: 'phone', getToken }), world.device('twin', { deviceId: 'phone', getToken })]
  phone.db.prepare("insert into posts (id, title) values (?, 'of the phone')").run(key(1))
  twin.db.prepare("insert into posts (id, title) values (?, 'of its twin')").run(key(2))
  await phone.sync.syncOnce()
  await twin.sync.syncOnce()
  await syncUntilQuiet([phone, twin])
  await expectConverged(t, world, [phone, twin])
  t.not(phone.sync.status().deviceId, twin.sync.status().deviceId)
  t.ok(asked.includes(phone.sync.status().deviceId) && asked.includes(twin.sync.status().deviceId))
  const reopened = phone.restart()
  await reopened.sync.syncOnce()
  t.equal(asked.at(-1), reopened.sync.status().deviceId, 'the file keeps the new id, whatever the option says')
})
