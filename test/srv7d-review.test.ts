import t from 'tap'
import { buildApp, put, del, uuid, verdicts } from './helpers/app.js'
const J = (x: unknown) => console.error(typeof x === 'string' ? x : JSON.stringify(x))
t.test('cascade overwrite', async t => {
  const { user, sql } = await buildApp(t)
  const a = user('alice'), b = user('bob')
  await a.upload([put(1, 'files', uuid(1), { name: 'f' }), put(2, 'file_reviews', uuid(2), { file_id: uuid(1), review: 'a' })])
  await a.upload([del(3, 'files', uuid(1), 1)])
  J(['bob', verdicts(await b.upload([put(1, 'file_reviews', uuid(2), { review: 'bob secret' })]))])
  J(['alice', verdicts(await a.upload([put(4, 'file_reviews', uuid(2), { review: 'overwritten by alice' }, 1)]))])
  J(await sql`select * from business.file_reviews`)
})
t.test('sticky fk_missing', async t => {
  const { user } = await buildApp(t)
  const a = user('alice')
  await a.upload([put(1, 'users', uuid(1), { name: 'u', email: 'e' }), put(2, 'posts', uuid(2), { title: 't', author_id: uuid(1) })])
  J(['sticky', verdicts(await a.upload([put(3, 'posts', uuid(3), { title: 't', author_id: uuid(1) }), del(4, 'users', uuid(1), 1)]))])
})
t.test('odd names', async t => {
  const { user, sql } = await buildApp(t, { tables: ['odd'], schemaSql: `create schema "Odd ""S"; create type "Odd ""S"."My Enum" as enum ('a b', 'c''d');
    create table public.odd ("The Key" uuid primary key, "we""ird" text, "oversync place" int, "order" int, "$1" text, "%s" text, "?" text, "ключ" text, "constructor" text, "toString" text, e "Odd ""S"."My Enum", "pk" text, "t" text, "r" text, "v" text, "ordinality" int)` })
  const a = user('alice')
  const p = { 'we"ird': 'x', order: 1, $1: 'y', '%s': 'z', '?': 'q', ключ: 'k', constructor: 'c', toString: 't', e: "c'd", pk: 'pk', t: 't', r: 'r', v: 'v', ordinality: 3 }
  J(['odd', JSON.stringify((await a.upload([{ ...put(1, 'public.odd', uuid(1), p) } as any])).statuses)])
  J(['odd upd', JSON.stringify((await a.upload([{ ...put(2, 'public.odd', uuid(1), { ...p, ключ: 'k2' }, 1) } as any])).statuses)])
  J(['odd place', JSON.stringify((await a.upload([{ ...put(3, 'public.odd', uuid(2), { 'oversync place': 7 }) } as any])).statuses)])
  J(await sql`select * from public.odd`)
})
t.test('owner fk', async t => {
  const { user, sql } = await buildApp(t, { tables: ['accounts', { table: 'notes', owner: 'account_id' }], schemaSql: 'create table public.accounts (id uuid primary key, n text); create table public.notes (id uuid primary key, account_id uuid not null references public.accounts, body text)' })
  await sql`insert into public.accounts values (${uuid(77)}, 'made at sign-up')`
  const a = user(uuid(77))
  J(['owner null/absent/equal', verdicts(await a.upload([put(1, 'public.notes', uuid(1), { body: 'x', account_id: null }), put(2, 'public.notes', uuid(2), { body: 'x' }), put(3, 'public.notes', uuid(3), { body: 'x', account_id: uuid(77) })]))])
  const r = await a.upload([put(4, 'public.notes', uuid(1), { body: 'edited', account_id: uuid(77) }, 1)]); J(['edit after null', verdicts(r)])
  const d = await user(uuid(77), 'tab').download(); J(d.changes.map(c => c.payload))
})
t.test('partial over absent', async t => {
  const { user, sql } = await buildApp(t)
  const a = user('alice')
  await a.upload([put(1, 'typed_rows', uuid(1), { big: 1, note: 'keep' })])
  await sql`delete from business.typed_rows`
  J(verdicts(await a.upload([put(2, 'typed_rows', uuid(1), { big: 2 }, 1)])))
  J(await sql`select id, big, note from business.typed_rows`); J((await user('alice', 'x').download()).changes.at(-1)?.payload as any)
})
t.test('trigger states', async t => {
  const { user } = await buildApp(t, { schemaSql: `create function business.f() returns trigger language plpgsql as $$ begin case new.name when 'a' then null; when 'b' then null; end case; return new; end $$;` })
  const { user: u2 } = await buildApp(t, { tables: ['c'], schemaSql: `create table public.c (id uuid primary key, name text); create function public.f() returns trigger language plpgsql as $$ begin case new.name when 'a' then null; when 'b' then null; end case; return new; end $$; create trigger x before insert on public.c for each row execute function public.f();` })
  const a = u2('alice')
  const r = await a.uploadText(JSON.stringify({ epoch: await a.epoch(), changes: [put(1, 'public.c', uuid(1), { name: 'a' }), put(2, 'public.c', uuid(2), { name: 'z' })] }))
  J(['case', r.statusCode, r.body.slice(0, 200)])
})
t.test('stream-only carry, urn', async t => {
  const { user } = await buildApp(t, { tables: [{ table: 'docs', materialize: false }] })
  const a = user('alice')
  await a.upload([put(1, 'public.docs', uuid(1), { x: 1, y: 2 })])
  J(JSON.stringify((await a.upload([put(2, 'public.docs', uuid(1), { x: 1 }, 1)])).statuses))
  await a.upload([put(3, 'users', uuid(1), { name: 'n', email: 'e' })])
  J(['urn', verdicts(await a.upload([put(4, 'posts', uuid(5), { title: 't', author_id: 'urn:uuid:' + uuid(1) }), { ...put(5, 'users', 'urn:uuid:' + uuid(6), { name: 'n', email: 'e' }) }]))])
})
t.test('chain x canonical', { timeout: 200000 }, async t => {
  const { user } = await buildApp(t, { tables: ['tree'], schemaSql: 'create table public.tree (id uuid primary key, up uuid references public.tree, n int)' })
  const a = user('alice')
  const deep = '['.repeat(60) + '[' + Array.from({ length: 100_000 }, () => '1').join(',') + ']' + ']'.repeat(60)
  const first = (sp: string) => JSON.stringify(put(1, 'typed_rows', uuid(1), { deep: 'D' })).replace('"D"', sp + deep)
  await a.uploadText(`{"epoch":${JSON.stringify(await a.epoch())},"changes":[${first('')}]}`)
  const changes: string[] = []
  for (let i = 1, id = 10; i <= 100; i++) {
    changes.push(JSON.stringify(put(id++, 'public.tree', uuid(1000 + i), { up: i === 1 ? uuid(1) : uuid(1000 + i - 1) })))
    changes.push(JSON.stringify(put(id++, 'public.tree', uuid(1000 + i), { up: null }, 1)))
  }
  const body = `{"epoch":${JSON.stringify(await a.epoch())},"changes":[${first(' ')},${changes.join(',')}]}`
  const s = performance.now(); const r = await a.uploadText(body)
  J(['chain x canonical', body.length + ' B', Math.round(performance.now() - s) + ' ms', r.statusCode])
})
