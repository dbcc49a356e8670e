import { addPost, addUser, counts, readPost, removePost, setContent, setTitle } from '../app-data.js'
import type { Scenario } from '../scenario.js'

const CYCLES = 5

export const offlineOnline: Scenario = {
  name: 'offline-online',
  about: 'The network comes and goes, and loses replies: nothing is lost, and nothing is applied twice.',
  async play (world) {
    const [phone, tablet] = [world.device('phone'), world.device('tablet')]
    const ada = addUser(phone, 'Ada')
    const log = addPost(phone, 'Log', ada)
    await world.sync(phone, tablet)

    for (let cycle = 1; cycle <= CYCLES; cycle++) {
      phone.network.isOnline = false
      tablet.network.isOnline = false
      addPost(phone, `Phone ${cycle}`, ada)
      const passing = addPost(phone, `Passing ${cycle}`, ada)
      setContent(phone, log, `written offline, cycle ${cycle}`)
      addPost(tablet, `Tablet ${cycle}`, ada)
      setTitle(tablet, log, `Log of ${cycle}`)
      world.equal(`cycle ${cycle}: a sync without a network fails as such`, [await world.failsToSync(phone), await world.failsToSync(tablet)], ['network', 'network'])
      world.check(`cycle ${cycle}: work stays visible and waits`, counts(phone, 'posts')[0] === 2 * cycle + 1 && phone.sync.status().pending + phone.sync.status().outbox === 3)
      removePost(phone, passing)

      phone.network.isOnline = true
      phone.network.losesNextReply = true
      world.equal(`cycle ${cycle}: the reply to the phone's upload gets lost`, await world.failsToSync(phone), 'network')
      // Between the upload that arrived and the reply that did not, people go on.
      setContent(phone, log, `cycle ${cycle}`)
      tablet.network.isOnline = true
      await world.sync(phone, tablet, phone)
      for (const device of [phone, tablet]) {
        world.equal(`cycle ${cycle}: the ${device.name} has both edits of the log`, readPost(device, log), { title: `Log of ${cycle}`, content: `cycle ${cycle}` })
        world.equal(`cycle ${cycle}: the ${device.name} has every post once`, counts(device, 'posts'), [2 * cycle + 1])
      }
    }
    world.equal('nothing had to be decided by rule', [phone.sync.conflicts().length, tablet.sync.conflicts().length], [0, 0])
  }
}
