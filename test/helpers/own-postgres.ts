import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import postgres from 'postgres'
import { startPostgres } from '../../scripts/embedded-postgres.mjs'
import { waitFor } from './wait-for.js'

export interface OwnPostgres {
  url: string
  /** Kills the postmaster by SIGKILL, as a crash would, and starts it again on the same data. */
  crash: () => Promise<void>
}

/** A PostgreSQL of the test's own that writes to disk as a real one does, whatever DATABASE_URL says. Gone at teardown. */
export async function ownPostgres (t: { teardown (fn: () => Promise<void>): void }): Promise<OwnPostgres> {
  const shared = process.env['DATABASE_URL']
  delete process.env['DATABASE_URL']
  const server = await startPostgres({ durable: true }).finally(() => { if (shared !== undefined) process.env['DATABASE_URL'] = shared })
  let restarted: ChildProcess | undefined
  t.teardown(async () => {
    if (restarted !== undefined && restarted.exitCode === null) {
      restarted.kill('SIGQUIT')
      await once(restarted, 'exit')
    }
    await server.stop()
  })
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  const [{ data_directory: data } = { data_directory: '' }] = await sql<Array<{ data_directory: string }>>`show data_directory`
  await sql.end()
  const pidFile = path.join(data, 'postmaster.pid')
  /** The program, and its arguments in quotes. */
  const [program = '', ...args] = fs.readFileSync(path.join(data, 'postmaster.opts'), 'utf8').trim().split(/ (?=")/).map(word => word.replace(/^"(.*)"$/, '$1'))
  const { uid, gid } = fs.statSync(data)
  const account = process.getuid?.() === 0 ? { uid, gid } : {}

  async function crash (): Promise<void> {
    process.kill(Number(fs.readFileSync(pidFile, 'utf8').split('\n')[0]), 'SIGKILL')
    // The backends of the dead postmaster end by themselves; until then its memory is in use and a new one refuses to start.
    restarted = await waitFor('PostgreSQL starts again', async () => {
      const child = spawn(program, args, { ...account, cwd: path.dirname(data), stdio: 'ignore' })
      const ended = once(child, 'exit').then(() => true)
      const ready = waitFor('it is ready', () => child.exitCode !== null || isReady(child))
      return await Promise.race([ended, ready.then(() => child.exitCode !== null)]) ? null : child
    })
  }

  function isReady ({ pid }: ChildProcess): boolean {
    const lines = fs.readFileSync(pidFile, 'utf8').split('\n')
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
  }

  return { url: server.url, crash }
}
