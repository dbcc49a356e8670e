import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { addPost, addUser, names, readPost, removePost, setContent, setTitle, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

export const reinstall: Scenario = {
  name: 'reinstall',
  about: 'The app is installed again on the same device: its own rows come back, and new edits count.',
  async play (world) {
    const deviceId = randomUUID()
    const old = world.device('phone', { deviceId })
    const ada = addUser(old, 'Ada')
    const [letter, plan, slip] = ['Letter', 'Plan', 'Slip'].map(title => addPost(old, title, ada)) as [string, string, string]
    await world.sync(old)
    removePost(old, slip)
    await world.sync(old)

    const tablet = world.device('tablet')
    await world.sync(tablet)
    setContent(tablet, plan, 'from the tablet, while the phone was away')
    await world.sync(tablet)

    await world.retire(old)
    for (const suffix of ['', '-wal', '-shm']) fs.rmSync(old.file + suffix, { force: true })
    world.say('phone: the app is removed with its file, and installed again by the same user on the same device')
    const phone = world.device('phone', { deviceId })
    world.equal('the new file is empty', [names(phone), titles(phone)], [[], []])
    const early = addPost(phone, 'Made before the first sync', null)

    const recovery = await world.sync(phone)
    world.equal('the device is the one it was', phone.sync.status().deviceId, deviceId)
    world.equal('its own rows come back, with what others made of them', titles(phone), ['Letter', 'Made before the first sync', 'Plan'])
    world.equal('the tablet\'s edit is among them', readPost(phone, plan)?.content, 'from the tablet, while the phone was away')
    world.equal('and the deleted post stays deleted', readPost(phone, slip), null)
    world.check('the post of before the first sync is sent', recovery.upload.applied >= 1 && recovery.drained)

    // The dangerous moment: a device that numbers its changes from 1 again would be answered with the verdicts of its old ones.
    setTitle(phone, letter, 'Letter, edited after the reinstall')
    addPost(phone, 'New', ada)
    removePost(phone, early)
    world.equal('an edit, a new row and a deletion are applied, none is swallowed', (await world.sync(phone)).upload.applied, 3)
    await world.sync(tablet)
    world.equal('the tablet has them', titles(tablet), ['Letter, edited after the reinstall', 'New', 'Plan'])
  }
}
