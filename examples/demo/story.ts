import { randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { COMPARED_TABLES, contentsOfDevice, contentsOfPostgres } from '../common/compare.js'
import { openDevice, type Device } from '../common/device.js'
import { bad, good, printTable } from '../common/terminal.js'
import { heading, plain, say } from './narrator.js'

export interface Stage {
  folder: string
  serverUrl: string
  /** For looking at PostgreSQL; the story itself only talks HTTP. */
  sql: Sql
  /** Devices to close when the curtain falls. */
  devices: Device[]
}

const NOW = 1_780_000_000

/** Tells the story and returns whether every device equals PostgreSQL at its end. Throws where a scene does not go as it should. */
export async function tellStory (stage: Stage): Promise<boolean> {
  const open = (user: string, name: string): Device => {
    const device = openDevice({ name, user, folder: stage.folder, serverUrl: stage.serverUrl })
    stage.devices.push(device)
    return device
  }
  const phone = open('alice', 'phone')
  const tablet = open('alice', 'tablet')
  const ids = { ada: randomUUID(), grace: randomUUID(), letter: randomUUID(), draft: randomUUID(), plan: randomUUID() }

  await workOffline(phone, tablet, ids)
  await editDifferentColumns(phone, tablet, ids.ada)
  await editOneColumn(phone, tablet, ids.letter)
  await deleteAgainstEdit(phone, tablet, ids.draft)
  await sendFamilyAndOneBadRow(phone)
  await loseReply(stage.sql, tablet, ids.plan)
  await keepDigits(phone, tablet)
  const laptop = open('alice', 'laptop')
  await joinLate(laptop)
  const bob = open('bob', 'phone')
  await seeNothing(bob, ids.ada)

  for (const device of [phone, tablet, laptop, bob]) await device.sync.syncOnce()
  return await compareAll(stage)
}

async function workOffline (phone: Device, tablet: Device, ids: { ada: string, grace: string, letter: string, draft: string }): Promise<void> {
  heading('Rows made offline on two devices, then the first sync')
  phone.db.prepare('insert into users values (?, ?, ?, ?, ?)').run(ids.ada, 'Ada', 'ada@example.com', NOW, NOW)
  phone.db.prepare('insert into posts values (?, ?, ?, ?, ?, ?)').run(ids.letter, 'Notes on the engine', 'First of seven', ids.ada, NOW, NOW)
  phone.db.prepare('insert into posts values (?, ?, ?, ?, ?, ?)').run(ids.draft, 'Draft', null, ids.ada, NOW, NOW)
  say('phone', 'makes user Ada and two posts, with plain INSERTs and no network')
  tablet.db.prepare('insert into users values (?, ?, ?, ?, ?)').run(ids.grace, 'Grace', 'grace@example.com', NOW, NOW)
  say('tablet', 'makes user Grace, knowing nothing of Ada')
  await phone.sync.syncOnce()
  await tablet.sync.syncOnce()
  await phone.sync.syncOnce()
  expect(names(phone) === 'Ada, Grace' && names(tablet) === 'Ada, Grace', 'both devices have both users')
  say('both', `sync, and have ${names(phone)} and ${count(tablet, 'posts')} posts`)
}

async function editDifferentColumns (phone: Device, tablet: Device, ada: string): Promise<void> {
  heading('Different columns of one row are edited on two devices: both edits survive')
  phone.db.prepare('update users set name = ? where id = ?').run('Ada Lovelace', ada)
  say('phone', 'names her "Ada Lovelace"')
  tablet.db.prepare('update users set email = ? where id = ?').run('ada@analytical.example', ada)
  say('tablet', 'changes her e-mail to ada@analytical.example')
  await phone.sync.syncOnce()
  await tablet.sync.syncOnce()
  await phone.sync.syncOnce()
  for (const device of [phone, tablet]) {
    const user = device.db.prepare('select name, email from users where id = ?').get(ada) as { name: string, email: string }
    expect(user.name === 'Ada Lovelace' && user.email === 'ada@analytical.example', `${device.name} has both edits`)
    say(device.name, `has ${user.name} <${user.email}>`)
  }
}

async function editOneColumn (phone: Device, tablet: Device, letter: string): Promise<void> {
  heading('The same column is edited on two devices: a true conflict')
  tablet.db.prepare('update posts set title = ? where id = ?').run('Notes, by the tablet', letter)
  phone.db.prepare('update posts set title = ? where id = ?').run('Notes, by the phone', letter)
  say('both', 'change the title of the same post, offline')
  await tablet.sync.syncOnce()
  say('tablet', 'syncs first: its edit is applied')
  await phone.sync.syncOnce()
  const title = (device: Device) => (device.db.prepare('select title from posts where id = ?').get(letter) as { title: string }).title
  expect(title(phone) === 'Notes, by the tablet', 'the server\'s title won on the phone')
  const conflict = phone.sync.conflicts().at(-1)
  if (conflict === undefined) throw new Error('The demo expected a record of the decision.')
  say('phone', `is told of the conflict. Rule of the table: ${conflict.rule}, so "${String(conflict.result?.['title'])}" stays and "${String(conflict.mine?.['title'])}" goes`)
  say('phone', `keeps a record of it (sync.conflicts()): column ${conflict.columns.join(', ')}, before, mine, theirs, result`)
}

async function deleteAgainstEdit (phone: Device, tablet: Device, draft: string): Promise<void> {
  heading('One device deletes a row while another edits it')
  phone.db.prepare('delete from posts where id = ?').run(draft)
  tablet.db.prepare('update posts set content = ? where id = ?').run('Some more words', draft)
  say('phone', 'deletes the draft')
  say('tablet', 'goes on writing it')
  await phone.sync.syncOnce()
  await tablet.sync.syncOnce()
  expect(tablet.db.prepare('select 1 from posts where id = ?').get(draft) === undefined, 'the draft is gone on the tablet')
  const record = tablet.sync.conflicts().at(-1)
  expect(record?.mine?.['content'] === 'Some more words', 'the words that were set aside are on record')
  say('tablet', `is told that the draft was deleted. Rule: ${record?.rule ?? ''}, so it goes; its words are kept on record`)
}

async function sendFamilyAndOneBadRow (phone: Device): Promise<void> {
  heading('Parents and children in one batch, and one bad row among them')
  const [author, badRow, file] = [randomUUID(), randomUUID(), randomUUID()]
  phone.db.transaction(() => {
    phone.db.prepare('insert into typed_rows (id, note) values (?, ?)').run(badRow, 'x'.repeat(1001))
    phone.db.prepare('insert into users values (?, ?, ?, ?, ?)').run(author, 'Katherine', 'katherine@example.com', NOW, NOW)
    for (let i = 1; i <= 3; i++) phone.db.prepare('insert into posts values (?, ?, ?, ?, ?, ?)').run(randomUUID(), `Orbit ${i}`, null, author, NOW, NOW)
    phone.db.prepare('insert into files values (?, ?, ?)').run(file, 'trajectory.bin', randomBytes(20_000))
    phone.db.prepare('insert into file_reviews values (?, ?, ?)').run(randomUUID(), 'Checked by hand', file)
  })()
  say('phone', 'makes a user with three posts, a file of 20 kB with a review, and a note of 1,001 characters where PostgreSQL allows 1,000')
  await phone.sync.syncOnce()
  const held = phone.sync.held()
  expect(held.length === 1, 'exactly the bad row is held')
  say('phone', `all is in but the note, which is held: ${held[0]?.message ?? ''}`)
  phone.db.prepare('update typed_rows set note = ? where id = ?').run('shorter', badRow)
  await phone.sync.syncOnce()
  expect(phone.sync.held().length === 0, 'nothing is held any more')
  say('phone', 'shortens the note: it goes up too, and nothing is held any more')
}

async function loseReply (sql: Sql, tablet: Device, plan: string): Promise<void> {
  heading('The server applies an upload, but its reply gets lost')
  tablet.db.prepare('insert into posts values (?, ?, ?, ?, ?, ?)').run(plan, 'Plan', 'Once and only once', null, NOW, NOW)
  tablet.network.losesNextReply = true
  const error = await tablet.sync.syncOnce().then(() => null, (error: Error) => error)
  expect(error !== null, 'the sync failed')
  say('tablet', `sends a post and hears nothing: ${error?.message ?? ''}`)
  await tablet.sync.syncOnce()
  const [{ entries }] = await sql`select count(*)::int as entries from sync.changes where pk = ${plan}` as unknown as [{ entries: number }]
  expect(entries === 1, 'the change is in the stream once')
  say('tablet', `sends the very same change again; the stream has it ${entries} time`)
}

async function keepDigits (phone: Device, tablet: Device): Promise<void> {
  heading('Numbers that JavaScript cannot hold')
  const id = randomUUID()
  phone.db.prepare('insert into typed_rows values (?, cast(? as integer), ?, 1, ?, ?, ?, ?)').run(
    id, '9223372036854775807', '123456789012345678901234567890.123456789', 0.1 + 0.2, '{"deep":[1,2,9007199254740993]}', '', Buffer.from([0, 1, 254, 255]))
  await phone.sync.syncOnce()
  await tablet.sync.syncOnce()
  const row = tablet.db.prepare('select cast(big as text) as big, dec, ratio, doc from typed_rows where id = ?').get(id) as Record<string, unknown>
  expect(row['big'] === '9223372036854775807' && row['dec'] === '123456789012345678901234567890.123456789' && row['ratio'] === 0.1 + 0.2 && row['doc'] === '{"deep":[1,2,9007199254740993]}', 'every digit arrived')
  say('tablet', `got ${String(row['big'])}, ${String(row['dec'])} and ${String(row['ratio'])}, to the last digit`)
}

async function joinLate (laptop: Device): Promise<void> {
  heading('A third device joins late')
  await laptop.sync.syncOnce()
  say('laptop', `starts empty, syncs once: ${names(laptop)}; ${count(laptop, 'posts')} posts`)
}

async function seeNothing (bob: Device, ada: string): Promise<void> {
  heading('A second user sees nothing of all this')
  await bob.sync.syncOnce()
  expect(COMPARED_TABLES.every(table => count(bob, table) === 0), 'Bob has no rows')
  say('bob', 'syncs: 0 rows')
  bob.db.prepare('insert into users values (?, ?, ?, ?, ?)').run(ada, 'Mallory', 'mallory@example.com', NOW, NOW)
  await bob.sync.syncOnce()
  const [held] = bob.sync.held()
  expect(held !== undefined, 'Bob\'s row is held')
  say('bob', `tries to take over Ada's key: ${held?.reason ?? ''} ("${held?.message ?? ''}"), and Ada is untouched`)
  bob.db.prepare('delete from users where id = ?').run(ada)
}

/** Prints the closing table. True where every device equals PostgreSQL. */
async function compareAll ({ sql, devices }: Stage): Promise<boolean> {
  heading('Every device against PostgreSQL')
  plain()
  const rows = [['', ...COMPARED_TABLES, 'digest', 'unsent', '']]
  let allEqual = true
  for (const user of new Set(devices.map(device => device.user))) {
    const truth = await contentsOfPostgres(sql, user)
    rows.push([`PostgreSQL, ${user}`, ...COMPARED_TABLES.map(table => String(truth.counts[table])), truth.digest, '', ''])
    for (const device of devices.filter(device => device.user === user)) {
      const { counts, digest } = contentsOfDevice(device)
      const { pending, outbox, held } = device.sync.status()
      const unsent = pending + outbox + held
      const isEqual = digest === truth.digest && unsent === 0
      allEqual &&= isEqual
      rows.push([`  ${device.name}`, ...COMPARED_TABLES.map(table => String(counts[table])), digest, String(unsent), isEqual ? 'equal' : 'DIFFERENT'])
    }
  }
  printTable(rows)
  plain()
  plain(allEqual ? good('   All devices are equal to PostgreSQL, and nothing is left to send.') : bad('   Some device differs from PostgreSQL.'))
  return allEqual
}

/** A scene that does not go as told ends the demo: it must not print a story that did not happen. */
function expect (condition: boolean, claim: string): void {
  if (!condition) throw new Error(`The demo expected that ${claim}, but it is not so.`)
}

function names ({ db }: Device): string {
  return db.prepare('select name from users order by name').all().map(row => (row as { name: string }).name).join(', ')
}

function count ({ db }: Device, table: string): number {
  return (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n
}
