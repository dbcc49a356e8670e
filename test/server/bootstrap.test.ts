import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { assertSound, caller, john, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { lockWaiter } from '../helpers/locks.js'
import { launchServer, remoteDevice, startServer } from '../helpers/server-process.js'

/** Every table, column, constraint and index of the metadata, in one text. */
async function schemaOf (sql: Sql): Promise<string> {
  const rows = await sql<Array<{ line: string }>>`
    select format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity) as line
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'sync' and a.attnum > 0 and c.relkind in ('r', 'v')
    union all select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'sync'::regnamespace
    union all select indexdef from pg_indexes where schemaname = 'sync'
    union all select format('migration %s', name) from sync.migration
    union all select format('table %s', table_name) from sync.synced_table
    order by 1`
  return rows.map(({ line }) => line).join('\n')
}

async function businessDb (t: Test) {
  const db = await freshDb(t)
  await createBusinessSchema(db.sql)
  return db
}

t.test('a server that is killed at any statement of its first start: the next start makes the same schema (C2)', { timeout: 300_000 }, async t => {
  const whole = await businessDb(t)
  const { startStatements: total } = await startServer(t, whole.url)
  const golden = await schemaOf(whole.sql)
  t.ok(total > 10, `${total} statements`)
  const points = ['commit sent', ...Array.from({ length: total }, (_, i) => `statement ${i + 1}`)]
  const killAt = async (point: string) => {
    const db = await businessDb(t)
    t.equal(await launchServer(t, db.url, { DIE_AT: point }).ended(), 'SIGKILL', `${point}: killed`)
    return db
  }
  const dead = points.slice(0, 2).map(killAt)
  for (const [i, point] of points.entries()) {
    const { url, sql } = await dead[i] as Awaited<ReturnType<typeof killAt>>
    if (i + 2 < points.length) dead.push(killAt(points[i + 2] as string))
    // Now and then two at once, of which one may find the other at work; the dead one's session may still be open.
    const apps = await Promise.all(Array.from({ length: i % 4 === 0 ? 2 : 1 }, async () => await startApp(t, { database: `${url}?max=2` })))
    t.equal(await schemaOf(sql), golden, `${point}: the whole schema`)
    t.equal((await sql`select from sync.meta`).length, 1, `${point}: one epoch`)
    for (const [n, app] of apps.entries()) t.strictSame(verdicts(await caller(app, 'alice', `device ${n}`).upload([put(1, 'users', uuid(n), john())])), ['1 applied v1'], `${point}: it works`)
    await assertSound(t, sql, 'alice')
    for (const app of apps) await app.close()
  }
})

t.test('a process that is stuck in the migration keeps the others waiting only while it lives (C2)', async t => {
  const { url, sql } = await businessDb(t)
  const stuck = await sql.reserve()
  await stuck`begin`
  await stuck`create schema sync`
  const outcome = startApp(t, { database: url }).then(() => 'started', (error: Error) => error.message)
  await lockWaiter(sql)
  t.equal(await Promise.race([outcome, 'waits']), 'waits')
  await stuck`rollback`
  stuck.release()
  t.equal(await outcome, 'started')
})

t.test('a start that finds everything done takes no lock and writes nothing (C2, C21)', async t => {
  const { url, sql } = await businessDb(t)
  await startApp(t, { database: url })
  const before = await sql`select xmin::text, * from sync.migration`
  const blocker = await sql.reserve()
  await blocker`begin`
  await blocker`select pg_advisory_xact_lock(8031718527699873379)`
  await blocker`lock table sync.migration in share mode`
  await startApp(t, { database: `${url}?default_transaction_read_only=on` })
  await blocker`rollback`
  blocker.release()
  t.strictSame([...await sql`select xmin::text, * from sync.migration`], [...before])
})

t.test('a schema that a newer version made is refused with a sentence, and nothing of it is touched (C21, F12)', async t => {
  const { url, sql } = await businessDb(t)
  await startApp(t, { database: url })
  await sql`insert into sync.migration (name, timestamp) values ('9999-future', 'x')`
  await t.rejects(startApp(t, { database: url }), { name: 'ConfigurationError', message: /newer version of fastify-oversync \(9999-future\)/ })
})

t.test('rights that the role lacks on the metadata are named at start (C17)', async t => {
  const { url, sql } = await businessDb(t)
  const server = await startServer(t, url)
  const role = `nobody_${process.pid}_${Date.now()}`
  await sql.unsafe(`create role ${role} login password 'x'; grant usage on schema business, sync to ${role}; grant select, insert, update, delete on all tables in schema business, sync to ${role}`)
  t.teardown(async () => { await sql.unsafe(`drop owned by ${role}; drop role ${role}`) })
  const limited = new URL(url)
  limited.username = role
  limited.password = 'x'
  await startApp(t, { database: limited.href })
  await sql.unsafe(`revoke insert on sync.change_log from ${role}; revoke update on sync.stream from ${role}`)
  await t.rejects(startApp(t, { database: limited.href }), { name: 'ConfigurationError', message: /INSERT on sync\.change_log.*UPDATE on sync\.stream|UPDATE on sync\.stream.*INSERT on sync\.change_log/ })
  await sql.unsafe(`revoke usage on schema sync from ${role}`)
  await t.rejects(startApp(t, { database: limited.href }), { message: /permission denied for schema sync|rights on the metadata/ })
  t.strictSame(verdicts(await remoteDevice(server.origin, 'alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'], 'others go on')
})
