import { randomBytes, randomUUID } from 'node:crypto'
import { localTables } from '../../common/local-tables.js'
import { counts } from '../app-data.js'
import type { Scenario } from '../scenario.js'
import type { App } from '../../common/device.js'

const BODIES: Record<string, Buffer | null> = {
  empty: Buffer.alloc(0),
  missing: null,
  'every byte': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  'half a megabyte': randomBytes(500_000)
}

function addFile ({ db }: App, id: Buffer, name: string, data: Buffer | null): void {
  db.prepare('insert into files values (?, ?, ?)').run(id, name, data)
}

function addReview ({ db }: App, review: string, file: Buffer): void {
  db.prepare('insert into file_reviews values (?, ?, ?)').run(randomBytes(16), review, file)
}

function addReviewAsText ({ db }: App, review: string, fileName: string): void {
  db.prepare('insert into file_reviews select ?, ?, id from files where name = ?').run(randomUUID(), review, fileName)
}

export const filesSync: Scenario = {
  name: 'files-sync',
  about: 'Blobs under keys that two devices keep as bytes and one as text, and a deletion that takes the children along.',
  tables: localTables({ key: 'blob' }),
  async play (world) {
    const [phone, tablet, laptop] = [world.device('phone'), world.device('tablet'), world.device('laptop', { tables: localTables({ key: 'text' }) })]
    const ids = new Map(Object.keys(BODIES).map(name => [name, randomBytes(16)]))
    for (const [name, id] of ids) {
      addFile(phone, id, name, BODIES[name] as Buffer | null)
      addReview(phone, `first review of ${name}`, id)
      addReview(phone, `second review of ${name}`, id)
    }
    await world.sync(phone, tablet, laptop)
    for (const [name, id] of ids) {
      const body = tablet.db.prepare('select data from files where id = ?').pluck().get(id) as Buffer | null | undefined
      const expected = BODIES[name] as Buffer | null
      world.check(`the file "${name}" arrives byte for byte`, body !== undefined && (expected === null || body === null ? body === expected : body.equals(expected)))
      world.equal(`the reviews of "${name}" refer to it`, tablet.db.prepare('select count(*) from file_reviews where file_id = ?').pluck().get(id), 2)
    }
    world.equal('the laptop keeps keys and references as text', laptop.db.prepare('select distinct typeof(id) || typeof(file_id) from file_reviews').pluck().all(), ['texttext'])
    for (const name of ids.keys()) addReviewAsText(laptop, `the laptop's review of ${name}`, name)
    await world.sync(laptop, phone, tablet)
    for (const id of ids.values()) world.equal('a review from the laptop refers to the file on the phone', phone.db.prepare('select count(*) from file_reviews where file_id = ?').pluck().get(id), 3)
    const [everyByte, big] = [ids.get('every byte') as Buffer, ids.get('half a megabyte') as Buffer]
    tablet.db.prepare('update files set data = ? where id = ?').run(Buffer.from([255, 0, 254]), everyByte)
    phone.db.prepare('delete from files where id = ?').run(big)
    world.equal('a deletion takes the reviews along on the device', counts(phone, 'files', 'file_reviews'), [3, 9])
    await world.sync(phone, tablet, laptop, phone)
    for (const device of [phone, tablet, laptop]) world.equal(`the ${device.name} has neither the file nor its reviews`, counts(device, 'files', 'file_reviews'), [3, 9])
    world.equal('an edited body arrives', phone.db.prepare('select hex(data) from files where id = ?').pluck().get(everyByte), 'FF00FE')

    laptop.db.prepare('delete from files where name = ?').run('empty')
    await world.sync(laptop, phone, tablet)
    for (const device of [phone, tablet, laptop]) world.equal(`a deletion on the laptop reaches the ${device.name}`, counts(device, 'files', 'file_reviews'), [2, 6])
    world.equal('nothing was set aside', world.devices.map(({ sync }) => sync.held().length), [0, 0, 0])
  }
}
