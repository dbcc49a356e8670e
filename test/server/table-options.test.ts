import Fastify from 'fastify'
import t from 'tap'
import oversync, { type DownloadResponse, type TableOptions, type UploadChange } from '../../src/index.js'
import { assertSound, buildApp, caller, del, log, put, startApp, uuid, verdicts, type Caller } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const SCHEMA = `
  create schema app;
  create table app.people (id uuid primary key, owner text, name text, salary numeric default 1000, level int generated always as (length(name)) stored);
  create table app.news (id uuid primary key, text text, author uuid references app.people);
  create table app.events (id uuid primary key, what text);
  create table app.colours (id uuid primary key, name text);
  create table app.cars (id uuid primary key, colour uuid references app.colours);
  create function app.raise() returns trigger language plpgsql as $$ begin new.salary := coalesce(new.salary, 0) + 1; return new; end $$;`

const people: TableOptions = { table: 'app.people', exclude: ['salary'] }
const person = (n: number, row: number, fields: Record<string, unknown>, base = 0): UploadChange => put(n, 'app.people', uuid(row), fields, base)

/** All that a caller can read: of the stream, and of a conflict about the row. */
async function everythingShown (device: Caller, row: number): Promise<string> {
  const pages: DownloadResponse = await device.download({ include_self: true })
  const conflict = await device.upload([person(900, row, { name: 'conflict' }, 99)])
  return JSON.stringify([pages, conflict])
}

t.test('an excluded column is removed from what devices send, and they are told by server_row', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: [people] })
  const phone = user('alice')
  const { statuses } = await phone.upload([person(1, 1, { name: 'Ada', salary: 777.25 }), person(2, 2, { name: 'Bob' })])
  t.match(statuses[0], { status: 'applied', new_server_version: 1, server_row: { server_version: 1, payload: { id: uuid(1), name: 'Ada' } } })
  t.notMatch(JSON.stringify(statuses), /salary|777\.25/)
  t.strictSame((await sql`select salary from app.people order by id`).map(row => row['salary'] as string), ['1000', '1000'], 'its default')
  await sql`update app.people set salary = 5000.75`
  t.match((await phone.upload([person(3, 1, { salary: 1 }, 1), person(4, 2, { name: 'Bobby', salary: null }, 1)])).statuses, [{ status: 'applied' }, { status: 'applied' }])
  t.strictSame((await sql`select name, salary from app.people order by id`).map(row => ({ ...row })), [{ name: 'Ada', salary: '5000.75' }, { name: 'Bobby', salary: '5000.75' }], 'devices cannot touch it')
  for (const device of [phone, user('alice', 'pad')]) {
    const shown = await everythingShown(device, 1)
    t.match(shown, /Ada/)
    t.notMatch(shown, /salary|5000\.75|777\.25/)
  }
  t.notMatch(JSON.stringify(await sql`select payload from sync.change_log`), /salary/, 'nor is it in the log')
  t.match((await phone.upload([person(1, 1, { name: 'Ada', salary: 777.25 })])).statuses[0], { status: 'applied', new_server_version: 1 }, 'a replay is one')
  t.match((await phone.upload([person(1, 1, { name: 'Ada' })])).statuses[0], { status: 'applied', new_server_version: 1 })
  await assertSound(t, sql, 'alice')
})

t.test('an excluded column that the database itself writes is not read back, and other columns are', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: `${SCHEMA} create trigger raise before insert or update on app.people for each row execute function app.raise()`, alone: true, tables: [{ ...people, owner: 'owner' }] })
  const { statuses } = await user('alice').upload([person(1, 1, { name: 'Ada', salary: 3 })])
  t.match(statuses[0], { status: 'applied', server_row: { payload: { id: uuid(1), name: 'Ada', owner: 'alice', level: 3 } } })
  t.notMatch(JSON.stringify(statuses), /salary/)
  t.equal((await sql`select salary from app.people`)[0]?.['salary'], '1001')
  t.match((await user('alice').upload([person(1, 1, { name: 'Ada', salary: 3 })])).statuses[0], { status: 'applied', new_server_version: 1 }, 'a replay of a row that the database altered')
})

t.test('a column that is excluded later does not travel from then on, and replays from before are replays still', async t => {
  for (const trigger of ['', 'create trigger raise before insert or update on app.people for each row execute function app.raise()']) {
    const { user, sql, url } = await buildApp(t, { schemaSql: `${SCHEMA} ${trigger}`, alone: true, tables: ['app.people'] })
    const sent = [person(1, 1, { salary: 111, name: 'Ada', n: 1.50 }), person(2, 2, { name: 'Bob' }), person(3, 3, { salary: 333 }), person(4, 3, { salary: 334 }, 1), person(5, 4, { name: 'Gone', salary: 4 })]
    await user('alice').upload(sent)
    await user('alice').upload([del(6, 'app.people', uuid(4), 1)])
    const text = (await user('alice', 'pad').download()).text
    t.match(text, /"salary":11/)
    const app = await startApp(t, { database: url, alone: true, tables: [people] })
    const [phone, pad] = [caller(app, 'alice'), caller(app, 'alice', 'pad')]
    const { changes } = await pad.download()
    t.strictSame(changes.map(({ payload }) => payload === undefined ? null : Object.keys(payload).filter(key => key !== 'level')), [['id', 'name', 'n'], ['id', 'name'], ['id'], ['id'], ['id', 'name'], null])
    t.match((await pad.download()).text, /"n":1.5[,}]/)
    for (const device of [phone, pad]) t.notMatch(await everythingShown(device, 1), /salary/)
    const replay = await phone.upload(sent)
    t.strictSame(verdicts(replay).map(line => line.split(' row')[0]), ['1 applied v1', '2 applied v1', '3 applied v1', '4 applied v2', '5 applied v1'], 'the same content as then')
    t.notMatch(replay.text, /salary/)
    t.strictSame(verdicts(await phone.upload([person(1, 1, { name: 'Other', n: 1.5 })])), ['1 invalid source_change_id_reused'])
    await phone.upload([person(7, 1, { name: 'Eve' }, 1)])
    t.notMatch(await everythingShown(pad, 1), /salary/, 'nor is it carried along by a partial update')
    t.notMatch(JSON.stringify((await sql`select payload from sync.change_log order by server_id desc limit 1`)[0]), /salary/)
    await assertSound(t, sql, 'alice')
  }
})

t.test('a table that devices may only read: every write of a device is read_only, nothing of it stays, all read it', async t => {
  const { user, app, sql } = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: [people, { table: 'app.news', direction: 'down' }] })
  const news = (n: number, row: number, fields: Record<string, unknown>, base = 0) => put(n, 'app.news', uuid(row), fields, base)
  const server = { userId: 'alice', deviceId: 'newsroom' }
  await app.oversync.upload(server, { changes: [person(1, 1, { name: 'Ada' }), news(2, 1, { text: 'hello', author: uuid(1) })] }, { trusted: true })
  t.strictSame(verdicts(await user('alice').upload([news(1, 2, {}), news(2, 1, { text: 'mine' }, 1), del(3, 'app.news', uuid(1), 1), del(4, 'app.news', uuid(9), 0), news(5, 1, { text: 'stale' }, 7), person(6, 2, { name: 'Bob' })])).map(line => line.split(' row')[0]),
    ['1 invalid read_only', '2 invalid read_only', '3 invalid read_only', '4 invalid read_only', '5 invalid read_only', '6 applied v1'])
  t.strictSame(await log(sql, 'alice'), ['1 people 1 I v1', '2 news 1 I v1', '3 people 2 I v1'])
  t.strictSame((await user('alice').download()).changes.map(({ table, source_id: source }) => `${table} ${source}`), ['people newsroom', 'news newsroom'])
  t.equal((await app.oversync.upload(server, { changes: [del(3, 'app.news', uuid(1), 1)] })).counts.invalid, 1, 'the server too has to say that it is itself')
  await assertSound(t, sql, 'alice')
})

t.test('a table that devices only fill is never downloaded, and the cursor passes it by (P9, P10)', async t => {
  const { user, sql } = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: [people, { table: 'app.events', direction: 'up' }] })
  const event = (n: number) => put(n, 'app.events', uuid(n), { what: `secret ${n}` })
  await user('alice').upload([event(1), event(2), person(3, 1, { name: 'Ada' }), event(4)])
  t.equal((await sql`select from app.events`).length, 3)
  for (const include of [false, true]) {
    const page = await user('alice', 'pad').download({ include_self: include, limit: 1 })
    t.strictSame(page.changes.map(({ table }) => table), ['people'])
    const rest = await user('alice', 'pad').download({ after: page.next_after, until: page.window_until, include_self: include })
    t.strictSame([rest.changes, rest.has_more, rest.next_after], [[], false, 4])
    t.notMatch(page.text + rest.text, /secret/)
  }
  t.strictSame(verdicts(await user('alice').upload([event(1), put(5, 'app.events', uuid(2), { what: 'new' }, 1)])), ['1 applied v1', '5 applied v2'], 'its own rows it may still change')
})

t.test('shared rows may be referred to by everybody, and changed by nobody whose they are not', async t => {
  const { user, app, sql } = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: [{ table: 'app.colours', shared: true, direction: 'down' }, 'app.cars'] })
  await sql`insert into app.colours values (${uuid(1)}, 'red')`
  await app.oversync.upload({ userId: 'staff', deviceId: 'office' }, { changes: [put(1, 'app.colours', uuid(2), { name: 'blue' })] }, { trusted: true })
  const car = (n: number, colour: number) => put(n, 'app.cars', uuid(n), { colour: uuid(colour) })
  t.strictSame(verdicts(await user('alice').upload([car(1, 1), car(2, 2), car(3, 3), put(4, 'app.colours', uuid(1), { name: 'mine' })])), ['1 applied v1', '2 applied v1', '3 invalid fk_missing', '4 invalid read_only'])
  t.equal((await app.oversync.upload({ userId: 'alice', deviceId: 'office' }, { changes: [put(5, 'app.colours', uuid(1), { name: 'mine' }), del(6, 'app.colours', uuid(2), 0)] }, { trusted: true })).counts.reasons.not_owner, 1)
  t.strictSame((await sql`select name from app.colours order by id`).map(row => row['name'] as string), ['red', 'blue'])
})

t.test('options that make no sense stop the start with a sentence that names table and option', async t => {
  const { url, sql } = await freshDb(t)
  await sql.unsafe(SCHEMA)
  await sql`create table app.strict (id uuid primary key, owner text, secret text not null)`
  const wrong: Array<[object, RegExp]> = [
    [{ exclude: ['nope'] }, /app\.people: there is no column nope to exclude/],
    [{ exclude: ['id'] }, /its key column id cannot be excluded/],
    [{ exclude: ['owner'], owner: 'owner' }, /its owner column owner cannot be excluded/],
    [{ exclude: 'salary' }, /exclude must be a list of columns/],
    [{ table: 'app.strict', exclude: ['secret'] }, /the excluded column secret is NOT NULL and has no default/],
    [{ direction: 'sideways' }, /unknown direction "sideways"/],
    [{ onMaterializeError: 'ignore' }, /unknown onMaterializeError "ignore"/],
    [{ key: 'text' }, /its key is read from the catalog/],
    [{ materializer: 'x' }, /materializer must be a function/],
    [{ materializer: () => {}, materialize: false }, /exclude each other/],
    [{ materializer: () => {}, owner: 'owner' }, /owner and columns need a table that the plugin writes/],
    [{ materialize: false, onMaterializeError: 'record' }, /onMaterializeError needs materialize or a materializer/],
    [{ directon: 'up' }, /there is no option directon/]
  ]
  for (const [options, message] of wrong) {
    const app = Fastify()
    t.teardown(async () => { await app.close() })
    await t.rejects(async () => await app.register(oversync, { database: url, getIdentity: () => null, tables: [{ table: 'app.people', ...options } as TableOptions] }), { name: 'ConfigurationError', message }, JSON.stringify(options))
  }
})
