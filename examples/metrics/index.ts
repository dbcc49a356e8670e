import { runServer } from '../run-server.js'
import { buildMeteredServer } from './build-server.js'

const { LOG_LEVEL = 'info' } = process.env

runServer(
  async database => await buildMeteredServer({ database, logger: { level: LOG_LEVEL } }),
  address => [
    `Server with metrics: ${address}`,
    `  metrics         ${address}/metrics`
  ]
)
