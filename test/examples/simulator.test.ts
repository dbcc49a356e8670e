import fs from 'node:fs'
import path from 'node:path'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { addPost, addUser } from '../../examples/simulator/app-data.js'
import { UsageError } from '../../examples/common/command-line.js'
import { readOptions } from '../../examples/simulator/options.js'
import { runScenarios, type Report } from '../../examples/simulator/run.js'
import type { Scenario } from '../../examples/simulator/scenario.js'
import { SCENARIOS } from '../../examples/simulator/scenarios.js'
import { SPOILS, type Spoil } from '../../examples/simulator/spoil.js'
import { openStage, type Stage } from '../../examples/simulator/stage.js'
import { runNode, type Running } from '../helpers/run.js'

const NAMES = SCENARIOS.map(({ name }) => name)

/** Leaves a user and a post, which is all that there is to damage. */
const small: Scenario = {
  name: 'small',
  about: 'One device, one user, one post.',
  async play (world) {
    const phone = world.device('phone')
    addPost(phone, 'Letter', addUser(phone, 'Ada'))
    world.equal('two rows go up', (await world.sync(phone)).upload.applied, 2)
  }
}

/** One server for most of the tests: each run has users of its own. */
const stage = await stageFor(t)

t.test('each scenario holds alone', async t => {
  for (const scenario of SCENARIOS) {
    const { result, scenarios: [outcome] } = await runScenarios(stage, { scenarios: [scenario] })
    t.strictSame({ result, failures: outcome?.failures }, { result: 'passed', failures: [] }, scenario.name)
  }
})

t.test('all scenarios hold together, and the report says so', async t => {
  const folder = t.testdir({})
  const file = path.join(folder, 'report.json')
  const run = simulate(t, ['--all', '--report', file])
  t.equal(await run.ended(), 0, run.output())
  t.match(run.output(), /All \d+ checks held/)
  const report = JSON.parse(fs.readFileSync(file, 'utf8')) as Report
  const { scenarios, ...whole } = report
  t.match(whole, { started: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, node: process.version, server: /^http:\/\/127\.0\.0\.1:\d+$/, parallel: 1, result: 'passed' })
  t.strictSame(scenarios.map(({ name }) => name), NAMES)
  for (const scenario of scenarios) {
    t.match(run.output(), new RegExp(`   ${scenario.name} +passed, ${scenario.checks} checks`), 'each scenario is told when it is done')
    t.match(run.output(), new RegExp(`   ${scenario.name} +1 +${scenario.requests} +${scenario.changes} +${scenario.rows} +${scenario.checks} +[\\d.]+ +passed\n`), 'and has its line in the table')
    t.strictSame([scenario.users, scenario.failures, scenario.result], [1, [], 'passed'])
    t.ok(scenario.requests > 0 && scenario.changes >= scenario.rows && scenario.rows > 0 && scenario.checks > 0 && scenario.seconds > 0, `${scenario.name} counts`)
  }
})

t.test('several users at once do not disturb each other, and all of them are counted', async t => {
  const done: number[] = []
  const report = await runScenarios(stage, { scenarios: ['user-switch', 'multi-device-complex', 'fk-batch-retry'].map(named), parallel: 4, listener: { userIsDone: count => { done.push(count) } } })
  t.strictSame(report.scenarios.flatMap(({ failures }) => failures), [])
  t.strictSame(report.scenarios.map(({ users, changes, rows }) => [users, changes, rows]), [[4, 4 * 7, 4 * 5], [4, 4 * 17, 4 * 5], [4, 4 * 150, 4 * 150]])
  t.strictSame(done, [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4], 'progress is told as they finish')
  const damaged = await runScenarios(stage, { scenarios: [small], parallel: 3, spoil: 'device-value' })
  t.equal(new Set(damaged.scenarios[0]?.failures.map(({ user }) => user)).size, 3, 'each is checked')
})

t.test('whatever is damaged after a story, the check for it notices, and no other', async t => {
  const [phone, tables] = ['the phone equals the stream', 'the business tables of USER equal the stream']
  const [stream, nothingLeft] = ['the stream is dense, in order, and has no change twice', 'the phone has nothing left to do']
  const noticed: Record<Spoil, string[]> = {
    'device-value': [phone],
    'device-row-lost': [phone],
    'device-row-extra': [phone],
    'fresh-row-lost': ['a fresh device of USER equals the stream'],
    'device-unsent': [nothingLeft],
    'business-value': [tables],
    'business-row-lost': [tables],
    'business-row-extra': ['no row of the business tables is in nobody\'s stream'],
    'stream-value': [phone, tables],
    // A client is not to take a stream that the server has lost a part of: what it does with it is no matter of these checks.
    'stream-entry-lost': [stream, nothingLeft],
    'stream-entry-twice': [stream, nothingLeft],
    story: ['the story came to its end']
  }
  for (const [spoil, claims] of Object.entries(noticed) as Array<[Spoil, string[]]>) {
    const { result, scenarios: [outcome] } = await runScenarios(stage, { scenarios: [small], spoil })
    const failed = (outcome?.failures ?? []).map(({ user, claim }) => claim.replace(user, 'USER'))
    t.equal(result, 'failed', spoil)
    if (spoil.startsWith('stream-entry')) t.ok(claims.every(claim => failed.includes(claim)), `${spoil}: ${failed.join('; ')}`)
    else t.strictSame(failed, claims, spoil)
    t.ok(outcome?.failures.every(({ problem }) => problem.length > 5), 'with what is wrong')
    await stage.sql?.unsafe("delete from business.posts where title like 'from nowhere%'")
  }
  t.strictSame(Object.keys(noticed).sort(), Object.keys(SPOILS).sort(), 'every kind of damage was tried')
})

t.test('a log that tells other changes than were downloaded is noticed', async t => {
  const view = (await stage.sql?.unsafe("select pg_get_viewdef('sync.changes'::regclass) as text"))?.[0]?.['text'] as string
  await stage.sql?.unsafe(`create or replace view sync.changes as ${view.replace('l.version,', 'l.version + 1 as version,')}`)
  const { scenarios } = await runScenarios(stage, { scenarios: [small] })
  await stage.sql?.unsafe(`create or replace view sync.changes as ${view}`)
  t.match(scenarios, [{ failures: [{ claim: /^the log of \S+ is what was downloaded$/ }] }])
  t.equal(scenarios[0]?.failures.length, 1)
})

t.test('a story fails where one of its claims does not hold, where it breaks off, and where it claims nothing', async t => {
  const failures = async (play: Scenario['play']) => (await runScenarios(stage, { scenarios: [{ name: 'invented', about: '', play }] })).scenarios.flatMap(({ failures }) => failures.map(({ claim, problem }) => `${claim}: ${problem}`))
  t.strictSame(await failures(async world => { world.equal('one is one', 1, 1) }), [])
  t.strictSame(await failures(async world => { world.equal('one is two', 1, 2) }), ['one is two: expected 2, found 1'])
  t.strictSame(await failures(async world => { world.check('this holds', false) }), ['this holds: it is not so'])
  t.strictSame(await failures(async () => { throw new Error('no') }), ['the story came to its end: no'])
  t.strictSame(await failures(async () => {}), ['the story made claims of its own: it is not so'])
  t.equal((await runScenarios(stage, { scenarios: [] })).result, 'failed', 'a run without scenarios shows nothing')
})

t.test('a check that fails is told and makes the exit code 1', async t => {
  const file = path.join(t.testdir({}), 'report.json')
  const run = simulate(t, ['--scenario', 'fresh-install', '--verbose', '--report', file], { SIMULATOR_SPOIL: 'business-value' })
  t.equal(await run.ended(), 1, run.output())
  t.match(run.output(), /BROKEN: the business tables of fresh-install-\w+-1 equal the stream \(lacks 1: users /)
  t.match(run.output(), /1 of \d+ checks failed/)
  t.match(JSON.parse(fs.readFileSync(file, 'utf8')), { result: 'failed', scenarios: [{ name: 'fresh-install', result: 'failed', failures: [{ problem: /^lacks 1/ }] }] })
})

t.test('scenarios hold against another server, whose database is not looked at', async t => {
  const own = await stageFor(t)
  const other = await stageFor(t, own.serverUrl)
  t.equal(other.sql, null)
  const { result, server, scenarios } = await runScenarios(other, { scenarios: ['reinstall', 'user-switch', 'typed-rows'].map(named) })
  t.strictSame({ result, server, failures: scenarios.flatMap(({ failures }) => failures) }, { result: 'passed', server: own.serverUrl, failures: [] })
  const again = await runScenarios(other, { scenarios: [small], spoil: 'device-value' })
  t.match(again, { result: 'failed', scenarios: [{ failures: [{ claim: 'the phone equals the stream' }] }] }, 'a second run on the same server has users of its own')
  await own.stop()
  await t.rejects(openStage({ server: own.serverUrl }), { message: /^No server answers at http:\S+: / })
})

t.test('the command line is read, or refused with a sentence', async t => {
  const read = (args: string[], env = {}) => readOptions(args, env)
  const defaults = { scenarios: [...SCENARIOS], parallel: 1, server: null, verbose: false, report: null, spoil: null }
  t.strictSame(read([]), defaults)
  t.strictSame(read(['--all', '--verbose', '--parallel', '20', '--server', 'https://example.com/', '--report', 'r.json']), { ...defaults, verbose: true, parallel: 20, server: 'https://example.com', report: 'r.json' })
  t.strictSame(read(['--scenario', 'reinstall', '--scenario=fresh-install', '--scenario', 'reinstall']), { ...defaults, scenarios: [named('fresh-install'), named('reinstall')] })
  t.strictSame([read(['--help']), read(['-h']), read(['--list'])], ['help', 'help', 'list'])
  const refused: Array<[string[], RegExp, Record<string, string>?]> = [
    [['--scenario', 'nonsense'], /^There is no scenario "nonsense"\. There are fresh-install, normal-usage, /],
    [['--all', '--scenario', 'reinstall'], /exclude each other/],
    ...['0', '-1', '1.5', '1e2', '', 'many', '1001', '0x10'].map((number): [string[], RegExp] => [[`--parallel=${number}`], /^--parallel must be a whole number from 1 to 1000/]),
    [['--server', 'localhost:8080'], /^--server must be a URL/],
    [['--server', 'nowhere'], /^--server must be a URL/],
    [['--report', '/no/such/folder/report.json'], /^--report: there is no folder/],
    [['--report', 'examples'], /is a folder/],
    [['--nonsense'], /--nonsense/],
    [['--scenario'], /--scenario/],
    [['reinstall'], /reinstall/],
    [[], /^SIMULATOR_SPOIL must be one of device-value, /, { SIMULATOR_SPOIL: 'everything' }],
    [['--server', 'http://example.com'], /^SIMULATOR_SPOIL=stream-value needs a database/, { SIMULATOR_SPOIL: 'stream-value' }]
  ]
  for (const [args, message, env = {}] of refused) {
    let refusal: unknown
    try { read(args, env) } catch (error) { refusal = error }
    t.ok(refusal instanceof UsageError, `${args.join(' ')} is refused`)
    t.match((refusal as Error | undefined)?.message, message)
  }
  const wrong = simulate(t, ['--parallel', 'many'])
  t.equal(await wrong.ended(), 2)
  t.match(wrong.output(), 'not "many".\nSee --help.')
})

t.test('an interrupted run ends at once and leaves nothing behind', async t => {
  const folder = t.testdir({})
  const before = await databases(t)
  const run = simulate(t, ['--scenario', 'offline-online', '--parallel', '5', '--verbose'], { TMPDIR: folder })
  const [, url] = await run.printed(/against (http:\S+)\./)
  await run.printed(/cycle 1/)
  run.process.kill('SIGINT')
  t.equal(await run.ended(), 130, run.output())
  t.notMatch(run.output(), /checks held|Error/)
  t.strictSame(fs.readdirSync(folder).filter(name => name.startsWith('oversync')), [], 'no file is left')
  await t.rejects(fetch(url as string), 'the server is gone')
  t.strictSame(await databases(t), before, 'no database is left')
})

t.test('the README of the simulator names every scenario and option', async t => {
  const readme = fs.readFileSync('examples/simulator/README.md', 'utf8')
  t.strictSame([...readme.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name).filter(name => NAMES.includes(name as string)), NAMES)
  for (const option of ['--scenario', '--all', '--list', '--parallel', '--server', '--report', '--verbose', '--help']) t.match(readme, option)
  for (const spoil of Object.keys(SPOILS)) t.match(readme, `\`${spoil}\``)
})

async function stageFor (t: Pick<Test, 'teardown'>, server?: string): Promise<Stage> {
  const stage = await openStage(server === undefined ? {} : { server })
  t.teardown(() => stage.stop())
  return stage
}

function simulate (t: Test, args: string[], env: Record<string, string> = {}): Running {
  return runNode(t, ['--import=tsx', 'examples/simulator/index.ts', ...args], { SIMULATOR_SPOIL: undefined, ...env })
}

async function databases (t: Test): Promise<string[]> {
  const sql = postgres(process.env['DATABASE_URL'] as string, { max: 1 })
  t.teardown(() => sql.end())
  return (await sql`select datname from pg_database where datname like 'oversync_simulator_%' order by 1`).map(({ datname }) => datname as string)
}

function named (name: string): Scenario {
  return SCENARIOS.find(scenario => scenario.name === name) as Scenario
}
