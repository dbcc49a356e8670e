import t from 'tap'
import { assertSound, buildApp, caller, del, john, log, put, startApp, uuid, verdicts, type World } from '../helpers/app.js'

const LAST = Number.MAX_SAFE_INTEGER

/** Moves a stream as if it had had so many changes: positions of its log and of its row states with it. */
async function moveHead ({ sql }: World, by: number): Promise<void> {
  await sql`update sync.change_log set server_id = server_id + ${by}::bigint`
  await sql`update sync.row_state set server_id = server_id + ${by}::bigint`
  await sql`update sync.stream set head = head + ${by}::bigint`
}

t.test('positions near 2^53 are exact on the wire, and the stream ends before they are not (L7)', async t => {
  const world = await buildApp(t)
  const { sql, user } = world
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  await phone.upload([put(1, 'users', uuid(1), john())])
  await moveHead(world, LAST - 3)
  const reply = await phone.upload([put(2, 'users', uuid(2), john()), put(3, 'users', uuid(3), john())])
  t.strictSame(verdicts(reply), ['2 applied v1', '3 applied v1'])
  t.equal(reply.highest_server_seq, LAST)
  const page = await pad.download({ after: LAST - 3, epoch: await pad.epoch() })
  t.strictSame(page.changes.map(({ server_id: n }) => n), [LAST - 2, LAST - 1, LAST])
  t.match(page.text, `"server_id":${LAST},`)
  t.strictSame([page.window_until, page.next_after, page.has_more], [LAST, LAST, false])
  t.equal((await pad.download({ after: LAST })).changes.length, 0, 'a cursor at the end')
  t.equal((await pad.download({ after: LAST - 1, until: LAST, limit: 1 })).next_after, LAST)

  const refused = await phone.uploadText(JSON.stringify({ changes: [put(4, 'users', uuid(4), john())] }))
  t.equal(`${refused.statusCode} ${JSON.parse(refused.body).error as string}`, '500 internal_error')
  t.equal((await sql`select from sync.change_log`).length, 3, 'nothing stored')
  t.equal((await sql`select from business.users where id = ${uuid(4)}`).length, 0)
  t.strictSame(verdicts(await phone.upload([put(3, 'users', uuid(3), john()), put(5, 'users', uuid(1), john('stale')), del(6, 'users', uuid(9), 0)])), ['3 applied v1', '5 conflict v1', '6 applied'], 'replays, conflicts and what needs no position go on')
  t.strictSame(verdicts(await user('bob').upload([put(1, 'users', uuid(5), john())])), ['1 applied v1'], 'and so do other streams')
})

t.test('versions near 2^53 are exact on the wire, and the last one has no successor (L7)', async t => {
  const { sql, user } = await buildApp(t)
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'users', uuid(2), john()), put(3, 'files', uuid(3), { name: 'f' }), put(4, 'file_reviews', uuid(4), { review: 'r', file_id: uuid(3) })])
  await sql`update sync.row_state set version = ${LAST - 1}::bigint where pk in (${uuid(1)}, ${uuid(2)}, ${uuid(4)})`
  t.strictSame(verdicts(await phone.upload([put(5, 'users', uuid(1), john('last'), LAST - 1)])), [`5 applied v${LAST}`])
  t.match((await pad.download()).text, new RegExp(`"op":"UPDATE","deleted":false,"pk":"${uuid(1)}","server_version":${LAST},`))
  const mixed = await phone.upload([put(6, 'users', uuid(1), john('beyond'), LAST), del(7, 'users', uuid(1), LAST), put(8, 'users', uuid(1), john('stale'), LAST - 1), del(9, 'users', uuid(2), LAST - 1)])
  t.strictSame(verdicts(mixed), ['6 invalid bad_payload', `7 conflict v${LAST}`, `8 conflict v${LAST}`, `9 applied v${LAST}`], 'its neighbours go on')
  t.match((await sql`select name from business.users`).map(row => row['name'] as string), ['last'])
  const late = await phone.uploadText(JSON.stringify({ changes: [{ ...put(10, 'users', uuid(1), john()), server_version: 0 }] }).replace('"server_version":0', '"server_version":9007199254740992'))
  t.match(late.body, '"reason":"bad_payload"', 'a base beyond is none')

  await sql`update sync.row_state set version = ${LAST}::bigint where pk = ${uuid(4)}`
  const cascade = await phone.uploadText(JSON.stringify({ changes: [del(11, 'files', uuid(3), 1)] }))
  t.equal(cascade.statusCode, 500, 'a cascade that would need a version beyond is undone as a whole')
  t.equal((await sql`select from business.files`).length, 1)
})

t.test('the highest source_change_id is taken, and the next one is told exactly (L7, H10)', async t => {
  const { user } = await buildApp(t)
  const reply = await user('alice').upload([put(LAST, 'users', uuid(1), john())])
  t.strictSame(verdicts(reply), [`${LAST} applied v1`])
  t.match(reply.text, '"next_source_change_id":9007199254740992}')
  t.strictSame(verdicts(await user('alice').upload([put(LAST, 'users', uuid(1), john()), put(5, 'users', uuid(2), john())])), [`${LAST} applied v1`, '5 applied v1'], 'a replay, and a number that was left free')
})

t.test('an installation beside this one, with the same users, devices and rows, is another history (L9)', async t => {
  const [staging, production] = [await buildApp(t), await buildApp(t)]
  for (const { user } of [staging, production]) await user('alice').upload([put(1, 'users', uuid(1), john())])
  const epoch = await staging.user('alice').epoch()
  t.not(await production.user('alice').epoch(), epoch)
  const upload = await production.user('alice').uploadText(JSON.stringify({ epoch, changes: [put(2, 'users', uuid(2), john())] }))
  const download = await production.user('alice').request({ url: `/download?after=1&epoch=${epoch}` })
  for (const { statusCode, body } of [upload, download]) t.equal(`${statusCode} ${JSON.parse(body).error as string}`, '409 history_changed')
  t.notMatch(download.body, 'changes')
  t.strictSame(await log(production.sql, 'alice'), ['1 users 1 I v1'], 'nothing is mixed')
})

t.test('a user who was erased and signs up again has another epoch, so that old devices notice it (I10)', async t => {
  const { sql, url, user } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john())])
  await user('bob').upload([put(1, 'users', uuid(2), john())])
  const [before, other] = [await phone.epoch(), await user('bob').epoch()]
  const gone = caller(await startApp(t, { database: url, getIdentity: () => { throw Object.assign(new Error('The account was deleted.'), { statusCode: 403 }) } }), 'alice')
  for (const reply of [await gone.uploadText('{}'), await gone.request({ url: '/download' })]) t.equal(reply.statusCode, 403, 'the app says that there is no such account')

  const [scope] = await sql<Array<{ scope_id: string }>>`select scope_id::text from sync.scope where name = 'alice'`
  for (const table of ['change_log', 'row_state', 'source', 'materialize_failure', 'stream', 'scope']) await sql`delete from ${sql(`sync.${table}`)} where scope_id = ${scope?.scope_id as string}::bigint`
  await sql`delete from business.users where id = ${uuid(1)}`
  for (const request of [{ url: `/download?after=1&epoch=${before}` }, { url: '/upload', method: 'POST' as const, payload: { epoch: before, changes: [put(2, 'users', uuid(1), john('again'), 1)] } }]) {
    const { statusCode, body } = await phone.request(request)
    t.equal(`${statusCode} ${JSON.parse(body).error as string}`, '409 history_changed', request.url)
  }
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john('anew'))])), ['1 applied v1'], 'a device that rebuilt begins with 1')
  t.not(await user('alice').epoch(), before)
  t.equal(await user('bob').epoch(), other, 'nobody else notices anything')
  for (const name of ['alice', 'bob']) await assertSound(t, sql, name)
})

t.test('an upload that arrives again after months is still a replay, and what came since stays (B8, A4)', async t => {
  const { sql, user } = await buildApp(t)
  const phone = user('alice')
  const old = [put(1, 'users', uuid(1), john('old')), put(2, 'users', uuid(2), john('gone')), put(3, 'users', uuid(3), john('quiet'))]
  await phone.upload(old)
  await sql`update sync.change_log set ts = ts - interval '400 days'`
  await sql`update sync.source set last_seen = last_seen - interval '400 days'`
  for (let n = 1; n <= 30; n++) await user('alice', 'pad').upload([put(n, 'users', uuid(1), john(`new ${n}`), n)])
  await user('alice', 'pad').upload([del(31, 'users', uuid(2), 1)])
  t.strictSame(verdicts(await phone.upload(old)), ['1 applied v1 row v31', '2 applied v1 row v2 deleted', '3 applied v1'])
  t.strictSame((await sql`select name from business.users order by name`).map(row => row['name'] as string), ['new 30', 'quiet'])
  t.equal((await log(sql, 'alice')).length, 34)
  await assertSound(t, sql, 'alice')
})
