import { randomUUID } from 'node:crypto'
import type { Device } from '../../common/device.js'
import { addPost, addUser, counts } from '../app-data.js'
import type { Scenario } from '../scenario.js'

const BATCH = 50
const client = { uploadBatchSize: BATCH, downloadLimit: BATCH }

/** Posts first, then the users they refer to, in one transaction. */
function addFamilies (device: Device, users: number, posts: number): void {
  const authors = Array.from({ length: users }, () => randomUUID())
  device.db.transaction(() => {
    device.db.pragma('defer_foreign_keys = on')
    for (let i = 0; i < posts; i++) addPost(device, `Post ${i}`, authors[i % users] as string)
    for (const [i, id] of authors.entries()) addUser(device, `User ${i}`, id)
  })()
}

export const complexMultiBatch: Scenario = {
  name: 'complex-multi-batch',
  about: 'Batches and pages of 50; while one device reads 105 rows, another adds 420: the window stays what it was.',
  async play (world) {
    const [phone, tablet] = [world.device('phone', { client }), world.device('tablet', { client })]
    addFamilies(phone, 5, 100)
    const first = await world.sync(phone)
    world.equal('105 rows whose children come first go up', [first.upload.sent, first.upload.applied, first.upload.held], [105, 105, 0])

    let pages = 0
    tablet.network.beforeReply = async url => {
      if (!url.pathname.endsWith('/download') || ++pages > 1) return
      addFamilies(phone, 20, 400)
      const second = await world.sync(phone)
      world.equal('420 more go up while the tablet waits for its first page', [second.upload.sent, second.upload.applied, second.upload.held], [420, 420, 0])
      world.equal('the tablet shows nothing before its window is whole', counts(tablet, 'users', 'posts'), [0, 0])
    }
    const window = await tablet.sync.downloadOnce(BATCH)
    tablet.network.beforeReply = null
    world.equal('the tablet\'s window has three pages and the 105 rows that there were when it began', [window.pages, window.received, window.cursor, ...counts(tablet, 'users', 'posts')], [3, 105, 105, 5, 100])
    const frozen = JSON.parse(await world.get('/sync/download?after=100&limit=50&include_self=true&until=105')) as { changes: unknown[], has_more: boolean, window_until: number }
    world.equal('the frozen window shows no later row to anybody', [frozen.changes.length, frozen.has_more, frozen.window_until], [5, false, 105])

    const rest = await world.sync(tablet)
    world.equal('the next window has the other 420, in nine pages', [rest.download.received, rest.download.pages], [420, 9])
    await world.sync(phone)
    for (const device of [phone, tablet]) {
      world.equal(`the ${device.name} has exactly 25 users and 500 posts`, counts(device, 'users', 'posts'), [25, 500])
      world.equal(`on the ${device.name} no post is without its user`, device.db.pragma('foreign_key_check'), [])
    }
  }
}
