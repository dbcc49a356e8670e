import type { SimDevice } from './device.js'
import { same, text } from './device-checks.js'
import { FAIR } from './network.js'
import type { Play, User } from './play.js'
import { columnsOf } from './device.js'
import { TABLES } from './tables.js'
import { insist } from './violation.js'
import { valuesOfPayload } from './stream-model.js'
import type { Values } from './certificate.js'

/** Rounds of syncing after which devices are quiet, or never will be: a row in conflict takes three at most. */
const MAX_ROUNDS = 12

/** Syncs the devices in turn until a whole round moves nothing (P18). */
export async function syncUntilQuiet (play: Play): Promise<void> {
  let last = ''
  for (let round = 0; round < MAX_ROUNDS; round++) {
    for (const device of play.devices) await play.attempt(device, FAIR, async () => { await device.sync.syncOnce() })
    await play.readStreams()
    const states = play.devices.map(({ sync }) => sync.status())
    // Where nothing waits and all have read to the end, a further round would move nothing.
    if (states.every(({ cursor, pending, outbox }, i) => pending + outbox === 0 && cursor === play.userOf(play.devices[i] as SimDevice).stream.head)) return
    const state = JSON.stringify(states.map(({ cursor, pending, outbox, held, shadow }) => [cursor, pending, outbox, held, shadow]))
    if (state === last) return
    last = state
  }
  insist(false, 'P18', () => `the devices were not quiet after ${MAX_ROUNDS} rounds: ${last}`)
}

/** All faults are over: what was held back arrives, everybody has the newest app, and in the end all are equal (P15, P18). */
export async function checkEnd (play: Play): Promise<void> {
  while (play.network.held.length > 0) await play.network.arrive(0, 0)
  for (const device of play.devices) await device.upgrade('before opening')
  await settle(play)
  for (const user of play.users) {
    const devices = play.devices.filter(device => play.userOf(device) === user)
    if (devices.length === 0) continue
    devices.push(await play.newcomer(user))
    await play.look(devices)
    await user.stream.reread()
    user.ledger.checkAll(devices, user.stream)
    for (const device of devices) checkEqual(device, user)
    await checkBusinessTables(play, user)
    play.trace.push(`${user.stream.entries.map(({ table, key, op, version, values }) => `${table} ${key.slice(-2)} ${op}${version} ${text(values).replaceAll(user.owner, '').replaceAll(/[0-9a-f]{8}-0000/g, '')}`).join('\n')}`)
  }
}

/** Rows that the server refused are the user's to settle: here, by taking the server's row. */
async function settle (play: Play): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    await syncUntilQuiet(play)
    await play.look(play.devices)
    const before = play.counts.operations['discard'] ?? 0
    for (const device of play.devices) discardHeld(play, device)
    if (before === (play.counts.operations['discard'] ?? 0)) return
  }
  insist(false, 'P18', () => `rows were held for ever: ${JSON.stringify(play.devices.flatMap(({ sync }) => sync.held()))}`)
}

function discardHeld (play: Play, device: SimDevice): void {
  for (const { id, table, key } of device.sync.held()) {
    play.counts.note('operation', 'discard')
    const values = device.content().get(`${table} ${key}`)
    if (device.sync.discardHeld(id)) play.userOf(device).ledger.noteDiscard(values)
  }
}

function checkEqual (device: SimDevice, { stream }: User): void {
  const { pending, outbox, held, shadow, rebuild } = device.sync.status()
  insist(pending + outbox + held + shadow === 0 && rebuild === null, 'P18', () => `${device.name} is left with ${JSON.stringify({ pending, outbox, held, shadow, rebuild, rows: device.all('select tbl, key, reason, message from _sync_shadow') })}`)
  const content = device.content()
  for (const { table, key, values } of stream.rows()) {
    const shown = content.get(`${table} ${key}`) ?? null
    insist(same(device, table, shown, values), 'P15', () => `${device.name} ends with ${text(shown)} where the stream has ${text(values)}: ${table} ${key}`)
    content.delete(`${table} ${key}`)
  }
  insist(content.size === 0, 'P15', () => `${device.name} ends with rows that the stream lacks: ${[...content.keys()].join(', ')}`)
}

/** The tables of PostgreSQL are the stream put together. */
async function checkBusinessTables ({ servers: { sql }, users }: Play, { owner, stream }: User): Promise<void> {
  const owners = users.map(user => user.owner)
  for (const table of TABLES) {
    const live = stream.rows().filter(row => row.table === table.name && row.values !== null)
    const rows = table.name === 'notes'
      ? await sql<Array<{ key: string, row: Record<string, string | null> }>>`select id as key, (select json_object_agg(p.key, p.value) from json_each_text(body) p) as row from sim.note_store where owner = ${owner}`
      : await sql.unsafe<Array<{ key: string, row: Record<string, string | null> }>>(
        `select ${table.key.length === 1 ? 'id::text' : 'json_build_array(kind, n::text)::text'} as key, json_build_object(${columnsOf(table, false).map(column => `'${column}', ${column.endsWith('_blob') ? `encode(${column}, 'base64')` : `${column}::text`}`).join(', ')}) as row
         from sim.${table.name} where ${range(table.name)}`, table.key.length === 1 ? keyRange(stream.rows().filter(row => row.table === table.name).map(({ key }) => key)) : owners)
    const found = new Map(rows.filter(({ row }) => row['a']?.startsWith(`${owner}/`) === true).map(({ key, row }) => [table.key.length === 1 ? key : key.replace(', ', ','), valuesOfPayload(row)]))
    for (const { key, values } of live) {
      const row: Values | undefined = found.get(key)
      insist(row !== undefined && columnsOf(table, false).every(column => (row[column] ?? null) === (values?.[column] ?? null)), 'P15', () => `PostgreSQL has ${text(row ?? null)} where the stream has ${text(values)}: ${table.name} ${key}`)
      found.delete(key)
    }
    insist(found.size === 0, 'P5', () => `PostgreSQL has rows that the stream lacks: ${table.name} ${[...found.keys()].join(', ')}`)
  }
}

function range (table: string): string {
  return table === 'slots' ? 'kind in ($1, $2)' : 'id between $1 and $2'
}

/** Keys of one run lie together. */
function keyRange (keys: string[]): string[] {
  const run = keys[0]?.slice(0, 8) ?? '00000000'
  return [`${run}-0000-0000-0000-000000000000`, `${run}-ffff-ffff-ffff-ffffffffffff`]
}
