import Database from 'better-sqlite3'
import t from 'tap'
import { contentsOfDevice } from '../../examples/common/compare.js'
import { LOCAL_TABLES } from '../../examples/common/local-tables.js'
import { runNode } from '../helpers/run.js'

t.test('the demo tells its story to the end, finds all devices equal to PostgreSQL and leaves with 0', async t => {
  const demo = runNode(t, ['--import=tsx', 'examples/demo/index.ts'])
  t.equal(await demo.ended(), 0, demo.output())
  t.match(demo.output(), 'All devices are equal to PostgreSQL, and nothing is left to send.')
  t.equal(demo.output().match(/ equal\n/g)?.length, 4, 'four devices were compared')
  t.notMatch(demo.output(), 'DIFFERENT')
})

t.test('demo --keep goes on serving what it prints, until it is interrupted', async t => {
  const demo = runNode(t, ['--import=tsx', 'examples/demo/index.ts', '--keep'])
  const [, token] = await demo.printed(/TOKEN=(\S+)/)
  const [, url] = await demo.printed(/'(http:\S+\/sync\/download\S*)'/)
  const reply = await fetch(url as string, { headers: { authorization: `Bearer ${token as string}` } })
  t.equal(reply.status, 200)
  t.equal((await reply.json() as { changes: unknown[] }).changes.length, 5)
  demo.process.kill('SIGINT')
  t.equal(await demo.ended(), 130)
  await t.rejects(fetch(url as string), 'the server is gone')
})

t.test('the closing comparison notices any difference in any value', async t => {
  const contents = (...statements: string[]) => {
    const db = new Database(':memory:')
    t.teardown(() => { db.close() })
    db.exec(LOCAL_TABLES + statements.join(';'))
    return contentsOfDevice({ db }).digest
  }
  const row = (values: string) => `insert into typed_rows values ('a', ${values})`
  const digests = [
    contents(),
    contents(row("1, '1', 1, 1.5, '{}', '', x''")),
    contents(row("1, '1.0', 1, 1.5, '{}', '', x''")),
    contents(row("2, '1', 1, 1.5, '{}', '', x''")),
    contents(row("1, '1', 1, 1.5, '{}', null, x''")),
    contents(row("1, '1', 1, 1.5, '{}', '', null")),
    contents(row("1, '1', 1, 1.5, '[]', '', x''")),
    contents("insert into files values ('a', '', null)"),
    contents("insert into files values ('a', '', x'')"),
    contents("insert into files values ('a', '', x'00')")
  ]
  t.equal(new Set(digests).size, digests.length)
  t.equal(contents(row('1, \'1\', 1, 1.5, \'{"b":1,"a":2}\', null, x\'\'')), contents(row('1, \'1\', 1, 1.5, \'{"a":2, "b":1}\', null, x\'\'')), 'the order of JSON keys does not count')
})
