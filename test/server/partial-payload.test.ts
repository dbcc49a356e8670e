import t from 'tap'
import { assertSound, buildApp, del, john, put, uuid, verdicts } from '../helpers/app.js'

const row = (reply: { statuses: unknown[] }, i = 0) => (reply.statuses[i] as { server_row?: { server_version: number, payload: unknown } }).server_row

t.test('F2: an update that leaves columns out keeps them, in the business table and for devices that come later', async t => {
  const { sql, user } = await buildApp(t)
  const [older, newer] = [user('alice', 'older'), user('alice', 'newer')]
  await newer.upload([put(1, 'posts', uuid(1), { title: 'one', content: 'words' })])
  const reply = await older.upload([{ ...put(1, 'posts', uuid(1), { title: 'two' }, 1) }])
  t.strictSame(verdicts(reply), ['1 applied v2 row v2'], 'the device learns that the server holds more than it sent')
  t.strictSame(row(reply)?.payload, { id: uuid(1), title: 'two', content: 'words' })
  t.strictSame([...await sql`select title, content from business.posts`], [{ title: 'two', content: 'words' }])
  const { changes } = await user('alice', 'later').download()
  t.strictSame(changes.at(-1)?.payload, { id: uuid(1), title: 'two', content: 'words' }, 'the latest change is the whole row')
  await assertSound(t, sql, 'alice')
})

t.test('F3: keys that the server has no column for survive an edit by a device that does not know them, with their digits', async t => {
  const { user } = await buildApp(t)
  const [older, newer] = [user('alice', 'older'), user('alice', 'newer')]
  await newer.uploadText(`{"changes":[{"source_change_id":1,"schema":"business","table":"users","op":"INSERT","pk":"${uuid(1)}","server_version":0,"payload":{"id":"${uuid(1)}","name":"Ada","email":"a","rank": 12345678901234567890.10 }}]}`)
  await older.upload([put(1, 'users', uuid(1), { name: 'Ada L', email: 'a' }, 1)])
  const { text } = await user('alice', 'later').download()
  t.match(text, '"name":"Ada L","email":"a","rank":12345678901234567890.10}')
})

t.test('a replay of an update that was completed is recognised by what was sent, and other content is not', async t => {
  const { sql, user } = await buildApp(t)
  const [older, newer] = [user('alice', 'older'), user('alice', 'newer')]
  await newer.upload([put(1, 'posts', uuid(1), { title: 'one', content: 'words' })])
  const change = put(7, 'posts', uuid(1), { title: 'two' }, 1)
  await older.upload([change])
  t.strictSame(verdicts(await older.upload([change])), ['7 applied v2 row v2'])
  t.strictSame(verdicts(await older.upload([put(7, 'posts', uuid(1), { title: 'two', content: 'words' }, 1)])), ['7 invalid source_change_id_reused'], 'a member more is another content, even with the value that was kept')
  t.strictSame(verdicts(await older.upload([put(7, 'posts', uuid(1), {}, 1)])), ['7 invalid source_change_id_reused'], 'a member less is, too')
  await assertSound(t, sql, 'alice')
})

t.test('updates of one batch complete each other; a revived row starts anew', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('alice')
  const reply = await phone.upload([
    put(1, 'posts', uuid(1), { title: 'one', content: 'words', extra: 1 }),
    put(2, 'posts', uuid(1), { title: 'two' }, 1),
    put(3, 'posts', uuid(1), { content: 'more words' }, 2),
    put(4, 'users', uuid(2), { ...john(), extra: 1 }),
    del(5, 'users', uuid(2), 1),
    put(6, 'users', uuid(2), john('Jane'), 2)
  ])
  t.strictSame(verdicts(reply), ['1 applied v1', '2 applied v2 row v3', '3 applied v3 row v3', '4 applied v1', '5 applied v2', '6 applied v3'])
  const payloads = await sql<Array<{ payload: unknown }>>`select payload from sync.rows where scope = 'alice' order by table_name`
  t.strictSame(payloads.map(({ payload }) => payload), [
    { id: uuid(1), content: 'more words', title: 'two', extra: 1 },
    { id: uuid(2), ...john('Jane') }
  ])
  t.strictSame([...await sql`select title, content from business.posts`], [{ title: 'two', content: 'more words' }])
  t.strictSame(verdicts(await phone.upload([put(2, 'posts', uuid(1), { title: 'two' }, 1)])), ['2 applied v2 row v3'])
})

t.test('a conflict shows the whole row', async t => {
  const { user } = await buildApp(t, { tables: [{ table: 'business.notes', materialize: false }] })
  const phone = user('alice')
  await phone.upload([put(1, 'notes', uuid(1), { title: 'one', body: 'words' }), put(2, 'notes', uuid(1), { title: 'two' }, 1)])
  const reply = await user('alice', 'tablet').upload([put(1, 'notes', uuid(1), { title: 'three' }, 1)])
  t.strictSame(row(reply), { schema_name: 'business', table_name: 'notes', id: uuid(1), server_version: 2, deleted: false, payload: { id: uuid(1), title: 'two', body: 'words' } })
})
