import type { FastifyInstance } from 'fastify'
import { startPostgres, type RunningPostgres } from '../../scripts/embedded-postgres.mjs'
import { onStop } from '../../scripts/on-stop.mjs'
import { buildMeteredServer } from './build-server.js'

const { HOST = '127.0.0.1', PORT = '8080', LOG_LEVEL = 'info' } = process.env

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
  app = await buildMeteredServer({ database: database.url, logger: { level: LOG_LEVEL } })
  const address = await app.listen({ host: HOST, port: Number(PORT) })
  console.log([
    `Server with metrics: ${address}`,
    `  metrics         ${address}/metrics`,
    `  PostgreSQL      ${database.embedded ? `${database.url} (embedded: its data is gone when the server stops)` : 'from DATABASE_URL'}`
  ].join('\n'))
}

async function stop (): Promise<void> {
  await app?.close()
  await database?.stop()
}
