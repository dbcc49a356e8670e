// The types of `createSyncClient<Database>`: compiled by `npm run typecheck`, where each @ts-expect-error must find its error.
import type { ColumnType, Generated, JSONColumnType } from 'kysely'
import t from 'tap'
import type { AnyDatabase, ConflictRecord, HeldRow, Resolver, RowOf, SqlValue, SyncClient, SyncClientOptions, SyncEvents, TableName } from '../../client/index.js'
import { createSyncClient } from '../../client/index.js'
import { createDevice, id } from './device.js'

interface Database {
  Users: { id: string, name: string | null, visits: Generated<number>, role: 'admin' | 'guest' }
  posts: {
    id: string
    size: bigint
    draft: boolean
    created: ColumnType<Date, string | undefined, never>
    meta: JSONColumnType<{ tags: string[] }>
    data: Buffer | null
    body?: string
    other: unknown
  }
}

/** Compiles only where both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(is: Same<A, B>): true => is as true

const options = { url: 'http://server.test/sync', userId: 'ann' }
const open = (tables: SyncClientOptions<Database>['tables']): SyncClientOptions<Database> => ({ ...options, tables })

t.test('rows are typed by what is read of a column, as SQLite has it', async t => {
  t.ok(same<RowOf<Database, 'Users'>, { id: string, name: string | null, visits: number, role: 'admin' | 'guest' }>(true))
  t.ok(same<RowOf<Database, 'posts'>, { id: string, size: number | bigint, draft: number, created: string | number, meta: SqlValue, data: Uint8Array | null, body: string, other: SqlValue }>(true))
  t.ok(same<TableName<Database>, 'Users' | 'posts'>(true))
  t.ok(same<RowOf<AnyDatabase, string>, Record<string, SqlValue>>(true))
})

t.test('a client of certain tables passes for one of any, as helpers of an app take it', async t => {
  const count = (client: Pick<SyncClient, 'conflicts' | 'held' | 'on'>): number => client.conflicts().length + client.held().length
  const whole = (client: SyncClient<Database>): SyncClient => client
  const { client } = createDevice(t)
  t.equal(count(whole(client as SyncClient<Database>)), 0)
})

t.test('tables are checked by name, resolvers are typed by their table', async t => {
  const tables = open([
    'posts',
    {
      table: 'Users',
      deleted: 'editWins',
      conflict: ({ table, key, base, local, server, columns, kind }) => {
        t.ok(same<typeof table, 'users'>(true))
        t.ok(same<typeof local, RowOf<Database, 'Users'>>(true))
        t.ok(same<typeof base, RowOf<Database, 'Users'> | null>(true))
        t.ok(same<typeof columns, Array<'id' | 'name' | 'visits' | 'role'>>(true))
        t.ok(same<typeof kind, 'update-update' | 'insert-insert'>(true))
        return { visits: local.visits + server.visits - (base?.visits ?? 0), name: key }
      }
    }
  ]).tables
  t.equal(tables.length, 2)
  open([{ table: 'posts', conflict: 'clientWins' }, { table: 'Users', conflict: () => 'keep' }])
  // @ts-expect-error no such table
  open(['comments'])
  // @ts-expect-error no such table
  open([{ table: 'comments' }])
  // @ts-expect-error no such rule
  open([{ table: 'posts', conflict: 'editWins' }])
  // @ts-expect-error no such answer
  open([{ table: 'posts', conflict: () => 'server' }])
  // @ts-expect-error a promise is no answer
  open([{ table: 'posts', conflict: async () => 'keep' }])
  // @ts-expect-error no such column
  open([{ table: 'Users', conflict: ({ local }) => local.title }])
  // @ts-expect-error not of this column's type
  open([{ table: 'Users', conflict: () => ({ visits: 'many' }) }])
  // @ts-expect-error a column is left out by leaving it out (exactOptionalPropertyTypes)
  open([{ table: 'Users', conflict: () => ({ name: undefined }) }])
  // @ts-expect-error another table's resolver
  open([{ table: 'posts', conflict: (({ local }) => ({ name: local.name })) satisfies Resolver<Database, 'Users'> }])
  // @ts-expect-error an option that is there has a value (exactOptionalPropertyTypes)
  open([{ table: 'posts', conflict: undefined }])
})

t.test('records and events are told apart by their table', async t => {
  const titles: unknown[] = []
  const read = (record: ConflictRecord<Database> | HeldRow<Database>): void => {
    if (record.table === 'users') {
      if ('mine' in record) {
        t.ok(same<typeof record.mine, RowOf<Database, 'Users'> | null>(true))
        // @ts-expect-error a column of another table
        titles.push(record.mine?.size)
      } else titles.push(record.server?.name)
    }
    // @ts-expect-error names are folded to lower case
    if (record.table === 'Users') titles.push('never')
  }
  const record: ConflictRecord<Database> = { id: 1, table: 'users', key: 'k', kind: 'update-update', columns: ['name'], rule: 'resolver', before: null, mine: null, theirs: null, result: null, at: '', undone: null }
  read(record)
  // @ts-expect-error columns are those of the table
  t.ok({ ...record, table: 'posts', columns: ['name'] } satisfies ConflictRecord<Database>)
  t.ok(same<SyncEvents<Database>['change'], { tables: Array<'users' | 'posts'> }>(true))
  t.ok(same<SyncEvents<Database>['conflict'], ConflictRecord<Database>>(true))
  t.ok(same<ReturnType<SyncClient<Database>['held']>, Array<HeldRow<Database>>>(true))
  t.strictSame(titles, [undefined])
})

t.test('without a type argument any name and any column will do', async t => {
  const untyped: SyncClientOptions = { ...options, tables: ['anything', { table: 'more', conflict: ({ local, server }) => ({ n: Number(local['n']) + Number(server['n']) }) }] }
  t.equal(untyped.tables.length, 2)
  const read = (record: ConflictRecord): SqlValue | undefined => record.mine?.['whatever']
  t.ok(same<ConflictRecord['table'], string>(true))
  t.ok(same<SyncEvents['change'], { tables: string[] }>(true))
  t.type(read, 'function')
})

t.test('a typed client is the same client, and serves where a client of any tables is asked for', async t => {
  const { db, driver } = createDevice(t, { sql: 'create table Users (id text primary key, name text, visits integer default 0, role text)', tables: ['Users'] })
  const client = createSyncClient<Pick<Database, 'Users'>>(driver, { ...options, schema: 'business', tables: ['Users'], fetch: async () => new Response() })
  db.exec(`insert into Users (id, name) values ('${id(1)}', 'Ann')`)
  t.equal(client.status().pending, 1)
  const takesAny = <Tables>({ status }: SyncClient<Tables>): number => status().pending
  t.equal(takesAny(client), 1)
  client.on('conflict', record => { t.ok(same<typeof record.table, 'users'>(true)) })
})
