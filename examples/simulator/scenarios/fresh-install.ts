import { addPost, addUser, names, removePost, rename, setTitle, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

export const freshInstall: Scenario = {
  name: 'fresh-install',
  about: 'Work before the first sign-in goes up with it, as it is by then.',
  async play (world) {
    const app = world.install('phone')
    const ada = addUser(app, 'Ada')
    const letter = addPost(app, 'Leter', ada)
    const draft = addPost(app, 'Draft', ada)
    addPost(app, 'Plan', ada)
    rename(app, ada, 'Ada Lovelace')
    setTitle(app, letter, 'Letter')
    removePost(app, draft)
    world.say('phone: a user and three posts, two of them edited, one deleted; nobody has signed in, and there is no network')

    const phone = world.signIn(app)
    world.equal('rows of before the sign-in are still there', [names(phone), titles(phone)], [['Ada Lovelace'], ['Letter', 'Plan']])
    world.check('they wait to be sent', phone.sync.status().pending >= 3)
    phone.network.isOnline = false
    world.check('without a network nothing can be sent', await world.failsToSync(phone) !== 'none')
    setTitle(phone, letter, 'Letter to Charles')
    phone.network.isOnline = true
    const first = await world.sync(phone)
    world.equal('the first sync sends each row once, in its last state', [first.upload.applied, first.upload.held, first.upload.conflicts], [3, 0, 0])
    world.equal('and there is nothing to fetch', first.download.received, 0)

    const tablet = world.device('tablet')
    await world.sync(tablet)
    world.equal('a second device gets what was made before the sign-in', [names(tablet), titles(tablet)], [['Ada Lovelace'], ['Letter to Charles', 'Plan']])
    const again = await world.sync(phone)
    world.equal('a further sync has nothing to do', [again.upload.sent, again.download.received], [0, 0])
  }
}
