import { Kysely } from 'kysely'
import t from 'tap'
import { requireMetadata } from '../../src/storage/metadata-check.js'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { buildApp, caller, john, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const REFUSED = { name: 'ConfigurationError' }

t.test('a schema of the metadata that belongs to something else, or that a newer version made, stops the start with advice (F12)', async t => {
  const schemas: Array<[string, string, RegExp]> = [
    ['a newer version', 'create table sync.migration (name text primary key, timestamp text); insert into sync.migration values (\'0001-initial\', \'x\'), (\'9999-from-the-future\', \'x\')', /newer version.*9999-from-the-future.*Update this server/s],
    ['a table of migrations of another tool', 'create table sync.migration (id int, ran_at timestamptz)', /table migration of schema sync belongs to something else.*option schema/s],
    ['a table of that name, made by the app', 'create table sync.source (id int); create table sync.other (id int)', /tables that fastify-oversync did not make: source\..*option schema/s],
    ['a view of that name', 'create view sync.meta as select 1 as epoch', /did not make: meta\./]
  ]
  const { url, sql } = await freshDb(t)
  for (const [what, ddl, message] of schemas) {
    await sql.unsafe(`create schema sync; ${ddl}`)
    const before = await sql`select relname from pg_class where relnamespace = 'sync'::regnamespace order by 1`
    await t.rejects(startApp(t, { database: url }), { ...REFUSED, message }, what)
    t.strictSame([...await sql`select relname from pg_class where relnamespace = 'sync'::regnamespace order by 1`], [...before], `${what}: nothing in it is touched`)
    await sql.unsafe('drop schema sync cascade')
  }
})

t.test('a schema that the operator made empty, or that has other things beside, is taken (F12)', async t => {
  const { user } = await buildApp(t, { schemaSql: 'create schema sync; create table sync.of_the_app (id int)' })
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'])
})

t.test('metadata that lost a table, a column, a key or its epoch is said to be damaged at the next start, by name (F12)', async t => {
  const { url, sql } = await buildApp(t)
  const damages: Array<[string, string, RegExp]> = [
    ['alter table sync.row_state rename to row_state_old', 'alter table sync.row_state_old rename to row_state', /damaged\. Missing: table row_state\. Restore/],
    ['alter table sync.stream rename column head to tail', 'alter table sync.stream rename column tail to head', /Missing: column stream\.head\. /],
    ['alter table sync.change_log drop constraint change_log_scope_id_source_no_source_change_id_key', 'alter table sync.change_log add unique (scope_id, source_no, source_change_id)', /Missing: key change_log \(scope_id, source_no, source_change_id\)/],
    ['delete from sync.meta', "insert into sync.meta (epoch) values ('again')", /the row of meta/],
    ['alter table sync.migration rename to lost', 'alter table sync.lost rename to migration', /did not make: .*change_log.*was lost, restore it/]
  ]
  for (const [damage, repair, message] of damages) {
    await sql.unsafe(damage)
    await t.rejects(startApp(t, { database: url }), { ...REFUSED, message }, damage)
    await sql.unsafe(repair)
  }
  t.strictSame(verdicts(await caller(await startApp(t, { database: url }), 'alice').upload([put(1, 'users', uuid(1), john())])), ['1 applied v1'], 'repaired')
})

t.test('every column that the code knows is looked for, and more than those is no damage (F12, C21)', async t => {
  const { sql } = await buildApp(t)
  const db = new Kysely<any>({ dialect: new PostgresJSDialect(sql) })
  await sql.unsafe('alter table sync.stream add column of_a_newer_version int; create table sync.of_a_newer_version (id int)')
  await t.resolves(requireMetadata(db, 'sync'))
  const columns = await sql<Array<{ relname: string, attname: string }>>`
    select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'sync'::regnamespace and c.relkind = 'r' and c.relname not in ('migration', 'migration_lock', 'of_a_newer_version') and a.attname <> 'of_a_newer_version'`
  t.ok(columns.length > 40, `${columns.length} columns`)
  for (const { relname: table, attname: column } of columns) {
    await sql.unsafe(`alter table sync.${table} rename column ${column} to renamed`)
    await t.rejects(requireMetadata(db, 'sync'), { ...REFUSED, message: new RegExp(`column ${table}\\.${column}\\b`) }, `${table}.${column}`)
    await sql.unsafe(`alter table sync.${table} rename column renamed to ${column}`)
  }
})
