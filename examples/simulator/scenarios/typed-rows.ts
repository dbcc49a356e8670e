import { randomUUID } from 'node:crypto'
import type { App } from '../../common/device.js'
import { counts } from '../app-data.js'
import type { Scenario } from '../scenario.js'

/** big, dec, flag, ratio, doc, note, blob. Integers as text: SQLite has all their digits, JavaScript does not. */
type Values = [string | null, string | null, 0 | 1 | null, number | null, string | null, string | null, Buffer | null]

const ROWS: Record<string, Values> = {
  'all NULL': [null, null, null, null, null, null, null],
  'all empty': ['0', '0', 0, 0, '{}', '', Buffer.alloc(0)],
  'the largest': ['9223372036854775807', '123456789012345678901234567890.123456789', 1, 1.7976931348623157e308, '{"deep":[1,[2,[3,{"n":9007199254740993}]]]}', 'x'.repeat(1000), Buffer.from([0, 255])],
  'the smallest': ['-9223372036854775808', '-0.000000000000000000000000000001', 0, 5e-324, '[]', ' ', Buffer.from([0])],
  'beyond 2^53': ['9007199254740993', '9007199254740993.000000000000000001', 1, 0.1 + 0.2, '"text"', '9007199254740993', Buffer.from('text')],
  'text of the world': ['1', '1.10', 1, -0.5, '{"é":"\\u00e9"}', 'naïve 日本語 👩‍👩‍👧 \u202Eright to left', null]
}

function addRow ({ db }: App, [big, ...rest]: Values, id: string = randomUUID()): string {
  db.prepare('insert into typed_rows values (?, cast(? as integer), ?, ?, ?, ?, ?, ?)').run(id, big, ...rest)
  return id
}

/** Each value with its type, as SQLite tells them. */
function read ({ db }: App, id: string): unknown {
  const columns = ['big', 'dec', 'flag', 'ratio', 'doc', 'note', 'blob']
  return db.prepare(`select ${columns.map(column => `typeof(${column}) || ' ' || quote(${column})`).join(', ')} from typed_rows where id = ?`).raw().get(id)
}

export const typedRows: Scenario = {
  name: 'typed-rows',
  about: 'Every type at its limits arrives to the last digit, or is refused by name; a bad row keeps no other back.',
  async play (world) {
    const [phone, tablet] = [world.device('phone'), world.device('tablet')]
    const ids = new Map(Object.entries(ROWS).map(([name, values]) => [name, addRow(phone, values)]))
    const tooLong = addRow(phone, ['1', null, null, null, null, 'x'.repeat(1001), null])
    const infinite = addRow(phone, ['2', null, null, Infinity, null, null, null])
    const noNumber = addRow(phone, ['3', 'twelve', null, null, null, null, null])
    const report = await world.sync(phone)
    world.equal('good rows go up past three bad ones', [report.upload.applied, phone.sync.held().length], [ids.size, 3])
    world.equal('each bad row has its reason', Object.fromEntries(phone.sync.held().map(({ key, reason }) => [key, reason])), { [tooLong]: 'constraint_violation', [infinite]: 'unrepresentable', [noNumber]: 'bad_payload' })

    await world.sync(tablet)
    for (const [name, id] of ids) world.equal(`"${name}" arrives with every digit and type`, read(tablet, id), read(phone, id))
    world.equal('no bad row arrives', counts(tablet, 'typed_rows'), [ids.size])

    phone.db.prepare('update typed_rows set note = ? where id = ?').run('shorter', tooLong)
    phone.db.prepare('update typed_rows set ratio = ? where id = ?').run(1e308, infinite)
    phone.db.prepare('update typed_rows set dec = ? where id = ?').run('12', noNumber)
    await world.sync(phone)
    world.equal('mended rows go up by themselves', phone.sync.held().length, 0)

    tablet.db.prepare('update typed_rows set big = big - 1, note = null where id = ?').run(ids.get('the largest'))
    tablet.db.prepare("update typed_rows set blob = x'', doc = '{\"a\":null}' where id = ?").run(ids.get('all NULL'))
    await world.sync(tablet, phone)
    world.equal('an edit of a large number keeps its digits', phone.db.prepare('select cast(big as text), dec, note from typed_rows where id = ?').raw().get(ids.get('the largest')), ['9223372036854775806', ROWS['the largest']?.[1], null])
    world.equal('both have all rows', [...counts(phone, 'typed_rows'), ...counts(tablet, 'typed_rows')], [ids.size + 3, ids.size + 3])
  }
}
