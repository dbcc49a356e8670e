import { Kysely } from 'kysely'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { connect } from '../../src/storage/connect.js'
import { caller, del, john, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

/** What would live on in a session after its transaction. A pooler in transaction mode hands the session to somebody else then. */
const OF_A_SESSION: Record<string, RegExp> = {
  'a setting': /^\s*(?:set\s+(?!local\b|constraints\b|transaction\b)|reset\b|discard\b)|set_config\s*\([^()]*(?:\([^()]*\)[^()]*)*,\s*false\s*\)/i,
  'an advisory lock': /pg_(?:try_)?advisory_(?:lock|unlock)/i,
  'a named statement': /^\s*(?:prepare|execute|deallocate)\b/i,
  'a channel': /^\s*(?:un)?listen\b/i,
  'a temporary table': /create\s+(?:(?:global|local)\s+)?temp/i,
  'a cursor with hold': /with\s+hold/i
}

/** All that an app sends, from its first start on an empty database to the last refusal, by statement. */
async function everyStatement (t: Test): Promise<string[]> {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const statements: string[] = []
  const client = postgres(url, { max: 3, prepare: false, onnotice: () => {}, debug: (_connection, statement) => { statements.push(statement) } })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  const app = await startApp(t, { database: client })
  const [phone, older] = [caller(app, 'alice'), caller(app, 'alice', 'old', { older: true })]
  await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(1), { title: 't', author_id: uuid(1) }), put(3, 'files', uuid(1), { name: 'f' }), put(4, 'file_reviews', uuid(1), { file_id: uuid(1) })])
  await phone.upload([put(5, 'users', uuid(1), { name: 'part' }, 1), put(6, 'typed_rows', uuid(1), { note: 'x'.repeat(1001) }), put(7, 'typed_rows', uuid(2), { big: 'no number' }), put(8, 'posts', uuid(2), { title: 't', author_id: uuid(99) }), del(9, 'files', uuid(1), 1)])
  await phone.upload([put(1, 'users', uuid(1), john()), put(10, 'users', uuid(1), john('Stale'), 1)])
  await older.upload([put(1, 'files', uuid(7), { name: 'one' })])
  await older.upload([put(1, 'files', uuid(7), { name: 'two' }, 1)])
  await phone.download()
  await phone.request({ url: '/status' })
  return statements
}

t.test('nothing that the plugin sends needs the session to be its own: a pooler may stand between (C13)', async t => {
  const statements = await everyStatement(t)
  t.ok(statements.length > 80, `${statements.length} statements`)
  for (const [what, pattern] of Object.entries(OF_A_SESSION)) t.strictSame(statements.filter(statement => pattern.test(statement)), [], what)
  t.match(statements.find(statement => /advisory/.test(statement)), /pg_advisory_xact_lock/, 'the lock of the migration ends with its transaction')
  t.equal(statements.filter(statement => /^begin/i.test(statement)).length, statements.filter(statement => /^(?:commit|rollback)$/i.test(statement)).length, 'every transaction is ended')
  let open = false
  const outside = statements.filter(statement => {
    if (/^begin/i.test(statement)) open = true
    if (/^(?:commit|rollback)$/i.test(statement)) open = false
    return !open && /savepoint|set_config|set constraints|for no key update/i.test(statement)
  })
  t.strictSame(outside, [], 'what belongs into a transaction is in one')
})

t.test('a pattern that never matched would prove nothing (C13)', async t => {
  const examples = {
    'a setting': ['set lock_timeout = 1', 'reset all', "select set_config('lock_timeout', current_setting('x'), false)"],
    'an advisory lock': ['select pg_advisory_lock(1)', 'select pg_try_advisory_lock(1)'],
    'a named statement': ['prepare a as select 1'],
    'a channel': ['listen x'],
    'a temporary table': ['create temp table x ()'],
    'a cursor with hold': ['declare c cursor with hold for select 1']
  }
  for (const [what, statements] of Object.entries(examples)) for (const statement of statements) t.match(statement, OF_A_SESSION[what] as RegExp, statement)
  t.notMatch('set constraints all deferred', OF_A_SESSION['a setting'] as RegExp)
  t.notMatch("select set_config('lock_timeout', '1ms', true)", OF_A_SESSION['a setting'] as RegExp)
})

t.test('the sessions of a connection string hold no named statement, no lock and no setting afterwards (C13)', async t => {
  const { url, sql } = await freshDb(t)
  await createBusinessSchema(sql)
  const { db, close } = connect(`${url}?max=1`)
  t.teardown(close)
  // The pool of one connection is shared with this test: what the plugin left in the session is seen from inside.
  const app = await startApp(t, { database: db as Kysely<any> })
  const { user } = { user: caller(app, 'alice') }
  t.strictSame(verdicts(await user.upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
  await user.download()
  const look = async (text: string) => (await db.executeQuery({ sql: text, parameters: [], query: { kind: 'RawNode' } as never, queryId: { queryId: 'look' } as never })).rows
  t.strictSame(await look('select name from pg_prepared_statements'), [])
  t.strictSame(await look("select locktype from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"), [])
  t.strictSame(await look("select name from pg_settings where source = 'session' and name <> 'application_name'"), [])
  t.strictSame(await look('select relname from pg_class where relpersistence = \'t\''), [])
})
