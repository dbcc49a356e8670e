import { addUser, names, removeUser, rename } from '../app-data.js'
import type { Scenario } from '../scenario.js'

const EXPECTED = ['Barbara, edited by the tablet', 'Edsger, the third of that key', 'Grace', 'Hedy, edited by both', 'Margaret']

export const multiDeviceComplex: Scenario = {
  name: 'multi-device-complex',
  about: 'Adds, updates, deletes, and the same key deleted and made again, across two devices: exactly five rows on both.',
  async play (world) {
    const [phone, tablet] = [world.device('phone'), world.device('tablet')]
    const [ada, barbara, edsger, hedy] = ['Ada', 'Barbara', 'Edsger', 'Hedy'].map(name => addUser(phone, name)) as [string, string, string, string]
    addUser(phone, 'Grace')
    addUser(tablet, 'Margaret')
    const alan = addUser(tablet, 'Alan')
    await world.sync(phone, tablet, phone)
    world.equal('both begin with seven rows', [names(phone).length, names(tablet).length], [7, 7])

    rename(tablet, barbara, 'Barbara, edited by the tablet')
    removeUser(tablet, ada)
    removeUser(phone, alan)
    rename(phone, hedy, 'Hedy, edited by the phone')
    await world.sync(phone, tablet, phone)
    world.equal('each other\'s edits and deletions arrive', [names(phone), names(tablet)], Array(2).fill(['Barbara, edited by the tablet', 'Edsger', 'Grace', 'Hedy, edited by the phone', 'Margaret']))

    removeUser(phone, edsger)
    addUser(phone, 'Edsger, the second of that key', edsger)
    await world.sync(phone, tablet)
    world.equal('a key deleted and made again between two syncs is the new row', names(tablet).filter(name => name.startsWith('Edsger')), ['Edsger, the second of that key'])
    removeUser(tablet, edsger)
    await world.sync(tablet, phone)
    world.equal('the other device deletes it', names(phone).filter(name => name.startsWith('Edsger')), [])
    addUser(phone, 'Edsger, the third of that key', edsger)
    await world.sync(phone, tablet)

    addUser(phone, 'Ada, back for a moment', ada)
    await world.sync(phone, tablet)
    removeUser(tablet, ada)
    rename(tablet, hedy, 'Hedy, edited by both')
    await world.sync(tablet, phone)

    world.equal('the phone has exactly the five rows', names(phone), EXPECTED)
    world.equal('the tablet has exactly the five rows', names(tablet), EXPECTED)
    world.equal('nothing had to be decided by rule', [phone.sync.conflicts().length, tablet.sync.conflicts().length], [0, 0])
  }
}
