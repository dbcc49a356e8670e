import t from 'tap'
import type { DownloadResponse } from '../../src/contract/download-response.js'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdict, verdicts } from '../helpers/app.js'

t.test('thousands of rows are deleted in one batch whatever its order, children first in the stream, and come in bounded pages (J9)', async t => {
  const { sql, user } = await buildApp(t, { maxDownloadLimit: 500 })
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  const parents = 1000
  const rows = [
    ...Array.from({ length: parents }, (_, i) => put(i + 1, 'files', uuid(i + 1), { name: 'f' })),
    ...Array.from({ length: 2 * parents }, (_, i) => put(10_000 + i, 'file_reviews', uuid(10_000 + i), { review: 'r', file_id: uuid(i % parents + 1) }))
  ]
  await phone.upload(rows)
  // Parents first, the worst order. A third of the children is left to the cascade.
  const removals = [
    ...Array.from({ length: parents }, (_, i) => del(20_000 + i, 'files', uuid(i + 1), 1)),
    ...Array.from({ length: 1333 }, (_, i) => del(30_000 + i, 'file_reviews', uuid(10_000 + i), 1))
  ]
  const { statuses } = await phone.upload(removals)
  t.equal(statuses.filter(status => verdict(status) !== 'applied v2').length, 0)
  t.equal((await sql`select from business.files`).length + (await sql`select from business.file_reviews`).length, 0)

  const gone = { files: new Set<string>(), file_reviews: new Set<string>() }
  const early: string[] = []
  let page: DownloadResponse | undefined
  do {
    page = await pad.download({ after: page?.next_after ?? rows.length, until: page?.window_until ?? 0, limit: 500 })
    t.ok(page.changes.length <= 500)
    t.ok(page.changes.every(({ op }) => op === 'DELETE'))
    for (const { table, pk, source_id: source } of page.changes) {
      gone[table as 'files'].add(pk)
      if (table === 'file_reviews' && source === 'phone' && gone.files.size > 0) early.push(pk)
    }
  } while (page.has_more)
  t.strictSame(early, [], 'the device\'s own deletions: no parent before a child')
  t.strictSame([gone.files.size, gone.file_reviews.size], [parents, 2 * parents])
  t.strictSame(verdicts(await phone.upload([removals[0] as ReturnType<typeof del>])), ['20000 applied v2'], 'and a replay is one')
  await assertSound(t, sql, 'alice')
})

t.test('an exclusion constraint, and a CHECK that looks at other rows, refuse their change alone (K11)', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.booking (id uuid primary key, during int4range, exclude using gist (during with &&));
      create table public.slot (id uuid primary key, during int4range, constraint slot_late exclude using gist (during with &&) deferrable initially deferred);
      create table public.share (id uuid primary key, percent int);
      create function public.total () returns bigint language sql as 'select coalesce(sum(percent), 0) from public.share';
      alter table public.share add constraint at_most_all check (percent + public.total() <= 100)`,
    tables: ['booking', 'slot', 'share']
  })
  const phone = user('alice')
  for (const table of ['booking', 'slot']) {
    const base = table === 'booking' ? 0 : 100
    const { statuses } = await phone.upload([put(base + 1, `public.${table}`, uuid(1), { during: '[1,5)' }), put(base + 2, `public.${table}`, uuid(2), { during: '[4,8)' }), put(base + 3, `public.${table}`, uuid(3), { during: '[8,9)' })])
    t.strictSame(statuses.map(verdict), ['applied v1', 'invalid constraint_violation', 'applied v1'], table)
    t.match(statuses[1], { invalid: { details: { sqlstate: '23P01' } } })
    t.strictSame(verdicts(await phone.upload([del(base + 4, `public.${table}`, uuid(1), 1), put(base + 5, `public.${table}`, uuid(2), { during: '[4,8)' })])), [`${base + 4} applied v2`, `${base + 5} applied v1`], `${table}: taken once the other row has made room`)
  }
  const shares = await phone.upload([put(201, 'public.share', uuid(1), { percent: 60 })])
  t.strictSame(verdicts(shares), ['201 applied v1'])
  const { statuses } = await phone.upload([put(202, 'public.share', uuid(2), { percent: 50 }), put(203, 'public.share', uuid(3), { percent: 40 })])
  t.strictSame(statuses.map(verdict), ['invalid constraint_violation', 'applied v1'])
  t.match(statuses[0], { invalid: { details: { constraint: 'at_most_all', sqlstate: '23514' } } })
  await assertSound(t, sql, 'alice')
  t.equal((await log(sql, 'alice')).length, 4 * 2 + 2)
})

t.test('what the app writes by plain SQL is not in the stream, and its rows are nobody\'s to take over; what it writes through the plugin is in the stream (A18)', async t => {
  const { sql, url, user } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  await sql`update business.users set email = 'by the app' where id = ${uuid(1)}`
  await sql`insert into business.users (id, name, email) values (${uuid(2)}, 'made by the app', 'x')`
  t.equal((await log(sql, 'alice')).length, 1, 'nobody told the stream')
  t.strictSame(verdicts(await phone.upload([put(2, 'users', uuid(2), john('taken'))])), ['2 invalid not_owner'])
  t.strictSame(verdicts(await phone.upload([del(3, 'users', uuid(2), 1)])), ['3 applied'], 'there is no such row in the stream, and nothing is deleted')
  t.strictSame([...await sql`select name from business.users where id = ${uuid(2)}`], [{ name: 'made by the app' }])

  const app = await startApp(t, { database: url })
  const own = { userId: 'alice', deviceId: 'backend' }
  const { json } = await app.oversync.upload(own, { changes: [put(1, 'users', uuid(1), { name: 'Johnny' }, 1)] }, { trusted: true })
  t.match(json, '"new_server_version":2')
  t.strictSame(verdicts(await phone.upload([put(4, 'users', uuid(1), john('offline'), 1)])), ['4 conflict v2'], 'a device that did not know is told')
  t.match((await caller(app, 'alice', 'pad').download({ after: 1 })).changes, [{ pk: uuid(1), source_id: 'backend', payload: { name: 'Johnny' } }])
  await assertSound(t, sql, 'alice')
})
