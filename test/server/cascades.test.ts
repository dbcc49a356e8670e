import t from 'tap'
import { assertSound, buildApp, del, log, put, uuid, verdicts } from '../helpers/app.js'
import { waitFor } from '../helpers/wait-for.js'

const file = (id: number, n: number) => put(id, 'files', uuid(n), { name: 'f' })
const review = (id: number, n: number, of: number) => put(id, 'file_reviews', uuid(n), { review: 'r', file_id: uuid(of) })

t.test('K4: rows that a deletion takes along are deleted in the stream too, as the server\'s own change', async t => {
  const { sql, user } = await buildApp(t)
  const [phone, tablet] = [user('alice', 'phone'), user('alice', 'tablet')]
  await phone.upload([file(1, 1), file(2, 2), review(3, 11, 1)])
  await tablet.upload([review(1, 12, 1), review(2, 13, 2)])
  // The phone knows nothing of the tablet's review.
  t.strictSame(verdicts(await phone.upload([del(4, 'file_reviews', uuid(11), 1), del(5, 'files', uuid(1), 1)])), ['4 applied v2', '5 applied v2'])
  t.strictSame((await log(sql, 'alice')).slice(5), ['6 file_reviews 11 D v2', '7 files 1 D v2', '8 file_reviews 12 D v2'])
  const { changes } = await phone.download({ after: 7 })
  t.match(changes, [{ server_id: 8, table: 'file_reviews', op: 'DELETE', pk: uuid(12), server_version: 2, deleted: true, source_id: 'oversync:server', source_change_id: 8 }], 'whoever deleted hears of it too')
  t.strictSame([...await sql`select id from business.file_reviews`], [{ id: uuid(13) }])
  t.strictSame(verdicts(await tablet.upload([put(3, 'file_reviews', uuid(12), { review: 'edited', file_id: uuid(1) }, 1)])), ['3 conflict v2 deleted'], 'an edit of it is told that it is gone')
  t.strictSame(verdicts(await tablet.upload([del(4, 'file_reviews', uuid(12), 1)])), ['4 applied v2'], 'K5: deleting it again is fine')
  await assertSound(t, sql, 'alice')
})

t.test('I5: a row that cascaded away and was made again by another user is that user\'s', async t => {
  const { sql, user } = await buildApp(t)
  const [alice, bob] = [user('alice'), user('bob')]
  await alice.upload([file(1, 1), review(2, 2, 1)])
  await alice.upload([del(3, 'files', uuid(1), 1)])
  t.strictSame(verdicts(await bob.upload([file(1, 3), review(2, 2, 3)])), ['1 applied v1', '2 applied v1'])
  t.strictSame(verdicts(await alice.upload([put(4, 'file_reviews', uuid(2), { review: 'overwritten' }, 1), put(5, 'file_reviews', uuid(2), { review: 'overwritten' }, 2)])), ['4 conflict v2 deleted', '5 conflict v2 deleted'])
  t.strictSame(verdicts(await alice.upload([put(6, 'file_reviews', uuid(2), { review: 'overwritten' }, 2)])), ['6 invalid not_owner'])
  t.strictSame([...await sql`select review from business.file_reviews`], [{ review: 'r' }])
})

t.test('a deletion that would take along rows of somebody else is refused, its neighbours are not', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.label (id uuid primary key, name text);
      create table public.tag (id uuid primary key, label_id uuid references public.label on delete cascade)`,
    tables: [{ table: 'public.label', shared: true }, 'public.tag']
  })
  await user('alice').upload([put(1, 'public.label', uuid(1), { name: 'l' }), put(2, 'public.label', uuid(2), { name: 'l' }), put(3, 'public.tag', uuid(12), { label_id: uuid(2) })])
  await user('bob').upload([put(1, 'public.tag', uuid(11), { label_id: uuid(1) })])
  const reply = await user('alice').upload([del(4, 'public.label', uuid(1), 1), del(5, 'public.label', uuid(2), 1)])
  t.strictSame(verdicts(reply), ['4 invalid constraint_violation', '5 applied v2'])
  t.notMatch(reply.text, uuid(11), 'whose row it is stays unsaid')
  t.strictSame([...await sql`select id from public.tag`], [{ id: uuid(11) }])
  t.strictSame(await log(sql, 'alice'), ['1 label 1 I v1', '2 label 2 I v1', '3 tag 12 I v1', '4 label 2 D v2', '5 tag 12 D v2'])
  await assertSound(t, sql, 'alice')
})

t.test('cascades go on through generations and around self-references, and what the batch puts back stays', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.node (id uuid primary key, up uuid references public.node on delete cascade);
      create table public.leaf (id uuid primary key, node_id uuid references public.node on delete cascade)`,
    tables: ['public.node', 'public.leaf']
  })
  const phone = user('alice')
  const node = (id: number, n: number, up: number | null) => put(id, 'public.node', uuid(n), { up: up === null ? null : uuid(up) })
  await phone.upload([node(1, 1, null), node(2, 2, 1), node(3, 3, 2), put(4, 'public.leaf', uuid(9), { node_id: uuid(3) }), node(5, 4, null)])
  t.strictSame(verdicts(await phone.upload([del(6, 'public.node', uuid(1), 1), put(7, 'public.leaf', uuid(9), { node_id: uuid(4) }, 1)])), ['6 applied v2', '7 applied v2'])
  t.strictSame((await log(sql, 'alice')).slice(5).sort(), ['6 leaf 9 U v2', '7 node 1 D v2', '8 node 2 D v2', '9 node 3 D v2'])
  t.strictSame([...await sql`select id, node_id from public.leaf`], [{ id: uuid(9), node_id: uuid(4) }])
  await assertSound(t, sql, 'alice')
})

const LABELS = `create table public.label (id uuid primary key, name text);
  create table public.tag (id uuid primary key, name text not null, label_id uuid references public.label on delete cascade)`
const label = (id: number, n: number) => put(id, 'public.label', uuid(n), { name: 'l' })
const tag = (id: number, n: number, of: number, name: string | null = 't', base = 0) => put(id, 'public.tag', uuid(n), { name, label_id: uuid(of) }, base)

t.test('a row that was the scope\'s own once, and is made by somebody else since, is not taken along, also where the batch names it (I5, P16)', async t => {
  const { sql, user } = await buildApp(t, { schemaSql: LABELS, tables: [{ table: 'public.label', shared: true }, 'public.tag'] })
  const alice = user('alice')
  await alice.upload([label(1, 1), tag(2, 9, 1)])
  await alice.upload([del(3, 'public.tag', uuid(9), 1)])
  await user('bob').upload([tag(1, 9, 1, 'of bob')])
  t.strictSame(verdicts(await alice.upload([del(4, 'public.label', uuid(1), 1), del(5, 'public.tag', uuid(9), 2)])), ['4 invalid constraint_violation', '5 applied v2'])
  t.strictSame([...await sql`select name from public.tag`], [{ name: 'of bob' }])
  await assertSound(t, sql, 'alice')
})

t.test('nor is one under the key of a row that never got into the table (I5, P16)', async t => {
  const { sql, user } = await buildApp(t, { schemaSql: LABELS, tables: [{ table: 'public.label', shared: true }, { table: 'public.tag', onMaterializeError: 'record' }] })
  const alice = user('alice')
  await alice.upload([label(1, 1)])
  await user('bob').upload([tag(1, 9, 1, 'of bob')])
  t.strictSame(verdicts(await alice.upload([tag(2, 9, 1, null)])), ['2 applied v1'], 'in the stream alone')
  t.strictSame(verdicts(await alice.upload([del(3, 'public.label', uuid(1), 1)])), ['3 invalid constraint_violation'])
  t.strictSame([...await sql`select name from public.tag`], [{ name: 'of bob' }])
  await assertSound(t, sql, 'alice')
})

t.test('a row that the app makes while its parent is being deleted is not taken along unseen (P15, P16)', async t => {
  const { sql, user } = await buildApp(t, { schemaSql: LABELS, tables: ['public.label', 'public.tag'] })
  const alice = user('alice')
  await alice.upload([label(1, 1)])
  let upload: ReturnType<typeof alice.upload> | undefined
  await sql.begin(async trx => {
    await trx`insert into public.tag values (${uuid(5)}, 'of the app', ${uuid(1)})`
    upload = alice.upload([del(2, 'public.label', uuid(1), 1)])
    await waitFor('the upload waits for the row', async () => (await sql`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`).length > 0)
  })
  t.strictSame(verdicts(await (upload as NonNullable<typeof upload>)), ['2 invalid constraint_violation'])
  t.strictSame([...await sql`select name from public.tag`], [{ name: 'of the app' }])
})
