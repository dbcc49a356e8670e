import { addPost, addUser, names, setContent, setTitle, readPost, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

export const deviceReplacement: Scenario = {
  name: 'device-replacement',
  about: 'A new phone takes over, and the old one turns up again with work that it had not sent.',
  async play (world) {
    const old = world.device('old-phone')
    const ada = addUser(old, 'Ada')
    const [letter, plan] = [addPost(old, 'Letter', ada), addPost(old, 'Plan', ada)]
    await world.sync(old)
    addPost(old, 'Written on the day it was lost', ada)
    setContent(old, plan, 'the last words on the old phone')
    old.network.isOnline = false
    world.say('old phone: is lost, with a new post and an edit that were not sent')

    const phone = world.device('new-phone')
    const first = await world.sync(phone)
    world.equal('the new phone gets all that was sent', [names(phone), titles(phone)], [['Ada'], ['Letter', 'Plan']])
    world.equal('as three rows', first.download.applied, 3)
    world.check('it is a device of its own', phone.deviceId !== old.deviceId)
    setTitle(phone, letter, 'Letter, second edition')
    setTitle(phone, plan, 'Plan B')
    await world.sync(phone)

    old.network.isOnline = true
    world.say('old phone: is found again')
    const late = await world.sync(old)
    world.equal('what it had not sent is sent', late.upload.held, 0)
    await world.sync(phone)
    world.equal('both have everything', [titles(old), titles(phone)], Array(2).fill(['Letter, second edition', 'Plan B', 'Written on the day it was lost']))
    world.equal('edits of different columns on the two phones both count', readPost(phone, plan), { title: 'Plan B', content: 'the last words on the old phone' })
    await world.retire(old)
    addPost(phone, 'After the old phone was given away', ada)
    await world.sync(phone)
  }
}
