import t, { type Test } from 'tap'
import { Crash, createWorld, expectConverged, expectSoundStream, syncUntilQuiet, type Device, type World } from './world.js'

/** A key that no other run uses: business tables hold the rows of all users. */
const key = (run: number, n: number) => `00000000-0000-4000-${String(8000 + run)}-${String(n).padStart(12, '0')}`

/**
 * A day on a phone that touches every path: inserts, edits, a deletion, a refusal, conflicts, a window from a peer. What the
 * app does itself happens once; the calls of the client are what may die and is called again.
 */
function day (run: number): Array<(phone: Device) => unknown> {
  return [
    ({ db }) => db.transaction(() => {
      db.prepare("insert into users values (?, 'Ada', 'ada@example.com', 1, 2)").run(key(run, 1))
      db.prepare("insert into posts (id, title, author_id) values (?, 'one', ?)").run(key(run, 2), key(run, 1))
    })(),
    async ({ sync }) => await sync.uploadOnce(),
    ({ db }) => db.transaction(() => {
      db.prepare("update posts set title = 'mine' where id = ?").run(key(run, 2))
      db.prepare("update typed_rows set note = 'mine', flag = 1 where id = ?").run(key(run, 11))
      db.prepare('delete from files where id = ?').run(key(run, 12))
      db.prepare('insert into typed_rows (id, note) values (?, ?)').run(key(run, 3), 'x'.repeat(1001))
    })(),
    async ({ sync }) => await sync.syncOnce(),
    ({ db }) => db.prepare("update typed_rows set note = 'short' where id = ?").run(key(run, 3)),
    async ({ sync }) => await sync.syncOnce()
  ]
}

/** What a peer does before that day, so that the phone meets conflicts and windows. */
async function morning (run: number, { device }: World, user: string): Promise<{ phone: Device, tablet: Device }> {
  const [phone, tablet] = [device('phone', { user }), device('tablet', { user })]
  tablet.db.prepare("insert into typed_rows (id, note, big) values (?, 'theirs', 1)").run(key(run, 11))
  tablet.db.prepare("insert into files (id, name) values (?, 'a file')").run(key(run, 12))
  tablet.db.prepare("insert into file_reviews (id, review, file_id) values (?, 'good', ?)").run(key(run, 13), key(run, 12))
  await tablet.sync.syncOnce()
  await phone.sync.syncOnce()
  tablet.db.prepare("update typed_rows set note = 'theirs again', big = 2 where id = ?").run(key(run, 11))
  await tablet.sync.syncOnce()
  return { phone, tablet }
}

/** Runs the day of one user with a crash at a step, restarts the app and lets it finish. Returns the steps made until the crash, or in the whole day. */
async function dayWithCrash (t: Test, world: World, run: number, crashAt: number): Promise<number> {
  const user = `user ${run}`
  let { phone, tablet } = await morning(run, world, user)
  phone.steps.made = 0
  phone.steps.crashAt = crashAt
  let made = 0
  let crashes = 0
  for (const act of day(run)) {
    try {
      await act(phone)
    } catch (error) {
      // Whatever the client makes of it, it must come from the crash.
      if (crashes++ > 0 || !(error instanceof Crash || (error as Error).cause instanceof Crash)) throw error
      made = phone.steps.made
      phone = phone.restart()
      await act(phone)
    }
  }
  t.equal(crashes, crashAt === Infinity ? 0 : 1, 'the process died as planned')
  if (crashes === 0) made = phone.steps.made
  await syncUntilQuiet([phone, tablet])
  await expectConverged(t, world, [phone, tablet], { checksStream: false })
  t.strictSame(phone.db.prepare('select id, title from posts').raw().all(), [[key(run, 2), 'mine']])
  // Both changed the note, and the server's side wins; only the phone changed the flag.
  t.strictSame(phone.db.prepare('select id, note, flag, big from typed_rows order by id').raw().all(), [[key(run, 3), 'short', null, null], [key(run, 11), 'theirs again', 1, 2]])
  t.strictSame([...await world.sql`select op, count(*)::int as changes from sync.changes where scope = ${user} group by op order by op`],
    [{ op: 'DELETE', changes: 2 }, { op: 'INSERT', changes: 6 }, { op: 'UPDATE', changes: 3 }], 'every change went in once')
  for (const device of [phone, tablet]) device.close()
  return made
}

t.test('D1, D2, D3: a client that dies at any statement or request of a day ends where it would have ended', { timeout: 1_500_000 }, async t => {
  const world = await createWorld(t)
  const steps = await dayWithCrash(t, world, 0, Infinity)
  t.comment(`the day has ${steps} steps`)
  t.ok(steps > 100 && steps < 500, `the day is long enough to mean something: ${steps} steps`)
  for (let crashAt = 1; crashAt <= steps; crashAt++) {
    await t.test(`dies at step ${crashAt} of ${steps}`, async t => { await dayWithCrash(t, world, crashAt, crashAt) })
  }
  await expectSoundStream(t, world.sql)
})
