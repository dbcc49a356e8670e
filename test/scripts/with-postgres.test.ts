import fs from 'node:fs'
import postgres from 'postgres'
import t from 'tap'
import { isListening } from '../helpers/is-listening.js'
import { runNode } from '../helpers/run.js'
import { waitFor } from '../helpers/wait-for.js'

const WITH_POSTGRES = 'scripts/with-postgres.mjs'
/** A command that tells where the server is and its own process id, and then stays. */
const STAY = ['node', '-e', "console.log(process.env.DATABASE_URL + ' ' + process.pid); setInterval(() => {}, 1e6)"]

t.test('the command gets a server of its own, and its exit code is passed on', async t => {
  const run = runNode(t, [WITH_POSTGRES, 'node', '-e', 'console.log(process.env.DATABASE_URL); process.exit(7)'], { DATABASE_URL: undefined })
  t.equal(await run.ended(), 7)
  const [, port] = await run.printed(/^postgres:\/\/postgres:\S+@127\.0\.0\.1:(\d+)\/postgres$/m)
  t.notOk(await isListening(Number(port)), 'the server is gone')
})

t.test('a command that cannot be started is an error of its own', async t => {
  const run = runNode(t, [WITH_POSTGRES, 'no-such-command'], { DATABASE_URL: undefined })
  t.equal(await run.ended(), 127)
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  t.test(`${signal} leaves neither server nor data behind`, async t => {
    const run = runNode(t, [WITH_POSTGRES, ...STAY], { DATABASE_URL: undefined })
    const [, url, pid] = await run.printed(/^(postgres:\S+) (\d+)$/m) as unknown as [string, string, string]
    const folder = await dataFolder(url)
    t.ok(fs.existsSync(folder), 'there is data while it runs')
    run.process.kill(signal)
    await run.ended()
    if (signal === 'SIGKILL') process.kill(Number(pid)) // nobody was left to tell the command
    await waitFor('the server is gone', async () => !await isListening(Number(new URL(url).port)))
    await waitFor('its data is gone', () => !fs.existsSync(folder))
    await waitFor('the command is gone', () => !isAlive(Number(pid)))
  })
}

t.test('a DATABASE_URL is taken as it is, and nothing is started', async t => {
  const run = runNode(t, [WITH_POSTGRES, 'node', '-p', 'process.env.DATABASE_URL'], { DATABASE_URL: 'postgres://somewhere/else' })
  t.equal(await run.ended(), 0)
  t.equal((await run.printed(/\S+/))[0], 'postgres://somewhere/else')
})

t.test('--durable writes to disk as a real server does', async t => {
  const run = runNode(t, [WITH_POSTGRES, '--durable', ...STAY], { DATABASE_URL: undefined })
  const [, url] = await run.printed(/^(postgres:\S+) \d+$/m) as unknown as [string, string]
  const sql = postgres(url, { max: 1 })
  t.strictSame([...await sql`select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit, current_setting('full_page_writes') as pages`],
    [{ fsync: 'on', commit: 'on', pages: 'on' }])
  await sql.end()
  run.process.kill('SIGTERM')
  t.equal(await run.ended(), 143)
})

t.test('a server that does not start shows the end of its log', async t => {
  const run = runNode(t, ['--input-type=module', '-e', `
    import { startPostgres } from './scripts/embedded-postgres.mjs'
    await startPostgres({ settings: { shared_buffers: 'nonsense' } })
  `], { DATABASE_URL: undefined })
  t.equal(await run.ended(), 1)
  await run.printed(/did not start.*invalid value for parameter "shared_buffers": "nonsense"/s)
})

t.test('a choice of programs that makes no sense is refused by name', async t => {
  const run = runNode(t, [WITH_POSTGRES, 'true'], { DATABASE_URL: undefined, OVERSYNC_PG: 'mysql' })
  t.equal(await run.ended(), 1)
  await run.printed(/OVERSYNC_PG is "mysql"/)
})

async function dataFolder (url: string): Promise<string> {
  const sql = postgres(url, { max: 1 })
  try {
    const [row] = await sql<Array<{ folder: string }>>`select current_setting('data_directory') as folder`
    return row!.folder
  } finally {
    await sql.end()
  }
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
