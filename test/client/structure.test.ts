// Rules of the folder, and leaf functions that the other tests only use.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { fitsDouble, inInt64 } from '../../client/sqlite/decimal.js'
import { orderTables } from '../../client/sqlite/table-order.js'
import type { TableInfo } from '../../client/sqlite/table-info.js'
import { keyProblem } from '../../client/sqlite/wire-key.js'
import { looksLikeUuid } from '../../client/sqlite/uuid.js'
import { createDevice } from './device.js'

const root = path.resolve(import.meta.dirname, '../../client')
const files = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))

/** Modules that only Node loads. */
const NODE_ONLY = new Set(['better-sqlite3.ts', 'node-sqlite.ts', 'run-lock-file.ts'])

t.test('the client imports nothing of the server, and Node only in the driver for Node', async t => {
  t.ok(files.length > 40)
  for (const file of files) {
    const imports = [...fs.readFileSync(path.join(root, file), 'utf8').matchAll(/^(?:import|export)\b[^']*from '([^']+)'/gm)].map(match => match[1] as string)
    for (const from of imports) {
      if (NODE_ONLY.has(path.basename(file)) && !from.startsWith('.')) continue
      t.match(from, /^\.\.?\//, `${file} imports ${from}`)
      t.ok(path.resolve(root, path.dirname(file), from).startsWith(root), `${file} imports ${from}`)
    }
  }
})

t.test('every limit that has a name is in docs/client.md or has its reason beside it', async t => {
  const source = fs.readFileSync(path.join(root, 'limits.ts'), 'utf8')
  for (const [, comment] of source.matchAll(/(?:\/\*\* (.*) \*\/\n)?export const /g)) t.ok(comment)
})

t.test('docs/client.md names every error code and option, and no others', async t => {
  const docs = fs.readFileSync(path.join(root, '../docs/client.md'), 'utf8')
  const section = (title: string): string => docs.split(`## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
  const rows = (title: string): string[] => [...section(title).matchAll(/^\| (`[a-zA-Z_]+`(?:, `[a-zA-Z_]+`)*)/gm)].flatMap(match => (match[1] as string).replaceAll('`', '').split(', '))
  const codes = [...fs.readFileSync(path.join(root, 'errors.ts'), 'utf8').matchAll(/^ {2}([a-z_]+): \{ retry/gm)].map(match => match[1] as string)
  t.same(rows('Errors').sort(), codes.sort())
  const options = fs.readFileSync(path.join(root, 'options.ts'), 'utf8').split(/export interface SyncClientOptions\b.*\{\n/)[1]?.split('\n}')[0] ?? ''
  t.same(rows('Options').sort(), [...options.matchAll(/^ {2}([a-zA-Z]+)\??:/gm)].map(match => match[1] as string).sort())
})

const table = (name: string, ...parents: string[]): TableInfo => ({
  name,
  localName: name,
  key: [{ name: 'id', type: 'text' }],
  hasConflictClause: false,
  columns: [],
  byColumn: new Map(),
  uniques: [],
  hasHiddenRowid: true,
  foreignKeys: parents.map(parent => ({ columns: [parent], parent, parentColumns: ['id'] }))
})

t.test('tables are ordered parents first; circles are named', async t => {
  const tables = new Map([table('c', 'b', 'a'), table('b', 'a'), table('a'), table('x', 'y'), table('y', 'x', 'a'), table('self', 'self')].map(info => [info.name, info]))
  const { parentsFirst, circular } = orderTables(tables)
  const place = (name: string): number => parentsFirst.findIndex(info => info.name === name)
  t.ok(place('a') < place('b') && place('b') < place('c') && place('a') < place('y'))
  t.equal(parentsFirst.length, 6)
  t.same([...circular].map(([name, keys]) => [name, keys.map(({ parent }) => parent)]), [['x', ['y']], ['y', ['x']], ['self', ['self']]])
})

t.test('digits', async t => {
  for (const text of ['9223372036854775807', '-9223372036854775808', '0']) t.equal(inInt64(text), true, text)
  for (const text of ['9223372036854775808', '-9223372036854775809', '1'.repeat(30)]) t.equal(inInt64(text), false, text)
  for (const text of ['0.1', '1e300', '5e-324', '0.30000000000000004', '1000000000000000000000', '0.000']) t.equal(fitsDouble(text), true, text)
  for (const text of ['1e400', '1e-400', '0.1234567890123456789', '9007199254740993']) t.equal(fitsDouble(text), false, text)
})

t.test('texts that a server may take for uuids', async t => {
  const wire = 'abcdef00-0000-4000-8000-000000000001'
  for (const text of [wire, wire.toUpperCase(), wire.replaceAll('-', ''), `{${wire}}`, `urn:uuid:${wire}`]) {
    t.equal(looksLikeUuid(text), true, text)
    t.equal(keyProblem(table('t'), text) === null, text === wire, text)
  }
  for (const text of ['', 'abc', `${wire}0`, wire.replace('a', 'g')]) t.equal(keyProblem(table('t'), text), null, text)
})

t.test('opening a file again makes no trigger anew', async t => {
  const device = createDevice(t)
  const before = device.db.pragma('schema_version', { simple: true })
  const again = device.reopen()
  t.equal(again.db.pragma('schema_version', { simple: true }), before)
  again.db.exec('alter table posts add column later text')
  const renewed = again.reopen()
  renewed.db.exec("insert into posts (id, title, later) values ('p', 't', 'x'); delete from _sync_pending; update posts set title = 'u'")
  t.match(renewed.all('select image from _sync_pending'), [{ image: /"later":"'x'"/ }], 'a column that was added is in the images')
})
