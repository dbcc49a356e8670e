import { runServer } from '../run-server.js'
import { buildServer } from '../server/build-server.js'
import { servePage } from './serve-page.js'

/** Public, and good enough for a page on this machine. */
const DEVELOPMENT_SECRET = 'oversync-development-secret-do-not-use'

runServer(
  async database => await buildServer({ database, jwtSecret: DEVELOPMENT_SECRET, routes: servePage }),
  address => [
    `Notes in the browser: ${address}/notes`,
    `  another person      ${address}/notes?user=bob`,
    '  another device      the same address in a private window, or in another browser'
  ]
)
