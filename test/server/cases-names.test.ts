import t from 'tap'
import { assertSound, buildApp, log, put, read, uuid, verdicts } from '../helpers/app.js'
import type { UploadResponse } from '../../src/index.js'

/** Names of columns that need quotes, or that something on the way could take for its own. */
const ODD_COLUMNS = ['select', 'Order By', 'quote"inside', "it's", 'ünï 😀', '$1', 'a;drop table x', '%s', 'x'.repeat(63), 'payload', 'constructor', 'back\\slash', 'ctid_']

t.test('columns of any name that PostgreSQL takes arrive in their own column, and a name that is cut to 63 bytes is no other (F10, H3)', async t => {
  const quote = (name: string) => `"${name.replaceAll('"', '""')}"`
  const { sql, user } = await buildApp(t, {
    schemaSql: `create table public.odd (id uuid primary key, ${ODD_COLUMNS.map(name => `${quote(name)} text`).join(', ')})`, tables: ['odd']
  })
  const row = Object.fromEntries(ODD_COLUMNS.map((name, i) => [name, `value ${i}`]))
  const one = await user('alice').upload([put(1, 'public.odd', uuid(1), row)])
  t.strictSame(verdicts(one), ['1 applied v1'])
  t.strictSame([...await sql`select * from odd`], [{ id: uuid(1), ...row }])
  for (const [i, name] of ODD_COLUMNS.entries()) t.strictSame(verdicts(await user('alice').upload([put(i + 2, 'public.odd', uuid(1), { [name]: 'again' }, i + 1)])), [`${i + 2} applied v${i + 2} row v${i + 2}`], name)
  t.strictSame([...await sql`select * from odd`], [{ id: uuid(1), ...Object.fromEntries(ODD_COLUMNS.map(name => [name, 'again'])) }])

  const cut = await user('bob').upload([put(1, 'public.odd', uuid(2), { ['x'.repeat(64)]: 'longer', SELECT: 'in capitals', 'order by': 'in small letters' })])
  t.strictSame(verdicts(cut), ['1 applied v1'])
  t.strictSame((await sql.unsafe(`select "${'x'.repeat(63)}", "select", "Order By" from odd where id = '${uuid(2)}'`)).map(row => Object.values(row)), [[null, null, null]], 'kept for other devices, written nowhere')
  await assertSound(t, sql, 'alice')
})

t.test('tables of one name in two schemas, and a table beside its twin in capitals, are two tables (F11)', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: 'create schema other; create table other.users (id uuid primary key, name text); create table public.users (id uuid primary key, name text); create table public."Users" (id uuid primary key, name text)',
    tables: ['other.users', 'users']
  })
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload([
    put(1, 'business.users', uuid(1), { name: 'in business', email: 'e' }), put(2, 'other.users', uuid(1), { name: 'in other' }), put(3, 'public.users', uuid(1), { name: 'in public' })
  ])), ['1 applied v1', '2 applied v1', '3 applied v1'])
  const capitals = read<UploadResponse>(await phone.uploadText(JSON.stringify({ changes: [{ ...put(4, 'public.users', uuid(1), { name: 'again' }, 1), table: 'USERS' }] })))
  t.strictSame(verdicts(capitals), ['4 applied v2'], 'names on the wire have no capitals')
  for (const [table, name] of Object.entries({ 'business.users': 'in business', 'other.users': 'in other', 'public.users': 'again' })) t.strictSame([...await sql.unsafe(`select name from ${table}`)], [{ name }], table)
  t.equal((await sql`select from public."Users"`).length, 0)
  t.equal((await log(sql, 'alice')).length, 4)
  await assertSound(t, sql, 'alice')
})

t.test('a table whose name has the full 63 bytes syncs under it (F10)', async t => {
  const name = 't'.repeat(63)
  const { sql, user } = await buildApp(t, { schemaSql: `create table public.${name} (id uuid primary key)`, tables: [name] })
  t.strictSame(verdicts(await user('alice').upload([put(1, `public.${name}`, uuid(1), {}), put(2, `public.${name}t`, uuid(2), {})])), ['1 applied v1', '2 invalid unregistered_table'])
  t.strictSame([...await sql.unsafe(`select id from public.${name}`)], [{ id: uuid(1) }])
})

t.test('columns whose names have blanks are not taken for several columns (F10, P17)', async t => {
  const { sql, user } = await buildApp(t, { schemaSql: 'create table public.blank (id uuid primary key, a text, b text, "a b" text)', tables: ['blank'] })
  await user('alice').upload([put(1, 'public.blank', uuid(1), { 'a b': 'x' }), put(2, 'public.blank', uuid(2), { a: '1', b: '2' })])
  t.strictSame((await sql`select a, b, "a b" from public.blank order by id`).map(row => Object.values(row)), [[null, null, 'x'], ['1', '2', null]])
})
