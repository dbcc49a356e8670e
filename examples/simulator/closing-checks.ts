import type { Sql } from 'postgres'
import { contentsOfDevice, contentsOfPostgres, difference } from '../common/compare.js'
import type { Device } from '../common/device.js'
import { readStream, type Stream } from './stream.js'
import type { World } from './world.js'

/** What the story left behind. */
export interface Remains {
  /** Changes in the streams of its users. */
  changes: number
  /** Rows that follow from them. */
  rows: number
}

/**
 * After every story: all that anybody can see of a user's rows is the same. The measure is the stream, read by plain HTTP
 * without any of the client's code; against it are held the devices of the story, a device that starts empty, and, where
 * the database is ours, the business tables and the server's log.
 */
export async function checkRemains (world: World, sql: Sql | null): Promise<Remains> {
  const remains = { changes: 0, rows: 0 }
  for (const user of new Set(world.devices.map(device => device.user))) {
    const whose = user === world.user ? '' : ` of ${user}`
    const stream = await readStream(path => world.get(path, { user }))
    remains.changes += stream.length
    remains.rows += stream.contents.lines.length
    world.equal(`the stream${whose} is dense, in order, and has no change twice`, stream.problems, [])
    for (const device of world.devices.filter(device => device.user === user)) {
      const problem = difference(contentsOfDevice(device), stream.contents)
      world.check(`the ${device.name}${whose} equals the stream`, problem === null, problem ?? '')
      const { pending, outbox, held, shadow, cursor } = device.sync.status()
      world.equal(`the ${device.name}${whose} has nothing left to do`, { pending, outbox, held, shadow, cursor }, { pending: 0, outbox: 0, held: 0, shadow: 0, cursor: stream.length })
    }
    await checkFreshDevice(world, user, stream)
    if (sql !== null) await checkDatabase(world, sql, user, stream)
  }
  return remains
}

/** The device that joins last, of each user. */
export function freshDevice (world: World, user = world.user): Device {
  return world.device('fresh-device', { user, deviceId: `fresh-device-of-${user}` })
}

async function checkFreshDevice (world: World, user: string, stream: Stream): Promise<void> {
  const fresh = freshDevice(world, user)
  await world.sync(fresh)
  const problem = difference(contentsOfDevice(fresh), stream.contents)
  world.check(`a fresh device of ${user} equals the stream`, problem === null, problem ?? '')
  await world.retire(fresh)
}

async function checkDatabase (world: World, sql: Sql, user: string, stream: Stream): Promise<void> {
  const problem = difference(await contentsOfPostgres(sql, user), stream.contents)
  world.check(`the business tables of ${user} equal the stream`, problem === null, problem ?? '')
  const log = await sql<Array<{ entry: string }>>`
    select server_id || ' ' || table_name || ' ' || op || ' ' || pk || ' v' || version || ' ' || coalesce(source_id, 'oversync:server') || '#' || source_change_id as entry
    from sync.changes where scope = ${user} order by server_id`
  world.equal(`the log of ${user} is what was downloaded`, log.map(({ entry }) => entry), stream.entries)
}

/** Rows of the business tables that are in nobody's stream. Only true when no scenario is being played. */
export async function strayRows (sql: Sql): Promise<string[]> {
  const strays = await sql<Array<{ row: string }>>`
    select tbl || ' ' || id as row from (
      select 'users' as tbl, id from business.users union all select 'posts', id from business.posts union all select 'files', id from business.files
      union all select 'file_reviews', id from business.file_reviews union all select 'typed_rows', id from business.typed_rows) as b
    where not exists (select from sync.rows r where r.schema_name = 'business' and r.table_name = b.tbl and r.pk = b.id::text and not r.deleted)`
  return strays.map(({ row }) => row)
}
