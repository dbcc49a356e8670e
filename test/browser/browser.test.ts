// The database in a real browser: its file, its tabs, and a real server with PostgreSQL behind it.
import t from 'tap'
import { waitFor } from '../helpers/wait-for.js'
import { createProfile, type Tab } from './profile.js'
import { createSite } from './site.js'

t.test('what is written offline goes up later, to PostgreSQL and to a second device', async t => {
  const site = await createSite(t)
  const [phone, laptop] = await Promise.all([createProfile(t), createProfile(t)])
  const tab = await phone.open(site.origin)
  t.strictSame(await tab.notes(), []) // SQLite itself has been loaded
  await phone.context().setOffline(true)
  await tab.add('one', 'two')
  t.match(await tab.do(async ({ db, failure }) => await failure(db.sync.syncOnce())), { type: 'SyncClientError', code: 'network', retry: true })
  t.strictSame(await tab.notes(), ['one', 'two'])
  t.match(await tab.do(async ({ db }) => {
    const { lastError, ...rest } = await db.sync.status()
    return { ...rest, error: `${lastError?.name} ${(lastError as { code?: string } | null)?.code}` }
  }), { pending: 2, persistence: 'opfs', reason: null, error: 'SyncClientError network' })

  await phone.context().setOffline(false)
  await tab.sync()
  t.strictSame(await site.notes(), ['one', 'two'])
  const other = await laptop.open(site.origin)
  await other.sync()
  t.strictSame(await other.notes(), ['one', 'two'])
  t.match(await other.heard('change'), { tables: ['notes'], by: 'sync' })
})

t.test('of two tabs one has the database; the other writes and reads through it, and both hear of it (D12, A19)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const tabs = await Promise.all([profile.open(site.origin), profile.open(site.origin)])
  await Promise.all(tabs.map(async tab => await tab.heard('leader', ({ persistence }: { persistence: string | null }) => persistence === 'opfs')))
  const roles = await Promise.all(tabs.map(async tab => await tab.role()))
  t.strictSame([...roles].sort(), ['follower', 'leader'])
  const [leader, follower] = roles[0] === 'leader' ? tabs : [tabs[1], tabs[0]]

  await leader.add('of the leader')
  t.strictSame(await follower.notes(), ['of the leader'])
  await follower.add('of the follower')
  t.strictSame(await leader.notes(), ['of the follower', 'of the leader'])
  for (const tab of tabs) await tab.heard('change', ({ by, tables }: { by: string, tables: string[] }) => by === 'app' && tables.includes('notes'))

  await Promise.all(tabs.map(async tab => await tab.sync()))
  t.strictSame(await site.notes(), ['of the follower', 'of the leader'])
  t.equal(await site.changes(), 2, 'two syncs at once sent each change once')
})

t.test('what crosses between page, worker and tabs arrives as it was: values, errors, the end of a call (D12)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const leader = await profile.open(site.origin)
  const follower = await profile.open(site.origin)
  for (const tab of [leader, follower]) {
    t.strictSame(await tab.do(async ({ db }) => {
      const id = globalThis.crypto.randomUUID()
      const { rows, changes } = await db.run<{ big: bigint }>('insert into notes (id, text, big, data) values (?, ?, ?, ?) returning big', [id, id, 9007199254740993n, new Uint8Array([0, 255])])
      const [row] = await db.all<{ big: bigint, data: Uint8Array, yes: number }>('select big, data, ? as yes from notes where id = ?', [true, id])
      await db.run('delete from notes')
      return [changes, String(rows[0]?.big), typeof row?.big, String(row?.big), row?.data instanceof Uint8Array, String(row?.data), row?.yes, (await db.run('select 1 as one')).changes]
    }), [1, '9007199254740993', 'bigint', '9007199254740993', true, '0,255', 1, 0])

    t.match(await tab.do(async ({ db, failure }) => [
      await failure(db.run('insert into notes (id) values (?)', ['x'])),
      await failure(db.transaction([{ sql: "insert into notes (id, text) values ('a', 'same')" }, { sql: "insert into notes (id, text) values ('b', 'same')" }])),
      await failure(db.all('insert into notes (id, text) values (?, ?) returning id', ['x', 'y'])),
      await failure(db.exec('begin')),
      await failure((db.sync as unknown as Record<string, (fn: unknown) => Promise<void>>)['migrate']!(1)),
      await failure((db.sync as unknown as Record<string, (fn: unknown) => Promise<void>>)['held']!(() => {}))
    ]), [
      { type: 'DriverError', code: 'constraint', message: /NOT NULL/ },
      { type: 'DriverError', code: 'unique', message: /UNIQUE/ },
      { type: 'DriverError', code: 'readonly' },
      { type: 'DriverError', code: 'unsupported', message: /use transaction/ },
      { type: 'SyncClientError', code: 'invalid_option', message: /no call migrate/ },
      { type: 'SyncClientError', code: 'invalid_option', message: /cannot be sent/ }
    ])
    t.strictSame(await tab.notes(), [], 'a transaction that failed left nothing')

    await tab.add('to be sent')
    const { arrived } = site.hold('/sync/upload', 'before')
    await tab.do(({ db, failure }) => {
      const controller = new AbortController()
      Object.assign(globalThis, { controller, ended: failure(db.sync.syncOnce({ signal: controller.signal })) })
    })
    await arrived
    t.match(await tab.do(async () => {
      const { controller, ended } = globalThis as unknown as { controller: AbortController, ended: Promise<unknown> }
      controller.abort()
      return await ended
    }), { code: 'aborted', retry: true })
    await waitFor('the client to give up the request', async () => (await tab.do(async ({ db }) => await db.sync.status())).lastError?.message.includes('aborted'))
    await tab.do(async ({ db }) => { await db.run('delete from notes') })
  }
  await leader.do(async ({ db, events }) => {
    events.length = 0
    await db.run("insert into local_only values ('k', 'v')")
  })
  t.match(await follower.heard('change', ({ tables }: { tables: string[] }) => tables.includes('local_only')), { by: 'app' }, 'a table without rowid is named too')
  t.strictSame(await leader.do(async ({ db, events }) => {
    events.length = 0
    await db.all('select 1')
    await db.run('delete from notes where 0')
    return events
  }), [], 'what changes nothing is no event')
})

t.test('when the tab that has the database is closed, or its process dies, another goes on where it was (D12, D1)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const first = await profile.open(site.origin)
  await first.add('first')
  const second = await profile.open(site.origin)
  const third = await profile.open(site.origin)
  const rolesOf = async (tabs: Tab[]): Promise<string[]> => await Promise.all(tabs.map(async tab => await tab.role()))
  await waitFor('each tab to know its part', async () => (await rolesOf([first, second, third])).join() === 'leader,follower,follower')

  // The second tab waits for its sync, which the first one carries out, and is repeated by the next leader.
  const { arrived, release } = site.hold('/sync/upload')
  const synced = second.sync()
  await arrived
  await first.page.close()
  await synced
  release()
  t.strictSame(await site.notes(), ['first'])
  t.equal(await site.changes(), 1, 'sent twice, applied once')

  await waitFor('an heir', async () => (await rolesOf([second, third])).sort().join() === 'follower,leader')
  const [heir, last] = await second.role() === 'leader' ? [second, third] : [third, second]
  await last.add('second')
  heir.page.goto('chrome://crash').catch(() => {}) // it never arrives there
  await waitFor('the last tab to lead', async () => await last.role() === 'leader')
  t.strictSame(await last.notes(), ['first', 'second'])
  await last.add('third')
  await last.sync()
  t.strictSame(await site.notes(), ['first', 'second', 'third'])
})

t.test('a page that is reloaded in the middle of a sync doubles and loses nothing (B2, D1, D2, P2, P6)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const other = await createProfile(t)
  const tab = await profile.open(site.origin)
  const peer = await other.open(site.origin)

  const reloadDuring = async (path: string): Promise<void> => {
    const { arrived, release } = site.hold(path)
    await tab.do(({ db }) => { db.sync.syncOnce().catch(() => {}) })
    await arrived
    await tab.page.reload()
    release()
    await tab.page.waitForFunction('globalThis.app')
  }
  await tab.sync()
  await tab.add('one', 'two')
  await reloadDuring('/sync/upload')
  t.equal(await site.changes(), 2, 'the server had done its work')
  await tab.add('three')
  await peer.add('of the peer')
  await peer.sync()
  await reloadDuring('/sync/download')
  await tab.sync()
  await peer.sync()
  const all = ['of the peer', 'one', 'three', 'two']
  t.strictSame([await tab.notes(), await peer.notes(), await site.notes()], [all, all, all])
  t.equal(await site.changes(), 4, 'each change is in the stream once')
  t.match(await tab.do(async ({ db }) => await db.sync.status()), { pending: 0, outbox: 0, held: 0 })
})

t.test('after a restart of the browser everything is still there, also what was not sent', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  let tab = await profile.open(site.origin)
  await tab.add('sent')
  await tab.sync()
  await tab.add('not sent')
  const { deviceId } = await tab.do(async ({ db }) => await db.sync.status())
  await profile.restart()
  tab = await profile.open(site.origin)
  t.strictSame(await tab.notes(), ['not sent', 'sent'])
  t.match(await tab.do(async ({ db }) => await db.sync.status()), { deviceId, pending: 1, persistence: 'opfs' })
  await tab.sync()
  t.strictSame(await site.notes(), ['not sent', 'sent'])
})

t.test('storage that the browser has thrown away is a new device, and harms nobody (D11)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  let tab = await profile.open(site.origin)
  await tab.add('kept')
  await tab.sync()
  await tab.add('lost with the storage')
  const before = await tab.do(async ({ db }) => await db.sync.status())
  await tab.page.goto(`${site.origin}/empty`)
  const session = await profile.context().newCDPSession(tab.page)
  await session.send('Storage.clearDataForOrigin', { origin: site.origin, storageTypes: 'all' })

  tab = await profile.open(site.origin)
  t.strictSame(await tab.notes(), [])
  await tab.sync()
  t.strictSame([await tab.notes(), await site.notes()], [['kept'], ['kept']])
  const after = await tab.do(async ({ db }) => await db.sync.status())
  t.not(after.deviceId, before.deviceId)
  await tab.add('new')
  await tab.sync()
  t.strictSame(await site.notes(), ['kept', 'new'])
  t.equal(await site.changes(), 2)
})

t.test('without OPFS the database is in memory, says so, and syncs (D11, D12)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const tab = await profile.open(`${site.origin}/?no-opfs`)
  const follower = await profile.open(`${site.origin}/?no-opfs`)
  await follower.add('in memory')
  t.strictSame(await tab.notes(), ['in memory'])
  for (const one of [tab, follower]) {
    t.match(await one.do(async ({ db }) => await db.sync.status()), { persistence: 'memory', reason: /no origin private file system/ })
    t.match(await one.heard('leader', ({ persistence }: { persistence: string | null }) => persistence !== null), { persistence: 'memory', reason: /no origin private/ })
  }
  await tab.sync()
  await tab.page.close()
  await waitFor('the other tab to lead', async () => await follower.role() === 'leader')
  t.strictSame(await follower.notes(), [], 'what was in memory went with its tab')
  await follower.sync()
  t.strictSame(await follower.notes(), ['in memory'], 'what had been sent comes back')
})

t.test('tabs of two versions of the app do not share a database, and both are told (D12)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const old = await profile.open(`${site.origin}/?build=1`)
  await old.add('by the old')
  const young = await profile.open(`${site.origin}/?build=2`)
  t.match(await young.do(async ({ db, failure }) => await failure(db.all('select 1'))), { type: 'SyncClientError', code: 'other_build', retry: false })
  t.match(await young.heard('otherBuild'), { theirs: '1' })
  t.match(await old.heard('otherBuild'), { theirs: '2' })
  t.strictSame(await old.notes(), ['by the old'], 'the first goes on')
  await old.page.goto(`${site.origin}/?build=2`)
  await waitFor('the young tab to lead', async () => await young.role() === 'leader')
  t.strictSame(await young.notes(), ['by the old'])
})

t.test('a tab that is frozen, or left for another page, hands the database over, and takes part again when it is back (D12)', async t => {
  const site = await createSite(t)
  const profile = await createProfile(t)
  const tab = await profile.open(site.origin)
  await tab.add('before')
  const other = await profile.open(site.origin)
  // Headless Chromium freezes no page, for all are visible: its events are made by hand.
  const pageEvent = async (name: string): Promise<void> => { await tab.page.evaluate(`document.dispatchEvent(new Event('${name}'))`) }
  await pageEvent('freeze')
  await waitFor('the other tab to lead', async () => await other.role() === 'leader')
  await other.add('meanwhile')
  await pageEvent('resume')
  await waitFor('the thawed tab to follow', async () => await tab.role() === 'follower')
  t.strictSame(await tab.notes(), ['before', 'meanwhile'])

  await other.page.goto(`${site.origin}/empty`)
  await waitFor('the first tab to lead', async () => await tab.role() === 'leader')
  await tab.add('while away')
  await other.page.evaluate('history.back()').catch(() => {}) // the page that answers is gone with it
  await other.page.waitForFunction('globalThis.app')
  t.strictSame(await other.notes(), ['before', 'meanwhile', 'while away'])
})
