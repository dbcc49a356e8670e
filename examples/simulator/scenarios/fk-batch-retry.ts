import { localTables } from '../../common/local-tables.js'
import { addPost, addUser, counts } from '../app-data.js'
import type { Scenario } from '../scenario.js'

const USERS = 50
const POSTS = 100
const BATCH = 25

export const fkBatchRetry: Scenario = {
  name: 'fk-batch-retry',
  about: '50 users and 100 posts in an unlucky order over several batches: posts are refused until their users are there.',
  async play (world) {
    // An app that declares no foreign keys, so that its client cannot put parents first, and names the children first.
    const client = { tables: ['posts', 'users', 'files', 'file_reviews', 'typed_rows'], uploadBatchSize: BATCH }
    const phone = world.device('phone', { tables: localTables({ references: false }), client })
    let refusals = 0
    phone.sync.on('held', ({ reason }) => { if (reason === 'fk_missing') refusals++ })
    const authors = Array.from({ length: USERS }, () => crypto.randomUUID())
    for (let i = 0; i < POSTS; i++) addPost(phone, `Post ${i}`, authors[(i * 7) % USERS] as string)
    for (const [i, id] of authors.entries()) addUser(phone, `User ${i}`, id)
    world.say(`phone: ${POSTS} posts and then the ${USERS} users they refer to, sent ${BATCH} at a time`)

    const early = await phone.sync.uploadOnce()
    world.equal('a batch of posts without their users is refused, each by name', [early.sent, early.applied, phone.sync.held().length], [BATCH, 0, BATCH])
    world.check('each refusal names the user that is missing', phone.sync.held().every(({ reason, details }) => reason === 'fk_missing' && JSON.stringify(details).includes('business.users:')))
    const report = await world.sync(phone)
    world.check('every post was refused once', refusals === POSTS, `${refusals} were`)
    world.equal('all goes up in the end, by itself', [report.upload.applied, phone.sync.held().length, report.drained], [USERS + POSTS, 0, true])
    world.equal('nothing is gone from the device', counts(phone, 'users', 'posts'), [USERS, POSTS])

    const tablet = world.device('tablet')
    await world.sync(tablet)
    world.equal('a device that does declare its foreign keys takes all of it', counts(tablet, 'users', 'posts'), [USERS, POSTS])
    world.equal('no post is without its user', tablet.db.pragma('foreign_key_check'), [])
  }
}
