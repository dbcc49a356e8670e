import type { FastifyInstance } from 'fastify'
import { startPostgres, type RunningPostgres } from '../../scripts/embedded-postgres.mjs'
import { onStop } from '../../scripts/on-stop.mjs'
import { buildServer } from './build-server.js'

const DEVELOPMENT_SECRET = 'oversync-development-secret-do-not-use'
/** Requests in flight may finish; a client that hangs must not keep the server up. */
const SHUTDOWN_TIMEOUT_MS = 10_000

const { HOST = '127.0.0.1', PORT = '8080', LOG_LEVEL = 'info', JWT_SECRET, NODE_ENV } = process.env

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
  if (JWT_SECRET === undefined && NODE_ENV === 'production') throw new Error('set JWT_SECRET; the development default is public.')
  database = await startPostgres()
  app = await buildServer({ database: database.url, jwtSecret: JWT_SECRET ?? DEVELOPMENT_SECRET, logger: { level: LOG_LEVEL } })
  if (JWT_SECRET === undefined) app.log.warn('JWT_SECRET is not set: tokens are signed with the development default, which everybody knows.')
  const address = await app.listen({ host: HOST, port: Number(PORT) })
  console.log([
    `Reference server: ${address}`,
    `  try it          ${address}/docs`,
    `  health          ${address}/health`,
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
