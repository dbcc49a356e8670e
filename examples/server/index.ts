import { runServer } from '../run-server.js'
import { buildServer } from './build-server.js'

const DEVELOPMENT_SECRET = 'oversync-development-secret-do-not-use'

const { LOG_LEVEL = 'info', JWT_SECRET, NODE_ENV } = process.env

if (JWT_SECRET === undefined && NODE_ENV === 'production') {
  console.error('The server did not start: set JWT_SECRET; the development default is public.')
  process.exitCode = 1
} else {
  runServer(
    async database => {
      const app = await buildServer({ database, jwtSecret: JWT_SECRET ?? DEVELOPMENT_SECRET, logger: { level: LOG_LEVEL } })
      if (JWT_SECRET === undefined) app.log.warn('JWT_SECRET is not set: tokens are signed with the development default, which everybody knows.')
      return app
    },
    address => [
      `Reference server: ${address}`,
      `  try it          ${address}/docs`,
      `  health          ${address}/health`
    ]
  )
}
