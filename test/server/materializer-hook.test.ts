import { sql as kyselySql } from 'kysely'
import t, { type Test } from 'tap'
import type { Materializer, TableOptions } from '../../src/index.js'
import { MAX_CULPRITS } from '../../src/limits.js'
import { assertSound, buildApp, del, john, log, put, shortKey, uuid, verdicts, type World } from '../helpers/app.js'

interface MaterializedWorld extends World {
  /** Rows of each call so far, one line a call; forgets them. */
  calls: () => string[]
  documents: () => Promise<Record<string, unknown>>
}

const SCHEMA = `
  create table public.documents (kind text, id text, body jsonb not null check (body->>'title' is distinct from 'bad'), primary key (kind, id));
  create unique index on public.documents ((body->>'slug'));`

/** An app that keeps the rows of two tables in one of its own, as JSON. */
async function materializedWorld (t: Test, { options = {}, before }: { options?: Partial<TableOptions>, before?: Materializer } = {}): Promise<MaterializedWorld> {
  const lines: string[] = []
  const materializer: Materializer = async batch => {
    lines.push(batch.rows.map(({ op, key, version }) => `${op[0] as string}${/^0000/.test(key) ? shortKey(key) : key}v${version}`).join(' '))
    const answer = await before?.(batch)
    if (Array.isArray(answer)) return answer
    for (const { table, op, key, payloadText } of batch.rows) {
      if (op === 'DELETE') await batch.trx.deleteFrom('documents').where('kind', '=', table).where('id', '=', key).execute()
      else await kyselySql`insert into documents values (${table}, ${key}, ${payloadText}::text::jsonb) on conflict (kind, id) do update set body = excluded.body`.execute(batch.trx)
    }
  }
  const world = await buildApp(t, { schemaSql: SCHEMA, alone: true, tables: ['app.articles', 'app.comments'].map(table => ({ table, materializer, ...options })) })
  return {
    ...world,
    calls: () => lines.splice(0),
    documents: async () => Object.fromEntries((await world.sql`select kind, id, body from public.documents order by kind, id`).map(({ kind, id, body }) => [`${(kind as string).slice(4)} ${/^0000/.test(id as string) ? shortKey(id as string) : id as string}`, body]))
  }
}

const article = (n: number, fields: Record<string, unknown> = {}) => put(n, 'app.articles', uuid(n), { title: `t${n}`, ...fields })

t.test('the app writes rows wherever it likes: one call a table, whole rows for partial updates, deletions apart', async t => {
  const { user, sql, calls, documents } = await materializedWorld(t)
  const phone = user('alice')
  t.strictSame(verdicts(await phone.upload([article(1), put(2, 'app.comments', uuid(1), { text: 'c' }), article(3)])), ['1 applied v1', '2 applied v1', '3 applied v1'])
  t.strictSame(calls(), ['I1v1 I3v1', 'I1v1'])
  t.strictSame(verdicts(await phone.upload([put(4, 'app.articles', uuid(1), { slug: 's' }, 1), article(5), del(6, 'app.articles', uuid(3), 1)])).map(line => line.split(' row')[0]), ['4 applied v2', '5 applied v1', '6 applied v2'])
  t.strictSame(calls(), ['U1v2 I5v1', 'D3v2'])
  t.strictSame(await documents(), {
    'articles 1': { id: uuid(1), title: 't1', slug: 's' }, 'articles 5': { id: uuid(5), title: 't5' }, 'comments 1': { id: uuid(1), text: 'c' }
  })
  t.strictSame(verdicts(await phone.upload([article(1), del(6, 'app.articles', uuid(3), 1)])).map(line => line.slice(0, 9)), ['1 applied', '6 applied'])
  t.strictSame(calls(), [], 'a replay calls nobody')
  await assertSound(t, sql, 'alice')
})

t.test('versions of one row come one call after the other, in their order', async t => {
  const { user, calls, documents } = await materializedWorld(t)
  await user('alice').upload([article(1), put(2, 'app.articles', uuid(1), { title: 'two' }, 1), del(3, 'app.articles', uuid(1), 2), put(4, 'app.articles', uuid(1), { title: 'four' }, 3)])
  t.strictSame(calls(), ['I1v1', 'U1v2', 'D1v3', 'I1v4'])
  t.strictSame(await documents(), { 'articles 1': { id: uuid(1), title: 'four' } })
})

t.test('rows that the app rejects are refused, and it is asked again without them, on a clean slate', async t => {
  const { user, sql, calls, documents } = await materializedWorld(t, {
    before: async ({ rows, trx }) => {
      await kyselySql`insert into documents values ('trace', gen_random_uuid()::text, '{}')`.execute(trx)
      const rejections = rows.filter(({ payload }) => payload?.['title'] === 'rejected').map(change => ({ change, message: 'Mind the title.' }))
      return rejections.length > 0 ? rejections : undefined
    }
  })
  const { statuses } = await user('alice').upload([article(1), article(2, { title: 'rejected' }), article(3)])
  t.strictSame(statuses.map(status => status.status === 'invalid' ? `${status.invalid.reason}: ${status.message}` : status.status), ['applied', 'rejected: Mind the title.', 'applied'])
  t.strictSame(calls(), ['I1v1 I2v1 I3v1', 'I1v1 I3v1'])
  t.equal((await sql`select from public.documents where kind = 'trace'`).length, 1, 'what the first call wrote is gone')
  t.strictSame(Object.keys(await documents()).filter(key => key.startsWith('articles')), ['articles 1', 'articles 3'])
  await assertSound(t, sql, 'alice')
})

t.test('what the database says is blamed on its row alone, among a thousand (P18)', async t => {
  const { user, sql, calls } = await materializedWorld(t)
  const changes = Array.from({ length: 1000 }, (_, n) => article(n + 1, n === 333 || n === 700 ? { title: 'bad' } : {}))
  const { statuses } = await user('alice').upload(changes)
  t.strictSame(statuses.filter(({ status }) => status !== 'applied').map(status => status.status === 'invalid' ? `${status.source_change_id} ${status.invalid.reason} ${status.invalid.details?.['constraint'] as string}` : status.status),
    ['334 constraint_violation documents_body_check', '701 constraint_violation documents_body_check'])
  t.ok(calls().length < 60, 'by halving')
  t.equal((await sql`select from public.documents`).length, 998)
  await assertSound(t, sql, 'alice')
})

t.test('a materializer that swallows an error of the database changes nothing about whose fault it is', async t => {
  const { user, documents } = await materializedWorld(t, {
    before: async ({ rows, trx }) => {
      const rejections = []
      for (const change of rows) {
        try {
          await kyselySql`insert into documents values ('articles', ${change.key}, ${change.payloadText}::text::jsonb)`.execute(trx)
        } catch {
          rejections.push({ change, message: 'Caught.' })
        }
      }
      return rejections
    }
  })
  t.strictSame(verdicts(await user('alice').upload([article(1), article(2, { title: 'bad' }), article(3), article(4)])), ['1 applied v1', '2 invalid constraint_violation', '3 applied v1', '4 applied v1'])
  t.equal(Object.keys(await documents()).length, 3)
})

t.test('any other exception is 500 with nothing stored; the retry goes through (C23)', async t => {
  let fault: (() => never) | null = null
  const { user, sql, documents } = await materializedWorld(t, { before: async () => { fault?.() } })
  const body = JSON.stringify({ changes: [article(1), article(2)] })
  for (const error of [new Error('hidden'), undefined, Object.assign(new Error('hidden'), { statusCode: 401 }), 'text']) {
    fault = () => { throw error }
    const reply = await user('alice').uploadText(body)
    t.equal(`${reply.statusCode} ${JSON.parse(reply.body).error as string}`, '500 internal_error')
    t.notMatch(reply.body, 'hidden')
  }
  t.strictSame(await log(sql, 'alice'), [])
  t.strictSame(await documents(), {})
  fault = null
  t.equal((await user('alice').uploadText(body)).statusCode, 200)
  t.equal(Object.keys(await documents()).length, 2)
})

t.test('a materializer can neither end the transaction nor leave a statement behind (P6)', async t => {
  let act: Materializer = () => {}
  const { user, sql } = await materializedWorld(t, { before: async batch => await act(batch) })
  const acts: Record<string, Materializer> = {
    commit: async ({ trx }) => { await kyselySql`commit`.execute(trx) },
    'rollback in capitals': async ({ trx }) => { await kyselySql`ROLLBACK`.execute(trx) },
    begin: async ({ trx }) => { await kyselySql`begin`.execute(trx) },
    'a list of foreign rows': () => [{ change: {} as never, message: 'x' }]
  }
  for (const [name, hook] of Object.entries(acts)) {
    act = hook
    t.equal((await user('alice').uploadText(JSON.stringify({ changes: [article(1)] }))).statusCode, 500, name)
  }
  t.strictSame(await log(sql, 'alice'), [])
  act = async ({ trx }) => { await kyselySql`savepoint mine`.execute(trx); await kyselySql`rollback to savepoint mine`.execute(trx); await kyselySql`rollback to mine`.execute(trx) }
  t.strictSame(verdicts(await user('alice').upload([article(1)])), ['1 applied v1'], 'savepoints are fine')
})

t.test('more rows than the bound that the database refuses end the batch, not the server', async t => {
  const { user, sql } = await materializedWorld(t)
  const { accepted, statuses } = await user('alice').upload(Array.from({ length: MAX_CULPRITS + 1 }, (_, n) => article(n + 1, { title: 'bad' })))
  t.equal(accepted, false)
  t.ok(statuses.every(status => status.status === 'invalid' && status.invalid.reason === 'batch_too_large'))
  t.strictSame(await log(sql, 'alice'), [])
})

t.test('keys are of the kind that the option says, each in its one spelling', async t => {
  const kinds: Array<[TableOptions['key'], string, string, string]> = [
    [undefined, uuid(1).toUpperCase().replaceAll('a', 'A'), uuid(1), 'no uuid'],
    ['text', 'Ünï "x"', 'Ünï "x"', 'a\u0000b'],
    ['integer', '9007199254740993', '9007199254740993', '01'],
    [{ list: 'text', position: 'integer' }, '[ "a", "7" ]', '["a","7"]', '["a"]'],
    [{ id: 'uuid', lang: 'text' }, JSON.stringify([uuid(1).toUpperCase(), 'DE']), JSON.stringify([uuid(1), 'DE']), JSON.stringify([uuid(1)])]
  ]
  for (const [key, sent, stored, wrong] of kinds) {
    const { user, calls } = await materializedWorld(t, { options: key === undefined ? {} : { key } })
    const change = (n: number, pk: string) => ({ source_change_id: n, schema: 'app', table: 'articles', op: 'INSERT', pk, server_version: 0, payload: { title: 't' } })
    t.strictSame(verdicts(await user('alice').upload([change(1, sent), change(2, wrong)])), ['1 applied v1', '2 invalid bad_payload'], JSON.stringify(key))
    t.strictSame(calls(), [`I${stored === uuid(1) ? '1' : stored}v1`])
    t.equal((await user('alice', 'pad').download()).changes[0]?.pk, stored)
  }
  const { user } = await materializedWorld(t, { options: { key: { list: 'text', position: 'integer' } } })
  const change = (n: number, payload: object) => ({ source_change_id: n, schema: 'app', table: 'articles', op: 'INSERT', pk: '["a","7"]', server_version: 0, payload: { ...payload } })
  t.strictSame(verdicts(await user('alice').upload([change(1, { list: 'b', position: 7 }), change(2, { list: 'a', position: 8 }), change(3, { list: 'a', position: 7 })])), ['1 invalid bad_payload', '2 invalid bad_payload', '3 conflict v0 deleted'])
})

t.test('foreign keys among tables of the app\'s own are met in any order where they are deferrable (A10, K1)', async t => {
  const into = (table: string): Materializer => async ({ rows, trx }) => {
    for (const { key, payload } of rows) await kyselySql`insert into ${kyselySql.table(table)} values (${key}, ${payload?.['parent'] ?? null})`.execute(trx)
  }
  const { user } = await buildApp(t, {
    schemaSql: 'create table folder (id text primary key, parent text); create table page (id text primary key, parent text references folder deferrable)',
    alone: true,
    tables: [{ table: 'app.pages', key: 'text', materializer: into('page') }, { table: 'app.folders', key: 'text', materializer: into('folder') }]
  })
  t.strictSame(verdicts(await user('alice').upload([put(1, 'app.pages', 'p', { parent: 'f' }), put(2, 'app.pages', 'q', { parent: 'none' }), put(3, 'app.folders', 'f', {})])), ['1 applied v1', '2 invalid constraint_violation', '3 applied v1'])
})

t.test('where a row of a table that the plugin writes is refused, the app\'s own table is undone with it', async t => {
  const { sql, user } = await buildApp(t, {
    schemaSql: SCHEMA,
    tables: [{ table: 'app.articles', materializer: async ({ rows, trx }) => { for (const { key, payloadText } of rows) await kyselySql`insert into documents values ('a', ${key}, ${payloadText}::text::jsonb)`.execute(trx) } }]
  })
  t.strictSame(verdicts(await user('alice').upload([article(1), put(2, 'typed_rows', uuid(1), { note: 'x'.repeat(1001) }), put(3, 'users', uuid(1), john())])), ['1 applied v1', '2 invalid constraint_violation', '3 applied v1'])
  t.equal((await sql`select from public.documents`).length, 1, 'written once, not twice')
})
