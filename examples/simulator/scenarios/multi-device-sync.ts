import { addPost, addUser, counts, removePost, rename, setTitle, titles } from '../app-data.js'
import type { Scenario } from '../scenario.js'

const POSTS_EACH = 10

export const multiDeviceSync: Scenario = {
  name: 'multi-device-sync',
  about: 'Three devices write at the same time and read each other\'s rows, then edit and delete them.',
  async play (world) {
    const devices = ['phone', 'tablet', 'laptop'].map(name => world.device(name))
    const posts = devices.map(device => {
      const author = addUser(device, `${device.name} author`)
      return Array.from({ length: POSTS_EACH }, (_, i) => addPost(device, `${device.name} ${i}`, author))
    })
    world.say('three devices: a user and ten posts each, none of them knowing of the others')
    await Promise.all(devices.map(device => world.sync(device)))
    await world.sync(...devices)
    for (const device of devices) world.equal(`the ${device.name} has the rows of all three`, counts(device, 'users', 'posts'), [3, 3 * POSTS_EACH])

    for (const [i, device] of devices.entries()) {
      const neighbours = posts[(i + 1) % devices.length] as string[]
      setTitle(device, neighbours[0] as string, `edited by the ${device.name}`)
      removePost(device, neighbours[1] as string)
    }
    rename(devices[0] as typeof devices[number], devices[0]?.db.prepare("select id from users where name = 'laptop author'").pluck().get() as string, 'Author of the laptop')
    await Promise.all(devices.map(device => world.sync(device)))
    await world.sync(...devices)
    for (const device of devices) {
      world.equal(`the ${device.name} has every edit`, titles(device).filter(title => title.startsWith('edited')), ['edited by the laptop', 'edited by the phone', 'edited by the tablet'])
      world.equal(`the ${device.name} has lost what each deleted`, counts(device, 'users', 'posts'), [3, 3 * POSTS_EACH - 3])
    }
    world.equal('nobody stood in another\'s way', devices.map(({ sync }) => sync.conflicts().length), [0, 0, 0])
  }
}
