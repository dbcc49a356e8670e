import postgres from 'postgres'
import t from 'tap'
import { MAX_DECISION_ROUNDS } from '../../src/limits.js'
import { assertSound, buildApp, del, john, log, put, startApp, uuid, verdicts, caller, type World } from '../helpers/app.js'

/** Tables that are hard on a batch: chains, cycles, self-references, unique values, constraints that speak late. */
const HARD_TABLES = `
  create schema hard;
  create table hard.a (id uuid primary key, name text);
  create table hard.b (id uuid primary key, a_id uuid not null references hard.a, name text);
  create table hard.c (id uuid primary key, b_id uuid not null references hard.b, name text);
  create table hard.node (id uuid primary key, parent_id uuid references hard.node, name text);
  create table hard.left (id uuid primary key, right_id uuid not null);
  create table hard.right (id uuid primary key, left_id uuid not null references hard.left deferrable initially immediate);
  alter table hard.left add foreign key (right_id) references hard.right deferrable initially deferred;
  create table hard.slug (id uuid primary key, slug text not null unique, note text check (note <> 'bad'));
  create table hard.slot (id uuid primary key, slot integer not null unique deferrable initially deferred, note text check (note <> 'bad'));
  create table hard.typed (id uuid primary key, num numeric(6,2), small smallint, ref uuid, mood text not null default 'calm', day date);
  create function hard.refuse_late () returns trigger language plpgsql as $$ begin if new.name = 'late' then raise exception 'secret of the app'; end if; return null; end $$;
  create table hard.late (id uuid primary key, name text);
  create constraint trigger late after insert or update on hard.late deferrable initially deferred for each row execute function hard.refuse_late();
  create function hard.refuse_own () returns trigger language plpgsql as $$ begin if new.name = 'own' then raise exception 'secret of the app' using errcode = 'MY001'; end if; return new; end $$;
  create trigger own before insert or update on hard.late for each row execute function hard.refuse_own();
`
const TABLES = ['a', 'b', 'c', 'node', 'left', 'right', 'slug', 'slot', 'typed', 'late'].map(name => `hard.${name}`)

async function hardWorld (t: Parameters<typeof buildApp>[0]): Promise<World> {
  return await buildApp(t, { schemaSql: HARD_TABLES, tables: TABLES })
}

t.test('changes of one row are judged in request order, each on the result of the one before (A6, A7, A8)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  const steps: Array<[string, ReturnType<typeof put>[], string[]]> = [
    ['INSERT then UPDATE', [put(1, 'users', uuid(1), john('A')), put(2, 'users', uuid(1), john('B'), 1)], ['1 applied v1', '2 applied v2']],
    ['two UPDATEs on one base', [put(3, 'users', uuid(1), john('C'), 2), put(4, 'users', uuid(1), john('D'), 2)], ['3 applied v3', '4 conflict v3']],
    ['INSERT, DELETE, INSERT', [put(5, 'users', uuid(2), john('E')), del(6, 'users', uuid(2), 1), put(7, 'users', uuid(2), john('F'), 2)], ['5 applied v1', '6 applied v2', '7 applied v3']],
    ['DELETE, INSERT, DELETE, DELETE', [del(8, 'users', uuid(2), 3), put(9, 'users', uuid(2), john('G'), 4), del(10, 'users', uuid(2), 5), del(11, 'users', uuid(2), 0)], ['8 applied v4', '9 applied v5', '10 applied v6', '11 applied v6']],
    ['among changes of other rows', [put(12, 'users', uuid(1), john('H'), 3), put(13, 'users', uuid(3), john('I')), put(14, 'users', uuid(1), john('J'), 4)], ['12 applied v4', '13 applied v1', '14 applied v5']],
    ['sent with falling numbers', [put(22, 'users', uuid(4), john('K')), put(21, 'users', uuid(4), john('L'), 1)], ['22 applied v1', '21 applied v2']]
  ]
  for (const [name, changes, expected] of steps) t.strictSame(verdicts(await phone.upload(changes)), expected, name)
  t.strictSame((await sql`select name from business.users order by id`).map(row => row['name'] as string), ['J', 'I', 'L'])
  t.match((await phone.upload([put(3, 'users', uuid(1), john('C'), 2)])).statuses[0], { status: 'applied', new_server_version: 3, server_row: { server_version: 5 } }, 'a replay from the middle')
  await assertSound(t, sql, 'alice')
})

t.test('a conflict shows the row as the batch leaves it, and leaves no trace (A5, A7, P5)', async t => {
  const { user, sql } = await buildApp(t)
  const { statuses } = await user('alice').upload([put(1, 'users', uuid(1), john('A')), put(2, 'users', uuid(1), john('B')), put(3, 'users', uuid(2), john('C'))])
  t.strictSame(verdicts({ statuses }), ['1 applied v1', '2 conflict v1', '3 applied v1'])
  t.match((statuses[1] as { server_row: object }).server_row, { payload: { name: 'A' } })
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 2 I v1'])
  t.strictSame(verdicts(await user('alice').upload([put(2, 'users', uuid(3), john('D'))])), ['2 applied v1'], 'the number of a refused change is free')
})

t.test('once a change of a row is refused, the later ones of that row conflict, and other rows go on', async t => {
  const { user, sql } = await buildApp(t, { tables: [{ table: 'public.notes', materialize: false }], maxPayloadBytes: 2000 })
  const row = uuid(1)
  const good = (id: number, base: number) => put(id, 'typed_rows', row, { note: 'good' }, base)
  const refused: Array<[string, object, string]> = [
    ['a stale base', put(11, 'typed_rows', row, {}, 0), '11 conflict v1'],
    ['a constraint', put(11, 'typed_rows', row, { note: 'x'.repeat(1001) }, 1), '11 invalid constraint_violation'],
    ['a bad value', put(11, 'typed_rows', row, { big: 'x' }, 1), '11 invalid bad_payload'],
    ['a payload that is too large', put(11, 'typed_rows', row, { blob: 'x'.repeat(2000) }, 1), '11 invalid bad_payload'],
    ['a negative base', { ...put(11, 'typed_rows', row, {}), server_version: -1 }, '11 invalid bad_payload'],
    ['a number that is none', put(0, 'typed_rows', row, {}, 1), '0 invalid bad_payload'],
    ['an unknown op', { ...put(11, 'typed_rows', row, {}, 1), op: 'UPSERT' }, '11 invalid bad_payload'],
    ['a missing payload', { ...put(11, 'typed_rows', row, {}, 1), payload: null }, '11 invalid bad_payload'],
    ['a DELETE with a payload', { ...del(11, 'typed_rows', row, 1), payload: {} }, '11 invalid bad_payload'],
    ['a key that is not the pk', put(11, 'typed_rows', row, { id: uuid(2) }, 1), '11 invalid bad_payload'],
    ['a number used before', put(1, 'typed_rows', row, { note: 'other' }, 1), '1 invalid source_change_id_reused']
  ]
  for (const [name, change, verdict] of refused) {
    const scope = `spoiled by ${name}`
    const key = (text: string) => JSON.parse(text.replaceAll(row, uuid(100 + refused.findIndex(([other]) => other === name))))
    const phone = user(scope)
    await phone.upload([key(JSON.stringify(put(1, 'typed_rows', row, { note: 'first' })))])
    const reply = await phone.upload(key(JSON.stringify([change, good(12, 1), put(13, 'public.notes', uuid(9), {}), good(14, 2), del(15, 'typed_rows', row, 1)])))
    t.strictSame(verdicts(reply), [verdict, '12 conflict v1', '13 applied v1', '14 conflict v1', '15 conflict v1'], name)
    t.equal((await log(sql, scope)).length, 2, `${name}: nothing of that row in the log`)
  }
})

t.test('one number twice in a batch: the same content is one change, other content is refused (A9)', async t => {
  const { user, sql } = await buildApp(t)
  const reply = await user('alice').upload([put(1, 'users', uuid(1), john()), put(1, 'users', uuid(1), john()), put(1, 'users', uuid(2), john()), put(2, 'users', uuid(3), john())])
  t.strictSame(verdicts(reply), ['1 applied v1', '1 applied v1', '1 invalid source_change_id_reused', '2 applied v1'])
  t.strictSame(reply.statuses[2], { source_change_id: 1, status: 'invalid', message: (reply.statuses[2] as { message: string }).message, invalid: { reason: 'source_change_id_reused', details: { next_source_change_id: 3 } } })
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 3 I v1'])
})

t.test('a chain of parents may come in any order, and stands parents first in the stream (A10, K1)', async t => {
  const { user, sql } = await hardWorld(t)
  for (const [n, order] of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].entries()) {
    const [a, b, c] = [uuid(10 * n + 1), uuid(10 * n + 2), uuid(10 * n + 3)]
    const chain = [put(1, 'hard.a', a, {}), put(2, 'hard.b', b, { a_id: a }), put(3, 'hard.c', c, { b_id: b })]
    const removal = [del(4, 'hard.a', a, 1), del(5, 'hard.b', b, 1), del(6, 'hard.c', c, 1)]
    const scope = `order ${n}`
    t.strictSame(verdicts(await user(scope).upload(order.map(i => chain[i] as never))), order.map(i => `${i + 1} applied v1`), order.join())
    t.strictSame(verdicts(await user(scope).upload(order.map(i => removal[i] as never))), order.map(i => `${i + 4} applied v2`), `${order.join()}: removal`)
    t.strictSame((await log(sql, scope)).map(line => line.replace(/ \d+ /, ' ')), ['1 a I v1', '2 b I v1', '3 c I v1', '4 c D v2', '5 b D v2', '6 a D v2'], `${order.join()}: the log`)
  }
})

t.test('rows that refer to themselves and to rows of their own table (K2)', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload([
    put(1, 'hard.node', uuid(3), { parent_id: uuid(2) }), put(2, 'hard.node', uuid(2), { parent_id: uuid(1) }),
    put(3, 'hard.node', uuid(1), { parent_id: uuid(1) }), put(4, 'hard.node', uuid(4), { parent_id: uuid(5) })
  ])), ['1 applied v1', '2 applied v1', '3 applied v1', '4 invalid fk_missing'])
  t.strictSame(await log(sql, 'alice'), ['1 node 1 I v1', '2 node 2 I v1', '3 node 3 I v1'])
  t.strictSame(verdicts(await phone.upload([del(5, 'hard.node', uuid(1), 1), del(6, 'hard.node', uuid(2), 1), del(7, 'hard.node', uuid(3), 1)])), ['5 applied v2', '6 applied v2', '7 applied v2'], 'parents first')
  t.strictSame(verdicts(await phone.upload([put(8, 'hard.node', uuid(6), { parent_id: uuid(7) }), put(9, 'hard.node', uuid(7), { parent_id: uuid(6) })])), ['8 applied v1', '9 applied v1'], 'a loop within one statement')
})

t.test('a cycle of references is taken in one batch where its constraints can be deferred (K2)', async t => {
  const { user, sql } = await hardWorld(t)
  const pair = (n: number) => [put(n, 'hard.left', uuid(n), { right_id: uuid(n + 1) }), put(n + 1, 'hard.right', uuid(n + 1), { left_id: uuid(n) })]
  t.strictSame(verdicts(await user('alice').upload(pair(1))), ['1 applied v1', '2 applied v1'])
  t.strictSame(verdicts(await user('alice').upload([...pair(3).reverse(), ...pair(5), put(7, 'hard.left', uuid(7), { right_id: uuid(99) })])),
    ['4 applied v1', '3 applied v1', '5 applied v1', '6 applied v1', '7 invalid fk_missing'], 'also beside a culprit')
  t.strictSame(verdicts(await user('alice').upload([put(9, 'hard.slug', uuid(1), { slug: 's', note: 'bad' }), ...pair(10)])), ['9 invalid constraint_violation', '10 applied v1', '11 applied v1'], 'also where the batch has to be parted')
  t.equal((await sql`select from hard.left l join hard.right r on r.id = l.right_id and r.left_id = l.id`).length, 4)
  t.strictSame(verdicts(await user('alice').upload([del(20, 'hard.left', uuid(1), 1), del(21, 'hard.right', uuid(2), 1)])), ['20 applied v2', '21 applied v2'], 'and goes in one batch')
  await assertSound(t, sql, 'alice')
})

t.test('a missing parent is named, refuses its children and theirs, and may come later (P5, K1)', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  const changes = [put(1, 'hard.c', uuid(3), { b_id: uuid(2) }), put(2, 'hard.b', uuid(2), { a_id: uuid(1) }), put(3, 'hard.a', uuid(4), {})]
  const { statuses } = await phone.upload(changes)
  t.strictSame(verdicts({ statuses }), ['1 invalid fk_missing', '2 invalid fk_missing', '3 applied v1'])
  t.strictSame(statuses.slice(0, 2).map(status => (status as { invalid: object }).invalid), [
    { reason: 'fk_missing', details: { missing: [`hard.b:${uuid(2)}`] } },
    { reason: 'fk_missing', details: { missing: [`hard.a:${uuid(1)}`] } }
  ])
  t.strictSame(await log(sql, 'alice'), ['1 a 4 I v1'])
  t.strictSame((await user('alice', 'pad').download()).changes.map(({ pk }) => pk), [uuid(4)], 'no peer sees them')
  await user('alice', 'pad').upload([put(1, 'hard.a', uuid(1), {})])
  t.strictSame(verdicts(await phone.upload(changes)), ['1 applied v1', '2 applied v1', '3 applied v1'], 'the same request later')
  t.strictSame(await log(sql, 'alice'), ['1 a 4 I v1', '2 a 1 I v1', '3 b 2 I v1', '4 c 3 I v1'])
})

t.test('a parent that the batch deletes or that was refused takes its new children with it (K3)', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'hard.a', uuid(1), {}), put(2, 'hard.a', uuid(2), {})])
  await user('alice', 'pad').upload([del(1, 'hard.a', uuid(2), 1)])
  t.strictSame(verdicts(await phone.upload([
    put(3, 'hard.b', uuid(11), { a_id: uuid(1) }), del(4, 'hard.a', uuid(1), 1), put(5, 'hard.b', uuid(12), { a_id: uuid(2) }),
    { ...put(6, 'hard.a', uuid(3), {}), op: 'NONSENSE' }, put(7, 'hard.b', uuid(13), { a_id: uuid(3) }),
    put(8, 'hard.a', uuid(2), {}, 1), put(9, 'hard.b', uuid(14), { a_id: uuid(2) })
  ])), ['3 invalid fk_missing', '4 applied v2', '5 invalid fk_missing', '6 invalid bad_payload', '7 invalid fk_missing', '8 conflict v2 deleted', '9 invalid fk_missing'])
  t.strictSame(await log(sql, 'alice'), ['1 a 1 I v1', '2 a 2 I v1', '3 a 2 D v2', '4 a 1 D v2'])
})

t.test('a parent that is deleted and comes back in one batch keeps its order, whatever its children do', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'hard.a', uuid(1), { name: 'old' })])
  t.strictSame(verdicts(await phone.upload([
    del(2, 'hard.a', uuid(1), 1), put(3, 'hard.a', uuid(1), { name: 'new' }, 2), put(4, 'hard.b', uuid(2), { a_id: uuid(1) }), del(5, 'hard.b', uuid(2), 1)
  ])), ['2 applied v2', '3 applied v3', '4 applied v1', '5 applied v2'])
  t.strictSame((await sql`select name from hard.a`).map(row => ({ ...row })), [{ name: 'new' }])
  t.strictSame(await log(sql, 'alice'), ['1 a 1 I v1', '2 a 1 D v2', '3 a 1 U v3', '4 b 2 I v1', '5 b 2 D v2'])
  await assertSound(t, sql, 'alice')
})

t.test('a child that leaves its parent stands before the parent\'s deletion (A10)', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'hard.a', uuid(1), {}), put(2, 'hard.a', uuid(2), {}), put(3, 'hard.b', uuid(3), { a_id: uuid(1) })])
  t.strictSame(verdicts(await phone.upload([del(4, 'hard.a', uuid(1), 1), put(5, 'hard.b', uuid(3), { a_id: uuid(2) }, 1), put(6, 'hard.slug', uuid(9), { slug: 's', note: 'bad' })])),
    ['4 applied v2', '5 applied v2', '6 invalid constraint_violation'])
  t.strictSame((await log(sql, 'alice')).slice(3), ['4 b 3 U v2', '5 a 1 D v2'])
})

t.test('a unique value moves from a row to another, in request order, in reverse, and beside a culprit (A10)', async t => {
  const moves: Array<[string, (base: number) => ReturnType<typeof put>[]]> = [
    ['from a deleted row', n => [del(11, 'hard.slug', uuid(n + 1), 1), put(12, 'hard.slug', uuid(n + 3), { slug: `${n} one` })]],
    ['from a row deleted later in the request', n => [put(11, 'hard.slug', uuid(n + 3), { slug: `${n} one` }), del(12, 'hard.slug', uuid(n + 1), 1)]],
    ['from a row that takes another value', n => [put(11, 'hard.slug', uuid(n + 1), { slug: `${n} three` }, 1), put(12, 'hard.slug', uuid(n + 3), { slug: `${n} one` })]],
    ['along a chain', n => [put(11, 'hard.slug', uuid(n + 2), { slug: `${n} three` }, 1), put(12, 'hard.slug', uuid(n + 1), { slug: `${n} two` }, 1), put(13, 'hard.slug', uuid(n + 3), { slug: `${n} one` })]],
    ['in a circle, where the constraint can be deferred', n => [put(11, 'hard.slot', uuid(n + 1), { slot: n + 2 }, 1), put(12, 'hard.slot', uuid(n + 2), { slot: n + 1 }, 1)]]
  ]
  const { user, sql } = await hardWorld(t)
  let n = 0
  for (const [name, changes] of moves) {
    for (const culprit of [[], [put(20, 'hard.slug', uuid(900), { slug: 'x', note: 'bad' })]]) {
      n += 10
      const scope = `${name} ${culprit.length}`
      await user(scope).upload([
        put(1, 'hard.slug', uuid(n + 1), { slug: `${n} one` }), put(2, 'hard.slug', uuid(n + 2), { slug: `${n} two` }),
        put(3, 'hard.slot', uuid(n + 1), { slot: n + 1 }), put(4, 'hard.slot', uuid(n + 2), { slot: n + 2 })
      ])
      const { statuses } = await user(scope).upload([...culprit, ...changes(n)])
      t.ok(statuses.slice(culprit.length).every(({ status }) => status === 'applied'), `${name}, ${culprit.length} culprits: ${verdicts({ statuses }).join(', ')}`)
      await assertSound(t, sql, scope)
    }
  }
})

t.test('rows that want one unique value: the first has it, the other is told which constraint (K8)', async t => {
  const { user } = await hardWorld(t)
  const { statuses } = await user('alice').upload([put(1, 'hard.slug', uuid(1), { slug: 'same' }), put(2, 'hard.slug', uuid(2), { slug: 'same' }), put(3, 'hard.slug', uuid(3), { slug: 'other' })])
  t.strictSame(verdicts({ statuses }), ['1 applied v1', '2 invalid constraint_violation', '3 applied v1'])
  t.strictSame((statuses[1] as { invalid: object }).invalid, { reason: 'constraint_violation', details: { constraint: 'slug_slug_key', column: null, sqlstate: '23505' } })
})

t.test('what the database refuses is said of that change alone, in words that show nothing else (F4, F5, H21, K11)', async t => {
  const { user, sql } = await hardWorld(t)
  await sql`create unique index late_name on hard.late (name)`
  const unpackable = Array.from({ length: 600 }, (_, i) => (i * 7919).toString(36)).join('-').repeat(4)
  const refused: Array<[string, ReturnType<typeof put>, object]> = [
    ['NOT NULL by null', put(1, 'hard.typed', uuid(1), { mood: null }), { reason: 'constraint_violation', details: { constraint: null, column: 'mood', sqlstate: '23502' } }],
    ['NOT NULL by absence (F2)', put(1, 'hard.slug', uuid(1), {}), { reason: 'constraint_violation', details: { constraint: null, column: 'slug', sqlstate: '23502' } }],
    ['CHECK', put(1, 'hard.slug', uuid(1), { slug: 's', note: 'bad' }), { reason: 'constraint_violation', details: { constraint: 'slug_note_check', column: null, sqlstate: '23514' } }],
    ['text in an integer', put(1, 'hard.typed', uuid(1), { small: 'abc' }), { reason: 'bad_payload', details: { column: 'small', sqlstate: '22P02' } }],
    ['a fraction in an integer', put(1, 'hard.typed', uuid(1), { small: 1.5 }), { reason: 'bad_payload', details: { column: 'small', sqlstate: '22P02' } }],
    ['an integer out of range', put(1, 'hard.typed', uuid(1), { small: 32768 }), { reason: 'bad_payload', details: { column: 'small', sqlstate: '22003' } }],
    ['a numeric out of range', put(1, 'hard.typed', uuid(1), { num: 12345 }), { reason: 'bad_payload', details: { column: 'num', sqlstate: '22003' } }],
    ['a numeric that would be rounded', put(1, 'hard.typed', uuid(1), { num: 1.005 }), { reason: 'bad_payload' }],
    ['a date that is none', put(1, 'hard.typed', uuid(1), { day: '2024-02-30' }), { reason: 'bad_payload', details: { column: 'day', sqlstate: '22008' } }],
    ['a uuid that is none', put(1, 'hard.typed', uuid(1), { ref: 'no uuid' }), { reason: 'bad_payload' }],
    ['a constraint trigger that would speak at COMMIT', put(1, 'hard.late', uuid(1), { name: 'late' }), { reason: 'constraint_violation' }],
    ['a trigger with a SQLSTATE of its own', put(1, 'hard.late', uuid(1), { name: 'own' }), { reason: 'constraint_violation' }],
    ['a value too long for its index', put(1, 'hard.late', uuid(1), { name: unpackable }), { reason: 'constraint_violation', details: { sqlstate: '54000' } }]
  ]
  for (const [i, [name, change, invalid]] of refused.entries()) {
    const scope = `refused ${i}`
    const neighbours = [put(2, 'hard.a', uuid(i * 10 + 2), {}), put(3, 'hard.late', uuid(i * 10 + 3), { name: `${i}` }), put(4, 'hard.typed', uuid(i * 10 + 4), { num: 1 })]
    const { statuses, text } = await user(scope).upload([neighbours[0] as never, change, ...neighbours.slice(1)])
    t.strictSame(verdicts({ statuses }).map(line => line.split(' ')[1]), ['applied', 'invalid', 'applied', 'applied'], name)
    t.match((statuses[1] as { invalid: object }).invalid, invalid, `${name}: reason`)
    t.notMatch(text, /secret|Failing row|plpgsql/, `${name}: nothing of the database's own words`)
    t.equal((await log(sql, scope)).length, 3, `${name}: no trace`)
  }
})

t.test('a deletion that a foreign key forbids is refused, alone, and succeeds after its children (K10)', async t => {
  const { user, sql } = await hardWorld(t)
  const phone = user('alice')
  await phone.upload([put(1, 'hard.a', uuid(1), {}), put(2, 'hard.b', uuid(2), { a_id: uuid(1) }), put(3, 'hard.a', uuid(3), {})])
  const { statuses } = await phone.upload([del(4, 'hard.a', uuid(1), 1), del(5, 'hard.a', uuid(3), 1)])
  t.strictSame(verdicts({ statuses }), ['4 invalid constraint_violation', '5 applied v2'])
  t.match((statuses[0] as { invalid: object }).invalid, { details: { constraint: 'b_a_id_fkey', sqlstate: '23503' } })
  t.strictSame(verdicts(await phone.upload([del(4, 'hard.a', uuid(1), 1), del(6, 'hard.b', uuid(2), 1)])), ['4 applied v2', '6 applied v2'])
  t.equal((await sql`select from hard.a`).length, 0)
})

t.test('one bad row among 500 is found, and the others are applied', async t => {
  const { user, sql } = await hardWorld(t)
  const changes = Array.from({ length: 500 }, (_, i) => put(i + 1, 'hard.slug', uuid(i + 1), { slug: `s${i}`, note: i === 311 ? 'bad' : null }))
  const { statuses } = await user('alice').upload(changes)
  t.strictSame(verdicts({ statuses }).filter(line => !line.endsWith(' applied v1')), ['312 invalid constraint_violation'])
  t.equal((await sql`select from hard.slug`).length, 499)
  await assertSound(t, sql, 'alice')
})

t.test('a batch whose refusals hang on each other settles, however long the chain', async t => {
  const { user, sql } = await hardWorld(t)
  const length = MAX_DECISION_ROUNDS + 8
  await user('alice').upload(Array.from({ length }, (_, i) => put(i + 1, 'hard.slug', uuid(i + 1), { slug: `v${i}` })))
  // Each row wants the value of the one before, which its first change gives up and its second change gives up again.
  const chain = Array.from({ length }, (_, i) => [
    put(1000 + i, 'hard.slug', uuid(i + 1), { slug: `v${i - 1}`, note: i === 0 ? 'bad' : null }, 1), put(2000 + i, 'hard.slug', uuid(i + 1), { slug: `w${i}` }, 2)
  ]).flat()
  const { statuses } = await user('alice').upload([...chain, put(9000, 'hard.a', uuid(1), {})])
  t.strictSame(verdicts({ statuses }).filter(line => line.includes('applied')), ['9000 applied v1'])
  await assertSound(t, sql, 'alice')
  // Rows of somebody else, each in a run of its own because another row changes in between.
  await user('bob').upload(Array.from({ length }, (_, i) => put(i + 1, 'hard.a', uuid(100 + i), {})))
  const runs = Array.from({ length }, (_, i) => [put(3000 + i, 'hard.c', uuid(1), {}, i), put(4000 + i, 'hard.a', uuid(100 + i), {}), put(5000 + i, 'hard.node', uuid(1), { name: `${i}` }, i)]).flat().filter(({ table }) => table !== 'c')
  const second = await user('alice').upload(runs)
  t.strictSame(verdicts(second).filter(line => line.includes('not_owner')).length, length)
  t.strictSame(verdicts(second).filter(line => line.includes('applied')).length, length)
  await assertSound(t, sql, 'alice')
})

t.test('the number of statements does not grow with the batch', async t => {
  const { sql, url } = await hardWorld(t)
  let statements: string[] = []
  const counted = postgres(url, { onnotice: () => {}, debug: (_connection, statement) => { statements.push(statement) } })
  t.teardown(async () => { await counted.end() })
  const app = await startApp(t, { database: counted, tables: TABLES })
  const phone = caller(app, 'alice')
  const batch = (from: number, size: number) => Array.from({ length: size }, (_, i) => {
    const n = from + i
    const key = uuid(n)
    // Keys of the payload in two orders: the same columns are one statement all the same.
    const row = n % 2 === 0 ? { name: `${n}`, email: 'e' } : { email: 'e', name: `${n}` }
    return [put(3 * n, 'users', key, row), put(3 * n + 1, 'posts', key, { title: 't', author_id: key }), put(3 * n + 2, 'hard.a', key, {})]
  }).flat()
  await phone.upload(batch(1, 1))
  const counts = []
  for (const [from, size] of [[10, 2], [1000, 300]] as const) {
    statements = []
    const { statuses } = await phone.upload(batch(from, size))
    t.ok(statuses.every(({ status }) => status === 'applied'))
    counts.push(statements.length)
  }
  t.equal(counts[1], counts[0], `${counts.join(' and ')} statements`)
  t.ok(counts[0] as number <= 16, 'and is small')
  for (const [name, make] of [['updates', (n: number) => put(90_000 + n, 'users', uuid(n), john(), 1)], ['replays', (n: number) => put(90_000 + n, 'users', uuid(n), john(), 1)], ['deletions', (n: number) => del(190_000 + n, 'posts', uuid(n), 1)]] as const) {
    const sizes = []
    for (const [from, size] of [[1000, 2], [1100, 100]] as const) {
      statements = []
      await phone.upload(Array.from({ length: size }, (_, i) => make(from + i)))
      sizes.push(statements.length)
    }
    t.equal(sizes[1], sizes[0], `${name}: ${sizes.join(' and ')}`)
  }
  await assertSound(t, sql, 'alice')
})

t.test('one number for many changes that are refused: the first counts, the others are refused at once (A9, P19)', async t => {
  const { user, sql } = await buildApp(t)
  const many = Array.from({ length: 40 }, (_, i) => put(1, 'users', uuid(i + 1), { name: null, email: null }))
  t.strictSame(verdicts(await user('alice').upload(many)), ['1 invalid constraint_violation', ...Array(39).fill('1 invalid source_change_id_reused') as string[]])
  t.strictSame(verdicts(await user('alice').upload([put(1, 'users', uuid(2), john())])), ['1 applied v1'], 'what was refused does not use up the number')
  t.strictSame(await log(sql, 'alice'), ['1 users 2 I v1'])
})
