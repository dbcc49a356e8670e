import { randomUUID } from 'node:crypto'
import t from 'tap'
import { createWorld, syncUntilQuiet } from './world.js'

t.test('F2, F3: an older version of the app edits rows without losing the columns that it does not have', async t => {
  const world = await createWorld(t)
  const [newer, older] = [world.device('newer'), world.device('older', { dropColumns: { posts: ['content'] } })]
  const id = randomUUID()
  newer.db.prepare("insert into posts (id, title, content, updated_at) values (?, 'one', 'words', 1)").run(id)
  await syncUntilQuiet([newer, older])
  older.db.prepare("update posts set title = 'two'").run()
  await syncUntilQuiet([older, newer])
  newer.db.prepare("update posts set content = 'more words'").run()
  older.db.prepare('update posts set updated_at = 2').run()
  await syncUntilQuiet([newer, older])
  const later = world.device('later')
  await later.sync.syncOnce()
  for (const device of [newer, later]) t.strictSame(device.db.prepare('select title, content, updated_at from posts').get(), { title: 'two', content: 'more words', updated_at: 2 }, device.name)
  t.strictSame(older.db.prepare('select title, updated_at from posts').get(), { title: 'two', updated_at: 2 })
  t.equal(older.sync.held().length + older.sync.status().shadow, 0)
})
