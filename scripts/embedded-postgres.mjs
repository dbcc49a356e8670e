// A throw-away PostgreSQL for tests, benchmarks, examples and the demo. Types and documentation: embedded-postgres.d.mts.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const GUARD = fileURLToPath(new URL('postgres-guard.mjs', import.meta.url))

export async function startPostgres ({ prefer = process.env.OVERSYNC_PG || undefined, durable = false, settings = {} } = {}) {
  if (process.env.DATABASE_URL) return { url: process.env.DATABASE_URL, embedded: false, async stop () {} }
  const guard = spawn(process.execPath, [GUARD, JSON.stringify({ choice: prefer, durable, settings })], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // Ctrl-C in a terminal must not reach the server before its users have finished
    windowsHide: true
  })
  const exit = once(guard, 'exit')
  guard.stdin.on('error', () => {}) // the guard ended first; its exit tells
  const lines = createInterface({ input: guard.stdout })
  const answer = await Promise.race([once(lines, 'line').then(([line]) => JSON.parse(line)), exit.then(() => ({}))])
  if (answer.url === undefined) {
    await exit
    throw new Error(answer.error ?? 'The process that runs PostgreSQL ended before it was ready.')
  }
  // A process that has nothing else to do may end: the guard sees it and cleans up.
  for (const handle of [guard, guard.stdin, guard.stdout]) handle.unref()
  return {
    url: answer.url,
    embedded: true,
    async stop () {
      guard.ref()
      guard.stdin.end()
      await exit
    }
  }
}
