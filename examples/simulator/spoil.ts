import { randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import type { Device } from '../common/device.js'
import { freshDevice } from './closing-checks.js'
import type { Stage } from './stage.js'
import type { World } from './world.js'

/*
 * Checks that cannot fail prove nothing. SIMULATOR_SPOIL damages one thing after the story of each scenario, behind the
 * back of client and server, and the closing checks have to notice: the exit code is then 1, or the checks are broken.
 */
interface Damage {
  needs: 'device' | 'database'
  doIt: (world: World, sql: Sql) => unknown
}

const entryOfUser = (which: 'min' | 'max'): string => `(scope_id, server_id) = (select sc.scope_id, ${which}(c.server_id)
  from sync.changes c join sync.scope sc on sc.name = c.scope where c.scope = $1 and c.table_name = 'users' and c.op <> 'DELETE' group by sc.scope_id)`
const FIRST_USER = entryOfUser('min')
const LAST_USER = entryOfUser('max')

const ENTRY_TWICE = `
  with entry as (
    insert into sync.change_log (scope_id, server_id, source_change_id, version, source_no, table_id, op, pk, payload)
    select scope_id, (select head + 1 from sync.stream s where s.scope_id = l.scope_id), source_change_id + 1000, version, source_no, table_id, op, pk, payload
    from sync.change_log l where ${FIRST_USER} returning scope_id)
  update sync.stream set head = head + 1 where scope_id in (select scope_id from entry)`

const damage = <Kinds extends string>(kinds: Record<Kinds, Damage>): Record<Kinds, Damage> => kinds

export const SPOILS = damage({
  'device-value': { needs: 'device', doIt: ({ devices }) => behindItsBack(devices[0], "update users set name = name || '!' where rowid = (select min(rowid) from users)") },
  'device-row-lost': { needs: 'device', doIt: ({ devices }) => behindItsBack(devices[0], 'delete from posts where rowid = (select min(rowid) from posts)') },
  'device-row-extra': { needs: 'device', doIt: ({ devices }) => behindItsBack(devices[0], `insert into posts (id, title) values ('${randomUUID()}', 'from nowhere')`) },
  'fresh-row-lost': { needs: 'device', doIt: losesFreshRow },
  'device-unsent': { needs: 'device', doIt: ({ devices }) => expectOne(devices[0]?.db.prepare('update users set name = name where rowid = (select min(rowid) from users)').run().changes) },
  'business-value': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, "update business.users set name = name || '!' where id::text = (select min(pk) from sync.rows where scope = $1 and table_name = 'users' and not deleted)", user) },
  'business-row-lost': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, "delete from business.posts where id::text = (select min(pk) from sync.rows where scope = $1 and table_name = 'posts' and not deleted)", user) },
  'business-row-extra': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, "insert into business.posts (id, title) values (gen_random_uuid(), 'from nowhere, ' || $1)", user) },
  'stream-value': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, `update sync.change_log set payload = jsonb_set(payload::jsonb, '{name}', '"another"')::json where ${LAST_USER}`, user) },
  'stream-entry-lost': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, `delete from sync.change_log where ${FIRST_USER}`, user) },
  'stream-entry-twice': { needs: 'database', doIt: ({ user }, sql) => inDatabase(sql, ENTRY_TWICE, user) },
  story: { needs: 'device', doIt: () => { throw new Error('the story was broken off on purpose') } }
})

export type Spoil = keyof typeof SPOILS

export function isSpoil (name: string): name is Spoil {
  return Object.hasOwn(SPOILS, name)
}

export async function spoilIt (spoil: Spoil, world: World, { sql }: Stage): Promise<void> {
  await SPOILS[spoil].doIt(world, sql as Sql)
}

/** Without the client's triggers: nothing notes the change. */
function behindItsBack (device: Device | undefined, statement: string): void {
  if (device === undefined) throw new Error('The story left no device to damage.')
  const triggers = device.db.prepare("select name, sql from sqlite_schema where type = 'trigger'").all() as Array<{ name: string, sql: string }>
  for (const { name } of triggers) device.db.exec(`drop trigger "${name}"`)
  expectOne(device.db.prepare(statement).run().changes)
  for (const { sql } of triggers) device.db.exec(sql)
}

/** The device that joins last finds a file that has all, and then lost a row that nobody deleted. */
async function losesFreshRow (world: World): Promise<void> {
  const fresh = freshDevice(world)
  await world.sync(fresh)
  expectOne(fresh.db.prepare('delete from posts where rowid = (select min(rowid) from posts)').run().changes)
  fresh.db.exec('delete from _sync_pending')
  await world.retire(fresh)
}

async function inDatabase (sql: Sql, statement: string, user: string): Promise<void> {
  expectOne((await sql.unsafe(statement, [user])).count)
}

function expectOne (changes: number | undefined): void {
  if (changes !== 1) throw new Error(`${changes ?? 0} rows were damaged where one should be: this story leaves nothing of that kind.`)
}
