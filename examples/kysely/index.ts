import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { startPostgres } from '../../scripts/embedded-postgres.mjs'
import { ownDatabase } from '../common/own-database.js'
import { buildServer } from '../server/build-server.js'
import { openDevice, type Device } from './device.js'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-kysely-'))
const database = await ownDatabase(await startPostgres(), 'oversync_kysely')
const app = await buildServer({ database: database.url, jwtSecret: 'example-secret-for-this-run-only' })
const devices: Device[] = []
try {
  const serverUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  const open = (name: string): Device => {
    const device = openDevice({ file: path.join(folder, `${name}.db`), user: 'alice', serverUrl })
    devices.push(device)
    return device
  }
  await tell(open('phone'), open('laptop'))
} finally {
  for (const device of devices) await device.close()
  await app.close()
  await database.stop()
  fs.rmSync(folder, { recursive: true, force: true })
}

async function tell (phone: Device, laptop: Device): Promise<void> {
  const author = randomUUID()
  await phone.db.transaction().execute(async trx => {
    await trx.insertInto('users').values({ id: author, name: 'Alice', email: 'alice@example.com' }).execute()
    await trx.insertInto('posts').values({ id: randomUUID(), title: 'Plans', content: 'Sleep.', author_id: author }).execute()
  })
  await phone.sync.syncOnce()
  await laptop.sync.syncOnce()
  console.log('The laptop reads, by Kysely:', await laptop.db.selectFrom('posts').innerJoin('users', 'users.id', 'posts.author_id').select(['title', 'content', 'name']).execute())

  // Offline, both devices write into the same column of the same post.
  await phone.db.updateTable('posts').set({ content: 'Sleep. Swim.' }).execute()
  await laptop.db.updateTable('posts').set({ content: 'Sleep. Read.' }).execute()
  // Typed by its table: `record.table === 'posts'` tells what `record.result` holds.
  laptop.sync.on('conflict', record => {
    if (record.table === 'posts') console.log(`The resolver merged ${record.columns.join(', ')}: ${JSON.stringify(record.result?.content)}`)
  })
  for (const device of [phone, laptop, phone]) await device.sync.syncOnce()

  const contents = await Promise.all([phone, laptop].map(async ({ db }) => (await db.selectFrom('posts').select('content').executeTakeFirstOrThrow()).content))
  const isEqual = contents[0] === contents[1]
  console.log(`Phone and laptop hold ${isEqual ? 'the same' : 'DIFFERENT texts'}: ${JSON.stringify(contents[0])}`)
  if (!isEqual) process.exitCode = 1
}
