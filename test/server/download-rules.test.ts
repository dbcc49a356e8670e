import t from 'tap'
import { MAX_PAGE_BYTES, MAX_SCANNED_POSITIONS } from '../../src/limits.js'
import { buildApp, caller, del, john, put, startApp, uuid, verdicts, type Caller, type Read } from '../helpers/app.js'
import type { DownloadResponse } from '../../src/index.js'

/** A page in one line: positions, has_more, next_after, window_until. */
function page ({ changes, has_more: more, next_after: next, window_until: until }: DownloadResponse): string {
  return `[${changes.map(({ server_id: position }) => position).join()}] ${more ? 'more' : 'end'} ${next} of ${until}`
}

/** Pages of a window to its end; throws where it makes no progress. */
async function readWindow (device: Caller, query: Record<string, string | number | boolean> = {}): Promise<Array<Read<DownloadResponse>>> {
  const pages = [await device.download(query)]
  for (;;) {
    const { has_more: more, next_after: after, window_until: until } = pages.at(-1) as DownloadResponse
    if (!more) return pages
    if (pages.length > 1 && after <= (pages.at(-2) as DownloadResponse).next_after) throw new Error('no progress')
    pages.push(await device.download({ ...query, after, until }))
  }
}

t.test('the first page of a new user is empty and has an epoch', async t => {
  const { user } = await buildApp(t)
  const { epoch, text: _, ...reply } = await user('nobody').download()
  t.strictSame(reply, { changes: [], has_more: false, next_after: 0, window_until: 0, floor: 0, source_id: 'phone', next_source_change_id: 1 })
  t.equal((await user('nobody').download()).epoch, epoch, 'and keeps it')
  t.not((await user('somebody').download()).epoch, epoch, 'which is that stream\'s alone')
})

t.test('a change has all its fields, in order, with times that people can read (P10)', async t => {
  const { user } = await buildApp(t)
  await user('alice').upload([put(5, 'users', uuid(1), john()), { ...put(6, 'users', uuid(2), john('Jane')), op: 'update' }, del(7, 'users', uuid(1), 1)])
  const { changes, text } = await user('alice', 'pad').download()
  const common = { schema: 'business', table: 'users', source_id: 'phone' }
  t.strictSame(changes.map(({ ts, ...change }) => change), [
    { server_id: 1, op: 'INSERT', pk: uuid(1), payload: { id: uuid(1), ...john() }, server_version: 1, deleted: false, source_change_id: 5, ...common },
    { server_id: 2, op: 'UPDATE', pk: uuid(2), payload: { id: uuid(2), ...john('Jane') }, server_version: 1, deleted: false, source_change_id: 6, ...common },
    { server_id: 3, op: 'DELETE', pk: uuid(1), server_version: 2, deleted: true, source_change_id: 7, ...common }
  ])
  for (const { ts } of changes) t.match(ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$/)
  t.notMatch(text, /alice/, 'the reply names no user')
})

t.test('parameters are integers, words and nothing else (G6, H17)', async t => {
  const { user } = await buildApp(t, { maxDownloadLimit: 50 })
  await user('alice', 'pad').upload(Array.from({ length: 60 }, (_, i) => put(i + 1, 'users', uuid(i + 1), john())))
  const phone = user('alice')
  const integers = ['-1', '+1', '1.0', '1.5', '1e3', '0x10', '1_0', ' 1', '', 'abc', 'NaN', 'null', '9007199254740992', '99999999999999999999', '٣', '1,2', 'true']
  const bad = [
    ...['after', 'limit', 'until', 'floor'].flatMap(name => [...integers.map(value => `${name}=${encodeURIComponent(value)}`), `${name}=1&${name}=2`, `${name}=1&${name}=1`]),
    'limit=0', 'limit=51', 'limit=1000',
    ...['', 'Business', 'a-b', 'a.b', 'a b', 'a"b', '*', '%00', 'é'].map(value => `schema=${value === '%00' ? value : encodeURIComponent(value)}`), 'schema=a&schema=b', 'epoch=a&epoch=b', 'include_self=true&include_self=true'
  ]
  for (const query of bad) {
    const reply = await phone.request({ url: `/download?${query}` })
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '400 invalid_request', query)
  }
  for (const query of ['after=0', 'after=007', 'after=9007199254740991', 'limit=1', 'limit=50', 'until=0', 'until=9007199254740991', 'floor=0', 'schema=no_such', 'include_self=nonsense', 'unknown=1&user_id=bob', 'after[]=1']) {
    t.equal((await phone.request({ url: `/download?${query}` })).statusCode, 200, query)
  }
  t.equal((await phone.download()).changes.length, 50, 'the default limit is not above the highest')
  const { user: other } = await buildApp(t)
  await other('alice', 'pad').upload(Array.from({ length: 1005 }, (_, i) => put(i + 1, 'users', uuid(i + 1), john())))
  t.equal((await other('alice').download()).changes.length, 100, 'the default limit')
  t.equal((await other('alice').download({ limit: 1000 })).changes.length, 1000)
  t.equal((await other('alice').request({ url: '/download?limit=1001' })).statusCode, 400)
})

t.test('windows: every combination of after, until and limit (H17)', async t => {
  const { user } = await buildApp(t)
  await user('alice', 'pad').upload([1, 2, 3, 4, 5].map(n => put(n, 'users', uuid(n), john())))
  const phone = user('alice')
  const cases: Array<[string, string]> = [
    ['after=0&limit=2', '[1,2] more 2 of 5'], ['after=2&limit=2&until=5', '[3,4] more 4 of 5'], ['after=4&limit=2&until=5', '[5] end 5 of 5'], ['after=5&limit=2&until=5', '[] end 5 of 5'],
    ['limit=5', '[1,2,3,4,5] end 5 of 5'], ['limit=4', '[1,2,3,4] more 4 of 5'], ['limit=6', '[1,2,3,4,5] end 5 of 5'],
    ['until=0', '[1,2,3,4,5] end 5 of 5'], ['until=3', '[1,2,3] end 3 of 3'], ['until=3&limit=3', '[1,2,3] end 3 of 3'], ['until=3&limit=2', '[1,2] more 2 of 3'], ['until=1', '[1] end 1 of 1'],
    ['until=9', '[1,2,3,4,5] end 5 of 5'], ['until=9007199254740991', '[1,2,3,4,5] end 5 of 5'],
    ['after=3&until=3', '[] end 3 of 3'], ['after=4&until=2', '[] end 4 of 4'], ['after=5', '[] end 5 of 5'],
    ['after=6', '[] end 6 of 6'], ['after=6&until=3', '[] end 6 of 6'], ['after=9007199254740991', '[] end 9007199254740991 of 9007199254740991'], ['after=9007199254740991&until=9007199254740991', '[] end 9007199254740991 of 9007199254740991']
  ]
  for (const [query, expected] of cases) t.equal(page(JSON.parse((await phone.request({ url: `/download?${query}` })).body)), expected, query)
})

t.test('own changes and other schemas are passed over, and the cursor moves over them (P10)', async t => {
  const { user } = await buildApp(t, { tables: [{ table: 'public.notes', materialize: false }] })
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  for (let n = 1; n <= 8; n++) await (n % 4 === 0 ? pad : phone).upload([put(n, n > 6 ? 'public.notes' : 'users', uuid(n), john())])
  const cases: Array<[Caller, string, string]> = [
    [phone, '', '[4,8] end 8 of 8'], [phone, 'limit=1', '[4] more 4 of 8'], [phone, 'limit=1&after=4', '[8] end 8 of 8'], [phone, 'until=3', '[] end 3 of 3'], [phone, 'after=4&until=7', '[] end 7 of 7'],
    [phone, 'include_self=true', '[1,2,3,4,5,6,7,8] end 8 of 8'], [phone, 'include_self=TRUE', '[4,8] end 8 of 8'], [phone, 'include_self=1', '[4,8] end 8 of 8'], [phone, 'include_self=', '[4,8] end 8 of 8'], [phone, 'include_self=false', '[4,8] end 8 of 8'],
    [pad, '', '[1,2,3,5,6,7] end 8 of 8'], [pad, 'after=7', '[] end 8 of 8'], [pad, 'limit=6', '[1,2,3,5,6,7] more 7 of 8'], [pad, 'limit=6&after=7&until=8', '[] end 8 of 8'],
    [pad, 'schema=public', '[7] end 8 of 8'], [pad, 'schema=public&include_self=true', '[7,8] end 8 of 8'], [pad, 'schema=business&limit=2', '[1,2] more 2 of 8'], [pad, 'schema=business', '[1,2,3,5,6] end 8 of 8'], [pad, 'schema=unknown', '[] end 8 of 8'], [pad, 'schema=sync', '[] end 8 of 8'],
    [user('alice', 'third'), '', '[1,2,3,4,5,6,7,8] end 8 of 8'], [user('bob', 'phone', { scope: 'alice' }), '', '[1,2,3,4,5,6,7,8] end 8 of 8'], [user('bob'), '', '[] end 0 of 0']
  ]
  for (const [device, query, expected] of cases) t.equal(page(JSON.parse((await device.request({ url: `/download?${query}` })).body)), expected, query)
})

t.test('a window is frozen: its pages repeat while uploads go on, and the next window has the rest (A14, A15, P9, P10)', async t => {
  const { user } = await buildApp(t)
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  await pad.upload([1, 2, 3, 4, 5].map(n => put(n, 'users', uuid(n), john())))
  const first = await phone.download({ limit: 2 })
  const pages = [first]
  for (let n = 6; n < 20 && pages.at(-1)?.has_more === true; n++) {
    await pad.upload([put(n, 'users', uuid(n), john()), put(100 + n, 'users', uuid(1), john(`John${n}`), n - 5)])
    const query = { limit: 2, after: (pages.at(-1) as DownloadResponse).next_after, until: first.window_until }
    pages.push(await phone.download(query))
    t.equal((await phone.download(query)).text, pages.at(-1)?.text, 'the same page again')
  }
  t.strictSame(pages.map(page), ['[1,2] more 2 of 5', '[3,4] more 4 of 5', '[5] end 5 of 5'])
  t.equal((await phone.download({ limit: 2, until: 5 })).text, first.text, 'the first page again, to the last byte')
  t.equal(page(await phone.download({ after: 5 })), '[6,7,8,9] end 9 of 9')
})

t.test('a page ends when it has bytes enough, and always has one change (G12)', async t => {
  const { user } = await buildApp(t)
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  const large = 'x'.repeat(Math.ceil(MAX_PAGE_BYTES / 2))
  for (let n = 1; n <= 5; n++) await pad.upload([put(n, 'typed_rows', uuid(n), { doc: n === 4 ? 'small' : large })])
  const pages = await readWindow(phone)
  t.strictSame(pages.map(page), ['[1,2] more 2 of 5', '[3,4,5] end 5 of 5'])
  await pad.upload([put(6, 'typed_rows', uuid(6), { doc: large + large })])
  t.equal(page(await phone.download({ after: 5 })), '[6] end 6 of 6', 'one that is larger than a page')
  t.equal(page(await phone.download({ after: 4 })), '[5,6] end 6 of 6')
  await pad.upload([put(7, 'users', uuid(7), john())])
  t.equal(page(await phone.download({ after: 5 })), '[6] more 6 of 7')
  t.strictSame((await readWindow(phone)).flatMap(({ changes }) => changes.map(({ server_id: n }) => n)), [1, 2, 3, 4, 5, 6, 7])
})

t.test('a request looks at a bounded stretch of the log and says where it stopped (P10)', async t => {
  const { user, sql } = await buildApp(t)
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  await phone.upload([put(1, 'users', uuid(1), john())])
  const last = 2 * MAX_SCANNED_POSITIONS + 3
  await sql`
    insert into sync.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
    select scope_id, n, source_no, n, table_id, 'U', pk, n, payload, payload_bytes from sync.change_log, generate_series(2, ${last}) n`
  await sql`update sync.stream set head = ${last}`
  await sql`update sync.row_state set version = ${last}, server_id = ${last}`
  await sql`update sync.source set max_change_id = ${last}`
  t.strictSame((await readWindow(phone)).map(page), [
    `[] more ${MAX_SCANNED_POSITIONS} of ${last}`, `[] more ${2 * MAX_SCANNED_POSITIONS} of ${last}`, `[] end ${last} of ${last}`
  ], 'its own changes only')
  t.strictSame(verdicts(await pad.upload([put(1, 'users', uuid(2), john())])), ['1 applied v1'])
  t.strictSame((await readWindow(phone)).map(page), [
    `[] more ${MAX_SCANNED_POSITIONS} of ${last + 1}`, `[] more ${2 * MAX_SCANNED_POSITIONS} of ${last + 1}`, `[${last + 1}] end ${last + 1} of ${last + 1}`
  ], 'the one change behind them')
  t.equal(page(await phone.download({ after: last - MAX_SCANNED_POSITIONS })), `[] more ${last} of ${last + 1}`, 'the position behind the stretch is not looked at')
  t.equal(page(await phone.download({ after: last + 1 - MAX_SCANNED_POSITIONS })), `[${last + 1}] end ${last + 1} of ${last + 1}`, 'the last position of the stretch is')
  t.equal((await pad.download({ limit: 1000 })).changes.length, 1000)
})

t.test('another history, or a cursor beyond the head, is said to clients that send an epoch (L1, L2, I8, C9)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  await user('alice', 'pad').upload([put(1, 'users', uuid(1), john())])
  const epoch = await phone.epoch()
  const answer = async (query: Record<string, string>) => {
    const { statusCode, body } = await phone.request({ url: `/download?${new URLSearchParams(query)}` })
    return statusCode === 200 ? page(JSON.parse(body)) : `${statusCode} ${JSON.parse(body).error as string}`
  }
  t.equal(await answer({ epoch }), '[1] end 1 of 1')
  t.equal(await answer({ epoch, after: '1' }), '[] end 1 of 1')
  t.equal(await answer({ epoch, after: '2' }), '409 history_changed')
  t.equal(await answer({ after: '2' }), '[] end 2 of 2', 'an older client')
  for (const wrong of ['', 'x', await user('bob').epoch(), `${epoch}x`]) t.equal(await answer({ epoch: wrong }), '409 history_changed', wrong)
  await sql`update sync.meta set epoch = 'renewed'`
  t.equal(await answer({ epoch }), '409 history_changed', 'renewed by the operator')
  t.equal(await answer({}), '[1] end 1 of 1')
})

t.test('a cursor below the floor has expired, unless its device began there (J5)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  await user('alice', 'pad').upload([1, 2, 3, 4, 5].map(n => put(n, 'users', uuid(n), john())))
  await sql`update sync.stream set floor = 3`
  const epoch = await phone.epoch()
  const answer = async (query: Record<string, string | number>) => {
    const { statusCode, body } = await phone.request({ url: `/download?${new URLSearchParams(Object.entries({ epoch, ...query }).map(([k, v]): [string, string] => [k, String(v)]))}` })
    return statusCode === 200 ? `200 floor ${JSON.parse(body).floor as number}` : `${statusCode} ${JSON.parse(body).error as string}`
  }
  for (const [query, expected] of [
    [{}, '200 floor 3'], [{ after: 0 }, '200 floor 3'], [{ after: 1 }, '410 cursor_expired'], [{ after: 2 }, '410 cursor_expired'], [{ after: 3 }, '200 floor 3'], [{ after: 4 }, '200 floor 3'],
    [{ after: 1, floor: 3 }, '200 floor 3'], [{ after: 1, floor: 2 }, '410 cursor_expired'], [{ after: 1, floor: 4 }, '410 cursor_expired'], [{ after: 1, floor: 0 }, '410 cursor_expired']
  ] as Array<[Record<string, number>, string]>) t.equal(await answer(query), expected, JSON.stringify(query))
  await sql`update sync.stream set compacted_through = 4`
  t.equal(page(await phone.download({ until: 3 })), '[1,2,3,4,5] end 5 of 5', 'a bound that retention has passed is raised to the head')
  t.equal(page(await phone.download({ until: 4 })), '[1,2,3,4] end 4 of 4', 'one that it has not is kept')
})

t.test('no reply of these routes may be cached', async t => {
  const { user } = await buildApp(t)
  const phone = user('alice')
  const replies = [
    await phone.request({ url: '/download' }), await phone.request({ url: '/download?after=x' }), await phone.request({ url: '/status' }), await phone.request({ url: '/schema-version' }),
    await phone.uploadText('{}'), await phone.uploadText('{'), await phone.uploadText('{}', { 'content-type': 'text/plain' }), await phone.request({ url: '/download?epoch=x' })
  ]
  for (const { headers, statusCode } of replies) t.equal(headers['cache-control'], 'no-store', String(statusCode))
})

t.test('a table that is no longer registered stays in the stream under its name (F8)', async t => {
  const { user, url } = await buildApp(t, { tables: [{ table: 'public.notes', materialize: false }] })
  await user('alice').upload([put(1, 'public.notes', uuid(1), { text: 'kept' })])
  const later = await startApp(t, { database: url })
  const { changes } = await caller(later, 'alice', 'pad').download()
  t.match(changes, [{ schema: 'public', table: 'notes', payload: { text: 'kept' } }])
  t.strictSame(verdicts(await caller(later, 'alice').upload([put(1, 'public.notes', uuid(1), { text: 'kept' })])), ['1 invalid unregistered_table'])
})
