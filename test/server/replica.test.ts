import postgres from 'postgres'
import t from 'tap'
import { buildApp, caller, john, put, startApp, uuid, verdicts } from '../helpers/app.js'

t.test('downloads from a standby that lags give what it has, and a cursor ahead of it is "nothing yet" (C10, L1, P9)', async t => {
  const { sql, url, user } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), john('one')), put(2, 'users', uuid(2), john('two'))])
  // A copy of the database as it is at this moment, read-only: a standby that is told nothing more.
  const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select current_database() as name`
  const admin = postgres(new URL('/postgres', url).href, { max: 1, onnotice: () => {} })
  t.teardown(async () => { await admin.end() })
  await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name} and pid <> pg_backend_pid()`
  await admin.unsafe(`create database ${name}_standby template ${name}`)
  await admin.unsafe(`alter database ${name}_standby set default_transaction_read_only = on`)
  const standby = new URL(url)
  standby.pathname += '_standby'
  const app = await startApp(t, { database: url, replica: standby.href })
  t.teardown(async () => {
    await app.close()
    await admin.unsafe(`drop database ${name}_standby with (force)`)
  })
  const pad = caller(app, 'alice', 'pad')
  const epoch = await caller(app, 'alice').epoch()
  t.strictSame(verdicts(await caller(app, 'alice').upload([put(3, 'users', uuid(3), john('three'))])), ['3 applied v1'], 'uploads go to the primary')

  const page = await pad.download({ epoch })
  t.strictSame([page.changes.length, page.window_until, page.has_more], [2, 2, false], 'what the standby has')
  const ahead = await pad.download({ epoch, after: 3 })
  t.strictSame([ahead.changes, ahead.next_after, ahead.window_until, ahead.has_more], [[], 3, 3, false], 'a cursor from the primary stays where it is')
  t.equal((await pad.request({ url: '/download?epoch=another' })).statusCode, 409, 'another history is one on a standby too')
  t.equal((await caller(app, 'bob').download()).window_until, 0, 'a new user, whom the standby does not know')

  const direct = await startApp(t, { database: url })
  t.equal((await caller(direct, 'alice', 'pad').request({ url: `/download?after=99&epoch=${epoch}` })).statusCode, 409, 'read from the primary it is a history that has changed')
})
