import fs from 'node:fs'
import t from 'tap'
import { hooks, tables } from '../../examples/hooks/options.js'
import type { UploadResponse } from '../../src/index.js'
import { buildApp, put, uuid, verdicts } from '../helpers/app.js'

const SCHEMA = `
  create schema shop;
  create table shop.products (id uuid primary key, name text, purchase_price numeric);
  create table shop.orders (id uuid primary key, customer text not null, state text, product_id uuid references shop.products);
  create table shop.scans (id uuid primary key, code text check (code <> ''));
  create table public.documents (owner text, id text, body json, primary key (owner, id));`

t.test('each piece of code in docs/hooks.md is in the example', async t => {
  const example = fs.readFileSync('examples/hooks/options.ts', 'utf8')
  const blocks = [...fs.readFileSync('docs/hooks.md', 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(match => match[1] as string)
  t.equal(blocks.length, 5)
  for (const block of blocks) t.ok(example.includes(block), block.slice(0, 60))
})

t.test('the example does what docs/hooks.md says', async t => {
  process.env['OPERATOR_KEY'] = 'sesame'
  t.teardown(() => { delete process.env['OPERATOR_KEY'] })
  const { app, user, sql } = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables, ...hooks })
  const order = (n: number, state: string) => put(n, 'shop.orders', uuid(n), { state, product_id: uuid(1) })
  const products = await app.oversync.upload({ userId: 'staff', deviceId: 'office' }, { changes: [put(1, 'shop.products', uuid(1), { name: 'tea', purchase_price: 1 })] }, { trusted: true })
  t.strictSame(verdicts(JSON.parse(products.json) as UploadResponse).map(line => line.split(' row')[0]), ['1 applied v1'])
  t.strictSame(verdicts(await user('alice').upload([order(1, 'open'), order(2, 'paid'), put(3, 'shop.products', uuid(1), {}), put(4, 'app.notes', 'n', { text: 'a' }), put(5, 'shop.scans', uuid(5), { code: '' })])),
    ['1 applied v1', '2 invalid rejected', '3 invalid read_only', '4 applied v1', '5 applied v1'])
  t.strictSame(verdicts(await user('guest').upload([order(1, 'open')])), ['1 invalid rejected'])
  t.equal((await user('alice').upload(Array.from({ length: 12 }, (_, n) => order(20 + n, 'open')))).statuses.filter(({ status }) => status === 'applied').length, 9)
  await user('bob').upload([put(1, 'app.notes', 'n', { text: 'b' })])
  await user('alice').upload([{ ...put(50, 'app.notes', 'n', {}, 1), op: 'DELETE', payload: null }])
  t.strictSame((await sql`select owner, body from public.documents`).map(row => ({ ...row })), [{ owner: 'bob', body: { id: 'n', text: 'b' } }])
  const failures = '/admin/materialize-failures'
  t.equal((await user('alice', 'desk', { adminPrefix: '/internal' }).admin({ url: failures })).statusCode, 403)
  const listed = await user('alice', 'desk', { adminPrefix: '/internal' }).admin({ url: failures, headers: { 'x-operator': 'sesame' } })
  t.match(JSON.parse(listed.body), [{ table: 'scans', constraint: 'scans_code_check' }])
})
