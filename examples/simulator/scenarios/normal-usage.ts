import { addPost, addUser, counts, readPost, removePost, rename, setContent, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

export const normalUsage: Scenario = {
  name: 'normal-usage',
  about: 'A day with one device: make, edit, delete, sync after each.',
  async play (world) {
    const phone = world.device('phone')
    await world.sync(phone)
    world.equal('it begins with nothing', counts(phone, 'users', 'posts'), [0, 0])

    const grace = addUser(phone, 'Grace')
    const posts = Array.from({ length: 5 }, (_, i) => addPost(phone, `Note ${i + 1}`, grace))
    world.equal('a user and five posts go up in one sync', (await world.sync(phone)).upload.applied, 6)

    rename(phone, grace, 'Grace Hopper')
    for (let i = 1; i <= 10; i++) setContent(phone, posts[0] as string, `Draft ${i}`)
    world.equal('ten edits of a post and one of the user are two changes', (await world.sync(phone)).upload.applied, 2)

    removePost(phone, posts[4] as string)
    const slip = addPost(phone, 'Slip', grace)
    removePost(phone, slip)
    world.equal('a deletion is one change; a post that came and went is none', (await world.sync(phone)).upload.applied, 1)

    const transaction = phone.db.transaction(() => {
      addPost(phone, 'Never', grace)
      throw new Error('the app thought better of it')
    })
    try { transaction() } catch { world.say('phone: a transaction is rolled back') }
    const idle = await world.sync(phone)
    world.equal('what was rolled back leaves nothing to send', [idle.upload.sent, idle.download.received, idle.drained], [0, 0, true])
    world.equal('the day ends with four posts', titles(phone), ['Note 1', 'Note 2', 'Note 3', 'Note 4'])
    world.equal('and the last draft', readPost(phone, posts[0] as string), { title: 'Note 1', content: 'Draft 10' })
  }
}
