import { randomUUID } from 'node:crypto'
import { SyncClientError } from 'fastify-oversync/client'
import { localTables } from '../../common/local-tables.js'
import { signIn } from '../../common/sign-in.js'
import { addPost, addUser, names, removeUser, setTitle, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

export const userSwitch: Scenario = {
  name: 'user-switch',
  about: 'Two users take turns on one device, each in a file of their own; neither sees or changes what is the other\'s.',
  async play (world) {
    const deviceId = randomUUID()
    const bobsName = world.stranger('bob')
    const first = world.device('shared-tablet', { deviceId })
    const ada = addUser(first, 'Ada')
    const letter = addPost(first, 'Letter of the first', ada)
    await world.sync(first)
    setTitle(first, letter, 'Letter of the first, not sent yet')
    await world.retire(first)
    world.say('tablet: the first user leaves it with an edit that was not sent')

    // Without foreign keys of its own, so that the device does not refuse what the server must.
    const bob = world.device('shared-tablet', { user: bobsName, deviceId, tables: localTables({ references: false }) })
    const empty = await world.sync(bob)
    world.equal('the second user sees nothing of the first', [names(bob), titles(bob), empty.download.received], [[], [], 0])
    const grace = addUser(bob, 'Grace')
    addPost(bob, 'Letter of the second', grace)
    await world.sync(bob)
    addUser(bob, 'Mallory', ada)
    await world.sync(bob)
    const [held] = bob.sync.held()
    world.equal('a row of the first user cannot be taken over', [bob.sync.held().length, held?.reason, held?.server], [1, 'not_owner', null])
    world.check('the refusal shows nothing of it', !JSON.stringify(held).includes('Ada'))
    removeUser(bob, ada)
    addPost(bob, 'By somebody else\'s user', ada, randomUUID())
    await world.sync(bob)
    world.equal('nor can it be referred to', bob.sync.held().map(({ reason }) => reason), ['fk_missing'])
    bob.sync.discardHeld(bob.sync.held()[0]?.id ?? 0)
    await world.sync(bob)
    await world.retire(bob)

    const back = world.install('shared-tablet')
    let refusal = 'none'
    try { world.signIn(back, { user: bobsName, deviceId }) } catch (error) { refusal = (error as SyncClientError).code }
    world.equal('the file of the first user does not open for the second', refusal, 'wrong_user')
    const again = world.signIn(back, { deviceId })
    world.equal('the first user finds the edit that was not sent', titles(again), ['Letter of the first, not sent yet'])
    world.equal('it goes up as theirs', (await world.sync(again)).upload.applied, 1)
    addUser(again, 'Trudy', grace)
    await world.sync(again)
    world.equal('nor can the first user take over a row of the second', again.sync.held().map(({ reason, server }) => [reason, server]), [['not_owner', null]])
    removeUser(again, grace)
    await world.sync(again)
    world.equal('and nothing of the second user comes down', [names(again), titles(again)], [['Ada'], ['Letter of the first, not sent yet']])

    const bobAgain = world.device('shared-tablet', { user: bobsName, deviceId })
    await world.sync(bobAgain)
    world.equal('the second user has what was theirs', [names(bobAgain), titles(bobAgain)], [['Grace'], ['Letter of the second']])

    world.say('kiosk: the two share one file, and sign in and out')
    let user = world.user
    const kiosk = world.device('kiosk', { client: { getToken: async ({ deviceId }) => await signIn(world.serverUrl, user, deviceId) } })
    await world.sync(kiosk)
    world.equal('the first user finds their rows', [names(kiosk), titles(kiosk)], [['Ada'], ['Letter of the first, not sent yet']])
    setTitle(kiosk, letter, 'Letter from the kiosk')
    let unsent: number | undefined
    await kiosk.sync.signOut().catch((error: SyncClientError) => { unsent = error.unsent })
    world.equal('signing out is refused while a change is unsent, and says how many', unsent, 1)
    await world.sync(kiosk)
    await kiosk.sync.signOut()
    world.equal('after signing out the file is empty', [names(kiosk), titles(kiosk)], [[], []])
    addPost(kiosk, 'Written before the second user signed in', null)
    user = bobsName
    kiosk.sync.signIn({ userId: bobsName })
    await world.sync(kiosk)
    world.equal('the second user finds their rows, and what they wrote before', [names(kiosk), titles(kiosk).sort()], [['Grace'], ['Letter of the second', 'Written before the second user signed in']])
    await kiosk.sync.signOut()
    user = world.user
    kiosk.sync.signIn({ userId: world.user })
    await world.sync(kiosk, bobAgain)
    world.equal('and the first user finds theirs again', [names(kiosk), titles(kiosk)], [['Ada'], ['Letter from the kiosk']])
    world.equal('nothing went to the wrong one', titles(bobAgain).sort(), ['Letter of the second', 'Written before the second user signed in'])
    await world.sync(...world.devices)
  }
}
