import type { FastifyInstance } from 'fastify'
import { startPostgres, type RunningPostgres } from '../scripts/embedded-postgres.mjs'
import { onStop } from '../scripts/on-stop.mjs'

/** Requests in flight may finish; a client that hangs must not keep the server up. */
const SHUTDOWN_TIMEOUT_MS = 10_000

/** Runs a server on HOST and PORT, with a PostgreSQL of its own or that of DATABASE_URL, until it is told to stop. */
export function runServer (build: (database: string) => Promise<FastifyInstance>, describe: (address: string) => string[]): void {
  const { HOST = '127.0.0.1', PORT = '8080' } = process.env
  let database: RunningPostgres | undefined
  let app: FastifyInstance | undefined
  let stopping: Promise<void> | undefined

  // Before anything is started, so that an early Ctrl-C is heard too.
  onStop(() => { stopping ??= started.then(stop) })

  const started = start().catch((error: Error) => {
    console.error(`The server did not start: ${error.message}`)
    process.exitCode = 1
    stopping ??= stop()
  })

  async function start (): Promise<void> {
    database = await startPostgres()
    app = await build(database.url)
    const address = await app.listen({ host: HOST, port: Number(PORT) })
    console.log([
      ...describe(address),
      `  PostgreSQL      ${database.embedded ? `${database.url} (embedded: its data is gone when the server stops)` : 'from DATABASE_URL'}`
    ].join('\n'))
  }

  async function stop (): Promise<void> {
    if (app !== undefined) {
      const { server } = app
      const timer = setTimeout(() => server.closeAllConnections(), SHUTDOWN_TIMEOUT_MS)
      await app.close()
      clearTimeout(timer)
    }
    await database?.stop()
  }
}
