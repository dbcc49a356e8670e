import fc from 'fast-check'
import { randomInt } from 'node:crypto'
import type { Sql } from 'postgres'
import t from 'tap'
import { assertSound, buildApp, caller, del, log, put, startApp, uuid, verdict, verdicts, type World } from '../helpers/app.js'
import { parseTable } from '../helpers/parse-table.js'

/**
 * Every cell of the judging table. `state`: what the stream has of the row; `upsert` stands for INSERT and for UPDATE.
 * `log`: what the change adds to the log; `row`: what the business table holds afterwards.
 */
const CELLS = `
state     op      base              newer              older                   log  row
none      upsert  0                 applied v1         applied v1              v1   new
none      upsert  1                 conflict v0 deleted  invalid internal_error  -    none
none      upsert  9007199254740991  conflict v0 deleted  invalid internal_error  -    none
none      DELETE  0                 applied            applied                 -    none
none      DELETE  4                 applied            applied                 -    none
live 1    upsert  0                 conflict v1        conflict v1             -    old
live 1    upsert  1                 applied v2         applied v2              v2   new
live 1    upsert  2                 conflict v1        conflict v1             -    old
live 1    DELETE  0                 conflict v1        conflict v1             -    old
live 1    DELETE  1                 applied v2         applied v2              v2   none
live 1    DELETE  2                 conflict v1        conflict v1             -    old
live 3    upsert  0                 conflict v3        conflict v3             -    old
live 3    upsert  2                 conflict v3        conflict v3             -    old
live 3    upsert  3                 applied v4         applied v4              v4   new
live 3    upsert  4                 conflict v3        conflict v3             -    old
live 3    upsert  9007199254740991  conflict v3        conflict v3             -    old
live 3    DELETE  2                 conflict v3        conflict v3             -    old
live 3    DELETE  3                 applied v4         applied v4              v4   none
live 3    DELETE  4                 conflict v3        conflict v3             -    old
deleted 2  upsert  0                conflict v2 deleted  conflict v2 deleted   -    none
deleted 2  upsert  1                conflict v2 deleted  conflict v2 deleted   -    none
deleted 2  upsert  2                applied v3         applied v3              v3   new
deleted 2  upsert  3                conflict v2 deleted  conflict v2 deleted   -    none
deleted 2  DELETE  0                applied v2         applied v2              -    none
deleted 2  DELETE  1                applied v2         applied v2              -    none
deleted 2  DELETE  2                applied v2         applied v2              -    none
deleted 2  DELETE  3                applied v2         applied v2              -    none
revived 3  upsert  0                conflict v3        conflict v3             -    old
revived 3  upsert  2                conflict v3        conflict v3             -    old
revived 3  upsert  3                applied v4         applied v4              v4   new
revived 3  DELETE  2                conflict v3        conflict v3             -    old
revived 3  DELETE  3                applied v4         applied v4              v4   none
`

/** The changes by which another device brings a row into a state. */
const HISTORIES: Record<string, Array<'put' | 'del'>> = {
  none: [], 'live 1': ['put'], 'live 3': ['put', 'put', 'put'], 'deleted 2': ['put', 'del'], 'revived 3': ['put', 'del', 'put']
}

/** A hook has every batch written step by step, where without one it would be committed at once. */
const STEP_BY_STEP = { authorize: () => true }

t.test('every cell of the judging table (A2, H11, J1, J2, J3, J4, K5)', async t => {
  const tables = [{ table: 'public.notes', materialize: false }]
  const [atOnce, stepByStep] = [await buildApp(t, { tables }), await buildApp(t, { tables, ...STEP_BY_STEP })]
  let n = 0
  for (const [cell, { user, sql }] of [atOnce, stepByStep].flatMap(world => parseTable(CELLS).map(cell => [cell, world] as const))) {
    for (const table of ['users', 'public.notes']) {
      for (const op of cell['op'] === 'upsert' ? ['INSERT', 'UPDATE'] : ['DELETE']) {
        for (const generation of ['newer', 'older'] as const) {
          const scope = `user ${++n}`
          const pk = uuid(n)
          const old = { id: pk, name: 'old', email: 'old@example.com' }
          const history = HISTORIES[cell['state'] as string] as Array<'put' | 'del'>
          await user(scope, 'another').upload(history.map((kind, i) => kind === 'put' ? put(i + 1, table, pk, old, i) : del(i + 1, table, pk, i)))

          const change = op === 'DELETE' ? del(7, table, pk, Number(cell['base'])) : { ...put(7, table, pk, { name: 'new', email: 'new@example.com' }, Number(cell['base'])), op }
          const reply = await user(scope, 'phone', { older: generation === 'older' }).upload([change])

          const name = `${cell['state']}, ${op} on ${cell['base']}, ${table}, ${generation} client`
          const [status] = reply.statuses
          t.equal(verdict(status as never), cell[generation], name)
          if (status?.status === 'conflict') {
            const [, version, deleted] = cell['newer']?.split(' ') as string[]
            t.strictSame(status.server_row, {
              schema_name: table === 'users' ? 'business' : 'public',
              table_name: table === 'users' ? 'users' : 'notes',
              id: pk,
              server_version: Number(version?.slice(1)),
              deleted: deleted !== undefined,
              payload: deleted !== undefined ? null : old
            }, `${name}: the row as it is`)
          }
          const entries = await log(sql, scope)
          t.strictSame(entries.slice(history.length).map(entry => entry.split(' ').slice(3).join(' ')), cell['log'] === '-' ? [] : [`${op[0] as string} ${cell['log'] as string}`], `${name}: the log`)
          t.equal(reply.highest_server_seq, entries.length, `${name}: highest_server_seq`)
          t.equal(reply.next_source_change_id, status?.status === 'applied' ? 8 : 1, `${name}: only an applied change uses its number`)
          if (table === 'users') t.strictSame((await sql`select name from business.users where id = ${pk}`).map(row => row['name'] as string), cell['row'] === 'none' ? [] : [cell['row']], `${name}: the business row`)
        }
      }
    }
  }
})

/** Payload members and change fields that a second delivery of `{"dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"}` may have. */
const REPLAYS = `
what                       payload                                                    fields                   same
the very same              "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 -                        yes
white space                "dec" : 1 ,\\t"doc":{ "a":1,"b":[ 1 , 2 ]},\\n"note":"A"    -                        yes
key order                  "note":"A","doc":{"b":[1,2],"a":1},"dec":1                 -                        yes
escapes                    "\\u0064ec":1,"doc":{"a":1,"b":[1,2]},"note":"\\u0041"      -                        yes
UPDATE for INSERT          "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "op":"update"            yes
another base               "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "server_version":5       yes
names in other case        "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "table":" Typed_ROWS "   yes
key in other spelling      "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "pk":"{KEY}"             yes
1.0 for 1                  "dec":1.0,"doc":{"a":1,"b":[1,2]},"note":"A"               -                        no
1e0 for 1                  "dec":1e0,"doc":{"a":1,"b":[1,2]},"note":"A"               -                        no
text for number            "dec":"1","doc":{"a":1,"b":[1,2]},"note":"A"               -                        no
1.0 inside                 "dec":1,"doc":{"a":1.0,"b":[1,2]},"note":"A"               -                        no
array order                "dec":1,"doc":{"a":1,"b":[2,1]},"note":"A"                 -                        no
case of a text             "dec":1,"doc":{"a":1,"b":[1,2]},"note":"a"                 -                        no
space in a text            "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A "                -                        no
empty for A                "dec":1,"doc":{"a":1,"b":[1,2]},"note":""                  -                        no
null for A                 "dec":1,"doc":{"a":1,"b":[1,2]},"note":null                -                        no
a key less                 "dec":1,"doc":{"a":1,"b":[1,2]}                            -                        no
a key more                 "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A","big":null      -                        no
object for its text        "dec":1,"doc":"{\\"a\\":1,\\"b\\":[1,2]}","note":"A"           -                        no
another row                "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "pk":"OTHER"             no
another table              "dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"                 "table":"twins"          no
`

t.test('a second delivery is a replay where it means the same, and refused where not (P2, P4, A9, H8)', async t => {
  const { user, sql } = await buildApp(t, { tables: [{ table: 'business.twins', materialize: false }] })
  const members = '"dec":1,"doc":{"a":1,"b":[1,2]},"note":"A"'
  let n = 0
  for (const { what, payload, fields, same } of parseTable(REPLAYS)) {
    for (const batch of ['two requests', 'one request']) {
      const scope = `replay ${++n}`
      const pk = uuid(n)
      const phone = user(scope)
      const epoch = await phone.epoch()
      const first = `{"source_change_id":3,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${pk}","server_version":0,"payload":{"id":"${pk}",${members}}}`
      // The key column is left out: a key of the payload would have to follow a changed pk.
      const changed = (fields === '-' ? '' : fields as string).replace('KEY', pk.toUpperCase().replaceAll('-', '')).replace('OTHER', uuid(n + 500))
      const idMember = changed.includes(uuid(n + 500)) ? '' : `"id":"${pk.toUpperCase()}",`
      const second = `{"source_change_id":3,"schema":"business","table":"typed_rows","op":"INSERT","pk":"${pk}","server_version":0,"payload":{${idMember}${(payload as string).replaceAll('\\t', '\t').replaceAll('\\n', '\n')}}${changed === '' ? '' : ',' + changed}}`
      const send = async (...changes: string[]) => JSON.parse((await phone.uploadText(`{"epoch":"${epoch}","changes":[${changes.join(',')}]}`)).body)
      const replies = batch === 'one request' ? (await send(first, second)).statuses : [...(await send(first)).statuses, ...(await send(second)).statuses]
      const name = `${what}, in ${batch}`
      t.strictSame(replies.map(verdict), ['applied v1', same === 'yes' ? 'applied v1' : 'invalid source_change_id_reused'], name)
      if (same === 'no') t.strictSame(replies[1].invalid.details, { next_source_change_id: 4 }, `${name}: tells the next free number`)
      t.strictSame(await log(sql, scope), [`1 typed_rows ${n} I v1`], `${name}: one entry`)
      t.strictSame((await sql`select dec, doc, note from business.typed_rows where id = ${pk}`).map(row => ({ ...row })), [{ dec: '1', doc: { a: 1, b: [1, 2] }, note: 'A' }], `${name}: the row stays`)
    }
  }
})

t.test('a replay of a deletion is one whatever its base, and a deletion is no replay of an upsert (P2, P4)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(1, 'users', uuid(1), { name: 'a', email: 'a' }), del(2, 'users', uuid(1), 1)])
  const replies = await phone.upload([{ ...del(2, 'users', uuid(1), 7), payload: null }, del(1, 'users', uuid(1), 1), put(2, 'users', uuid(1), { name: 'a', email: 'a' }, 2)])
  t.strictSame(verdicts(replies), ['2 applied v2', '1 invalid source_change_id_reused', '2 invalid source_change_id_reused'])
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 1 D v2'])
})

t.test('a replay tells the version it made, and the row as it is by now (P3, A4)', async t => {
  const { user, sql } = await buildApp(t)
  const [phone, pad] = [user('alice'), user('alice', 'pad')]
  const first = put(1, 'users', uuid(1), { name: 'first', email: 'e' })
  const second = put(2, 'users', uuid(1), { name: 'second', email: 'e' }, 1)
  const removal = del(3, 'users', uuid(1), 3)
  const shown = async () => (await phone.upload([first])).statuses.map(status => status.status === 'applied' && status.server_row !== undefined ? status.server_row : verdict(status))
  const row = { schema_name: 'business', table_name: 'users', id: uuid(1) }

  await phone.upload([first])
  t.strictSame(await shown(), ['applied v1'], 'nothing more where it has not been overtaken')
  await phone.upload([second])
  t.strictSame(await shown(), [{ ...row, server_version: 2, deleted: false, payload: second.payload }], 'overtaken by its own device')
  await pad.upload([put(1, 'users', uuid(1), { name: 'third', email: 'e' }, 2)])
  t.strictSame(await shown(), [{ ...row, server_version: 3, deleted: false, payload: { id: uuid(1), name: 'third', email: 'e' } }], 'overtaken by a peer')
  await phone.upload([removal])
  t.strictSame(await shown(), [{ ...row, server_version: 4, deleted: true, payload: null }], 'deleted since')
  t.strictSame(verdicts(await phone.upload([first, second, removal])), ['1 applied v1 row v4 deleted', '2 applied v2 row v4 deleted', '3 applied v4'], 'all of them again')
  await pad.upload([put(2, 'users', uuid(1), { name: 'fifth', email: 'e' }, 4)])
  t.strictSame(verdicts(await phone.upload([removal])), ['3 applied v4 row v5'], 'a deletion after which the row came back')
  const mixed = await phone.upload([first, put(9, 'users', uuid(1), { name: 'sixth', email: 'e' }, 5), second])
  t.strictSame(verdicts(mixed), ['1 applied v1 row v6', '9 applied v6', '2 applied v2 row v6'], 'the row as the batch leaves it')
  t.match((mixed.statuses[0] as { server_row: object }).server_row, { payload: { name: 'sixth' } })
  await assertSound(t, sql, 'alice')
})

t.test('numbers of one device are nothing to another, nor to another user\'s device of that name (P2)', async t => {
  const { user, sql } = await buildApp(t)
  for (const [i, device] of [user('alice'), user('alice', 'pad'), user('bob'), user('carol', 'phone', { scope: 'team' }), user('dave', 'phone', { scope: 'team' })].entries()) {
    t.strictSame(verdicts(await device.upload([put(1, 'users', uuid(i + 1), { name: 'n', email: 'e' })])), ['1 applied v1'])
  }
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 2 I v1'])
  t.strictSame(await log(sql, 'team'), ['1 users 4 I v1', '2 users 5 I v1'])
})

t.test('a replay is spared the checks of today (size)', async t => {
  const { user, url, sql } = await buildApp(t)
  const strict = await startApp(t, { database: url, maxPayloadBytes: 60 })
  const long = put(1, 'users', uuid(1), { name: 'a name that is long enough', email: 'e' })
  await user('alice').upload([long])
  const phone = caller(strict, 'alice')
  t.strictSame(verdicts(await phone.upload([long, { ...long, source_change_id: 2, server_version: 1 }])), ['1 applied v1', '2 invalid bad_payload'])
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1'])
})

t.test('older clients use one number for all edits of a row: judged like a new change (P4)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice', 'phone', { older: true })
  const edit = (name: string, base: number) => put(1, 'users', uuid(1), { name, email: 'e' }, base)
  const steps: Array<[string, ReturnType<typeof put>[], string[]]> = [
    ['the first edit', [edit('one', 0)], ['1 applied v1']],
    ['other content on a stale base', [edit('two', 0)], ['1 conflict v1']],
    ['other content on the current base', [edit('two', 1)], ['1 applied v2']],
    ['a replay of what the number stands for now', [edit('two', 1)], ['1 applied v2']],
    ['its former content is a new change', [edit('one', 1)], ['1 conflict v2']],
    ['twice in a batch', [edit('three', 2), edit('four', 3)], ['1 applied v3', '1 applied v4']],
    ['the last one stands', [edit('four', 0)], ['1 applied v4']],
    ['a deletion under the same number', [del(1, 'users', uuid(1), 4)], ['1 applied v5']],
    ['another row under the same number', [put(1, 'users', uuid(2), { name: 'n', email: 'e' })], ['1 applied v1']]
  ]
  for (const [name, changes, expected] of steps) t.strictSame(verdicts(await phone.upload(changes)), expected, name)
  t.strictSame(await log(sql, 'alice'), ['1 users 1 I v1', '2 users 1 U v2', '3 users 1 U v3', '4 users 1 U v4', '5 users 1 D v5', '6 users 2 I v1'])
  await assertSound(t, sql, 'alice')
  const { changes } = await user('alice', 'pad').download()
  t.ok(changes.every(change => change.source_change_id >= 1), 'peers see positive numbers')
  t.strictSame((await sql`select id from business.users`).map(row => row['id'] as string), [uuid(2)])
})

t.test('older clients that use a number again for what is refused keep what it stood for', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice', 'phone', { older: true })
  await phone.upload([put(1, 'typed_rows', uuid(1), { note: 'good' })])
  const bad = put(1, 'typed_rows', uuid(1), { note: 'x'.repeat(1001) }, 1)
  t.strictSame(verdicts(await phone.upload([bad])), ['1 invalid constraint_violation'])
  t.strictSame(verdicts(await phone.upload([put(1, 'typed_rows', uuid(1), { note: 'good' })])), ['1 applied v1'], 'still a replay')
  t.strictSame(await log(sql, 'alice'), ['1 typed_rows 1 I v1'])
})

interface ModelRow { version: number, deleted: boolean, note: string | null }
interface Step { device: number, number: number, row: number, kind: 'put' | 'del', base: number, note: string, bad: boolean }

/** The judging table once more, written independently, for one table without references. */
class Model {
  readonly rows = new Map<number, ModelRow>()
  readonly used = new Map<string, { row: number, kind: string, note: string, version: number }>()

  judge (batch: Step[]): string[] {
    const spoiled = new Set<number>()
    const claimed = new Map<number, string>()
    return batch.map(step => {
      const verdict = this.#judgeOne(step, spoiled, claimed)
      if (!verdict.startsWith('applied')) spoiled.add(step.row)
      return `${step.number} ${verdict}`
    }).map((verdict, i) => this.#completeReplay(verdict, batch[i] as Step))
  }

  #judgeOne ({ device, number, row, kind, base, note, bad }: Step, spoiled: Set<number>, claimed: Map<number, string>): string {
    const seen = this.used.get(`${device} ${number}`)
    if (seen !== undefined) {
      const same = seen.row === row && seen.kind === kind && (kind === 'del' || seen.note === (bad ? 'bad' : note))
      return same ? `applied v${seen.version} replay` : 'invalid source_change_id_reused'
    }
    // Within a batch a number stands for the first change that has it, whatever becomes of that one.
    const content = `${row} ${kind} ${kind === 'del' ? '' : bad ? 'bad' : note}`
    if ((claimed.get(number) ?? content) !== content) return 'invalid source_change_id_reused'
    claimed.set(number, content)
    const current = this.rows.get(row)
    const conflict = `conflict v${current?.version ?? 0}${current?.deleted ?? true ? ' deleted' : ''}`
    if (spoiled.has(row)) return conflict
    if (kind === 'del' && current === undefined) return 'applied'
    if (kind === 'del' && current?.deleted === true) return `applied v${current.version}`
    if (base !== (current?.version ?? 0)) return conflict
    if (kind === 'put' && bad) return 'invalid constraint_violation'
    const version = base + 1
    this.rows.set(row, { version, deleted: kind === 'del', note: kind === 'del' ? null : note })
    this.used.set(`${device} ${number}`, { row, kind, note: kind === 'del' ? '' : note, version })
    return `applied v${version}`
  }

  /** A conflict and a replay show the row as the batch leaves it. */
  #completeReplay (verdict: string, { row }: Step): string {
    const current = this.rows.get(row)
    const state = `v${current?.version ?? 0}${current?.deleted ?? true ? ' deleted' : ''}`
    if (verdict.includes(' conflict ')) return `${verdict.split(' ')[0] as string} conflict ${state}`
    if (!verdict.endsWith(' replay')) return verdict
    const [number, , version] = verdict.split(' ') as [string, string, string]
    return `${number} applied ${version}${version === `v${current?.version ?? 0}` ? '' : ` row ${state}`}`
  }
}

t.test('random batches are judged as an independent model judges them, and leave the tables equal (P2, P5, P7)', { timeout: 120_000 }, async t => {
  const seed = Number(process.env['FAST_CHECK_SEED'] ?? randomInt(2 ** 31))
  t.comment(`FAST_CHECK_SEED=${seed}`)
  const worlds = [await buildApp(t), await buildApp(t, STEP_BY_STEP)]
  const step = fc.record({
    device: fc.constant(0),
    number: fc.integer({ min: 1, max: 25 }),
    row: fc.integer({ min: 1, max: 4 }),
    kind: fc.constantFrom('put' as const, 'put' as const, 'del' as const),
    base: fc.integer({ min: 0, max: 4 }),
    note: fc.constantFrom('a', 'b', 'c'),
    bad: fc.integer({ min: 0, max: 5 }).map(n => n === 0)
  })
  const batch = fc.tuple(fc.integer({ min: 1, max: 2 }), fc.array(step, { minLength: 1, maxLength: 8 })).map(([device, steps]) => steps.map(step => ({ ...step, device })))
  let run = 0
  await fc.assert(fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), async batches => {
    const scope = `random ${++run}`
    const { user, sql } = worlds[run % 2] as World
    const model = new Model()
    const key = (row: number) => uuid(run * 10 + row)
    for (const batch of batches) {
      const changes = batch.map(({ number, row, kind, base, note, bad }) => kind === 'del' ? del(number, 'typed_rows', key(row), base) : put(number, 'typed_rows', key(row), { note: bad ? 'x'.repeat(1001) : note }, base))
      const reply = await user(scope, `device ${batch[0]?.device as number}`).upload(changes)
      const expected = model.judge(batch)
      if (JSON.stringify(verdicts(reply)) !== JSON.stringify(expected)) throw new Error(`judged ${JSON.stringify(verdicts(reply))}, expected ${JSON.stringify(expected)}`)
    }
    await compare(sql, scope, model, key)
    await assertSound(t, sql, scope)
  }), { seed, numRuns: 100 })

  async function compare (sql: Sql, scope: string, model: Model, key: (row: number) => string): Promise<void> {
    const expected = [...model.rows].sort(([a], [b]) => a - b)
    const states = await sql`select pk, version::int, deleted, payload->>'note' as note from sync.rows where scope = ${scope} order by pk`
    t.strictSame(states.map(row => ({ ...row })), expected.map(([row, { version, deleted, note }]) => ({ pk: key(row), version, deleted, note })), 'row states')
    const business = await sql`select id, note from business.typed_rows where id = any(${[1, 2, 3, 4].map(key)}::uuid[]) order by id`
    t.strictSame(business.map(row => ({ ...row })), expected.filter(([, { deleted }]) => !deleted).map(([row, { note }]) => ({ id: key(row), note })), 'business rows')
  }
})

t.test('random batches of parents and children leave stream and tables equal, and every prefix of the stream has its parents (A10, K1, P15)', { timeout: 120_000 }, async t => {
  const seed = Number(process.env['FAST_CHECK_SEED'] ?? randomInt(2 ** 31))
  t.comment(`FAST_CHECK_SEED=${seed}`)
  const worlds = [await buildApp(t), await buildApp(t, STEP_BY_STEP)]
  const edit = fc.record({
    table: fc.constantFrom('users', 'posts'), row: fc.integer({ min: 1, max: 3 }), author: fc.integer({ min: 0, max: 3 }), kind: fc.constantFrom('put' as const, 'put' as const, 'del' as const), isStale: fc.integer({ min: 0, max: 7 }).map(n => n === 0)
  })
  let run = 0
  await fc.assert(fc.asyncProperty(fc.array(fc.array(edit, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 }), async batches => {
    const scope = `references ${++run}`
    const { user, sql } = worlds[run % 2] as World
    const phone = user(scope)
    const key = (table: string, row: number) => uuid(run * 100 + (table === 'users' ? 0 : 50) + row)
    const versions = new Map<string, number>()
    let number = 0
    for (const batch of batches) {
      const guessed = new Map(versions)
      const changes = batch.map(({ table, row, author, kind, isStale }) => {
        const pk = key(table, row)
        const base = Math.max(0, (guessed.get(pk) ?? 0) - (isStale ? 1 : 0))
        if (kind === 'put' || guessed.has(pk)) guessed.set(pk, base + 1)
        if (kind === 'del') return del(++number, table, pk, base)
        return put(++number, table, pk, table === 'users' ? { name: `n${number}`, email: 'e' } : { title: `t${number}`, author_id: author === 0 ? null : key('users', author) }, base)
      })
      const reply = await phone.upload(changes)
      for (const [i, status] of reply.statuses.entries()) {
        const { pk } = changes[i] as { pk: string }
        if (status.status === 'applied' && status.new_server_version !== undefined) versions.set(pk, Math.max(versions.get(pk) ?? 0, status.new_server_version))
        if (status.status === 'conflict') versions.set(pk, status.server_row.server_version)
      }
    }
    await assertSound(t, sql, scope)
    const rows = new Map<string, Record<string, unknown>>()
    for (const { server_id: position, table, pk, deleted, payload } of (await user(scope, 'pad').download({ limit: 1000 })).changes) {
      if (deleted) rows.delete(pk)
      else rows.set(pk, { table, ...payload })
      const orphans = [...rows.values()].filter(({ author_id: author }) => typeof author === 'string' && !rows.has(author))
      if (orphans.length > 0) throw new Error(`At position ${position} there is a post without its author.`)
    }
    const business = await sql`
      select id, 'users' as table, name as text, null as author from business.users where id = any(${[1, 2, 3].map(row => key('users', row))}::uuid[])
      union all select id, 'posts', title, author_id::text from business.posts where id = any(${[1, 2, 3].map(row => key('posts', row))}::uuid[]) order by id`
    t.strictSame([...rows.values()].map(({ id, table, name, title, author_id: author }) => ({ id, table, text: name ?? title, author: author ?? null })).sort((a, b) => String(a.id) < String(b.id) ? -1 : 1), business.map(row => ({ ...row })), 'stream and tables are equal')
  }), { seed, numRuns: 100 })
})
