// The tabs among themselves, at moments that no real browser can be brought to at will: locks and channels are made here.
import t from 'tap'
import { SyncClientError } from '../../client/errors.js'
import { MAX_WAITING_CALLS } from '../../client/limits.js'
import { waitFor } from '../helpers/wait-for.js'
import { FakeBrowser, type FakeTab } from './fake-browser.js'

/** A promise, and the function that resolves it. */
function signal (): { promise: Promise<void>, give: () => void } {
  let give = (): void => {}
  const promise = new Promise<void>(resolve => { give = resolve })
  return { promise, give }
}

const never = async (): Promise<never> => await new Promise(() => {})
const ofError = async (promise: Promise<unknown>): Promise<unknown> => await promise.then(() => null, (error: SyncClientError) => [error.constructor, error.code])

t.test('when the leader dies in the middle of calls, reads and syncs are repeated, and a write whose outcome is unknown says so (D12, A19)', async t => {
  const browser = new FakeBrowser()
  const begun: string[] = []
  const stuck = (name: string) => async () => { begun.push(name); return await never() }
  const first = browser.openTab({ syncOnce: stuck('syncOnce'), held: stuck('held'), discardHeld: stuck('discardHeld'), signOut: stuck('signOut') })
  await first.db.run("insert into notes values ('a', 'of the first')")
  const second = browser.openTab({ syncOnce: () => 'by the second', held: () => [] })
  const third = browser.openTab()
  const { sync } = second.db
  const calls = [sync.syncOnce(), sync.held(), sync.discardHeld(1), (sync as unknown as { signOut: () => Promise<void> }).signOut()] as const
  const lost = Promise.all(calls.slice(2).map(async call => await ofError(call)))
  await waitFor('all to have begun', () => begun.length === 4)
  t.strictSame([first.db.role(), second.db.role(), third.db.role()], ['leader', 'follower', 'follower'])

  first.kill()
  t.equal(await calls[0], 'by the second')
  t.strictSame(await calls[1], [])
  t.strictSame(await lost, [[SyncClientError, 'leader_lost'], [SyncClientError, 'leader_lost']])
  t.strictSame(await third.db.all('select text from notes'), [{ text: 'of the first' }])
  t.strictSame([second.db.role(), third.db.role(), browser.open], ['leader', 'follower', 1])
})

t.test('a write that reached nobody goes to the next leader, once (D12)', async t => {
  const browser = new FakeBrowser()
  const opening = signal()
  const first = browser.openTab({}, { open: async () => await opening.promise })
  const second = browser.openTab()
  await waitFor('the second to follow', () => second.db.role() === 'follower')
  const closed = first.db.close() // it waits for the opening, and carries nothing out any more
  const written = second.db.run("insert into notes values ('a', 'x')")
  opening.give()
  await closed
  t.match(await written, { changes: 1 })
  t.equal(second.db.role(), 'leader')
  t.strictSame(await second.db.all('select count(*) as n from notes'), [{ n: 1 }])
})

t.test('a file that cannot be opened is an error of the call, and the next call tries again', async t => {
  const browser = new FakeBrowser()
  let attempts = 0
  const errors: unknown[] = []
  const { db } = browser.openTab({}, {
    open: () => { if (++attempts <= 2) throw new SyncClientError('storage_unavailable', `attempt ${attempts}`) }
  })
  db.on('error', error => { errors.push((error as SyncClientError).code) })
  await waitFor('the first attempt', () => attempts === 1)
  t.strictSame(await ofError(db.all('select 1')), [SyncClientError, 'storage_unavailable'])
  t.strictSame(await db.all('select 1 as one'), [{ one: 1 }])
  t.equal(attempts, 3)
  t.strictSame(errors, ['storage_unavailable'], 'nobody had called yet: it is an event')
})

t.test('the loop goes on under the next leader if it was started, and only then (D12)', async t => {
  const browser = new FakeBrowser()
  const calls: string[] = []
  const loopOf = (tab: string) => ({ start: (options: unknown) => { calls.push(`${tab} start ${JSON.stringify(options)}`) }, stop: () => { calls.push(`${tab} stop`) } })
  const [a, b, c, d] = [browser.openTab(loopOf('a')), browser.openTab(loopOf('b')), browser.openTab(loopOf('c')), browser.openTab(loopOf('d'))]
  const lead = async ({ db }: FakeTab): Promise<void> => { await waitFor('a leader with an open file', () => db.role() === 'leader' && db.storage() !== null) }
  const loop = ({ db }: FakeTab): { start: (options: unknown) => Promise<void>, stop: () => Promise<void> } => db.sync as never
  await lead(a)
  await loop(b).start({ everyMs: 5 })
  a.kill()
  await lead(b)
  await c.db.all('select 1')
  b.kill()
  await lead(c)
  await loop(d).stop()
  c.kill()
  await lead(d)
  t.strictSame(calls, ['a start {"everyMs":5}', 'b start {"everyMs":5}', 'c start {"everyMs":5}', 'c stop'])
})

t.test('calls of a tab that is gone are ended, and one that is aborted before it was begun is not carried out (D12)', async t => {
  const browser = new FakeBrowser()
  const begun = signal()
  const ended = signal()
  const leader = browser.openTab({
    syncOnce: async ({ signal }: { signal: AbortSignal }) => {
      signal.addEventListener('abort', () => ended.give())
      begun.give()
      return await never()
    }
  })
  await leader.db.all('select 1')
  const follower = browser.openTab()
  follower.db.sync.syncOnce({ signal: new AbortController().signal }).catch(() => {})
  await begun.promise
  follower.kill()
  await ended.promise

  const controller = new AbortController()
  const call = leader.db.sync.syncOnce({ signal: controller.signal })
  controller.abort(new Error('enough'))
  t.strictSame(await ofError(call), [SyncClientError, 'aborted'])
  t.strictSame(await ofError(leader.db.sync.syncOnce({ signal: controller.signal })), [SyncClientError, 'aborted'], 'nor one with a signal that is over')
})

t.test('a page cannot ask without end, nor after it has closed', async t => {
  const browser = new FakeBrowser()
  const { db } = browser.openTab({ syncOnce: never })
  const calls = Array.from({ length: MAX_WAITING_CALLS }, () => ofError(db.sync.syncOnce()))
  t.strictSame(await ofError(db.all('select 1')), [SyncClientError, 'too_many_calls'])
  t.equal((db.sync as unknown as { then: unknown }).then, undefined, 'it is no promise')
  db.close().catch(() => {})
  t.strictSame([...new Set((await Promise.all(calls)).map(error => String((error as unknown[])[1])))], ['closed'])
  t.strictSame(await ofError(db.all('select 1')), [SyncClientError, 'closed'])
})

t.test('a page and a worker of two versions are told from each other', async t => {
  const { db } = new FakeBrowser().openTab({}, { protocol: 0 })
  t.strictSame(await ofError(db.all('select 1')), [SyncClientError, 'other_build'])
})

t.test('a tab says that it is about to be frozen, and the others ask for its lock anew (D12)', async t => {
  const browser = new FakeBrowser()
  const leader = browser.openTab()
  const follower = browser.openTab()
  await leader.db.all('select 1')
  await follower.db.all('select 1')
  const before = browser.requests.filter(name => name === 'oversync:app:leader').length
  browser.say('oversync:app', { type: 'leaving' })
  await waitFor('a further request for the lock', () => browser.requests.filter(name => name === 'oversync:app:leader').length === before + 1)
  t.equal(leader.db.role(), 'leader', 'who is not frozen keeps it')
})

t.test('whenever a page begins to listen while its tab meets the leader, it hears what comes after (D12)', async t => {
  const browser = new FakeBrowser()
  const leader = browser.openTab()
  await leader.db.all('select 1')
  const deaf: number[] = []
  for (let ticks = 0; ticks < 30; ticks++) {
    const { db, kill } = browser.openTab()
    for (let i = 0; i < ticks; i++) await null
    let heard = 0
    db.on('change', () => { heard++ })
    await db.run('insert into notes values (?, ?)', [String(ticks), 'x'])
    await db.all('select 1') // the answer comes after the event of the write
    if (heard !== 1) deaf.push(ticks)
    kill()
  }
  t.strictSame(deaf, [])
})

t.test('a write of the app is noticed by the loop, and wakes it from no wait; what is the worker\'s is not for pages', async t => {
  const browser = new FakeBrowser()
  const called: string[] = []
  const { db } = browser.openTab({ noticeWrite: () => called.push('noticeWrite'), wake: () => called.push('wake') })
  await db.run("insert into notes values ('a', 'x')")
  await db.transaction([{ sql: "insert into notes values ('b', 'y')" }])
  await db.all('select * from notes')
  t.strictSame(called, ['noticeWrite', 'noticeWrite'])
  for (const name of ['uninstall', 'migrate', 'close', 'on', 'noticeWrite']) {
    const call = (db.sync as unknown as Record<string, () => Promise<unknown>>)[name]
    t.strictSame(await ofError((call as () => Promise<unknown>)()), [SyncClientError, 'invalid_option'], name)
  }
  t.strictSame(await db.all('select id from notes order by id'), [{ id: 'a' }, { id: 'b' }])
})
