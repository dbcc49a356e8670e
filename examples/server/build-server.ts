import { setTimeout as pause } from 'node:timers/promises'
import fastifyJwt from '@fastify/jwt'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import oversync, { type Identity } from 'fastify-oversync'
import postgres from 'postgres'
import { createBusinessSchema, SYNCED_TABLES } from './business-schema.js'
import { dummySignin } from './dummy-signin.js'

export interface ServerOptions {
  /** Connection string. The server makes its tables there. */
  database: string
  /** Key that signs and checks the tokens (HS256). */
  jwtSecret: string
  logger?: FastifyServerOptions['logger']
  /** Further routes of the app. */
  routes?: FastifyPluginAsync
}

/** A whole upload must have arrived by then: 32 MiB at about 2 Mbit/s. Fastify waits for ever, which lets a few slow senders hold every connection. */
const REQUEST_TIMEOUT_MS = 120_000
/** A connection on which nothing moves; longer than the longest statement of the plugin (30 s). */
const CONNECTION_TIMEOUT_MS = 60_000
/** How long an idle connection is kept for the next request; longer than a load balancer keeps its side (60 s is usual). */
const KEEP_ALIVE_TIMEOUT_MS = 65_000
/** How long GET /health waits for the database. */
const HEALTH_TIMEOUT_MS = 2_000

declare module '@fastify/jwt' {
  interface FastifyJWT {
    /** `sub` is the user, `did` the device. */
    payload: { sub: string, did: string }
    user: { sub: string, did: string }
  }
}

/** The reference server, ready to `listen()` or `inject()`. `close()` ends its connections to the database too. */
export async function buildServer ({ database, jwtSecret, logger = false, routes }: ServerOptions): Promise<FastifyInstance> {
  const app = Fastify({
    logger,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS
  })
  const sql = postgres(database, { connect_timeout: 5, onnotice: () => {} })
  app.addHook('onClose', async () => { await sql.end({ timeout: 5 }) })
  try {
    await createBusinessSchema(sql)
    await app.register(fastifyJwt, {
      secret: jwtSecret,
      sign: { algorithm: 'HS256' },
      verify: { algorithms: ['HS256'], requiredClaims: ['sub', 'did'] }
    })
    await app.register(fastifySwagger, {
      openapi: {
        openapi: '3.1.0',
        info: { title: 'fastify-oversync reference server', version: '1.0.0', description: 'Sign in by `POST /dummy-signin`, then press *Authorize* and paste the token.' },
        components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
        security: [{ token: [] }]
      },
      refResolver: { buildLocalReference: json => json.$id as string }
    })
    await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
    await app.register(dummySignin)
    // All that sync needs: which tables, who calls, and where the database is.
    await app.register(oversync, { tables: SYNCED_TABLES, getIdentity, database: sql, appName: 'oversync-example' })
    addHealth(app, sql)
    if (routes !== undefined) await app.register(routes)
    await app.ready()
    return app
  } catch (error) {
    await app.close()
    throw error
  }
}

/** Throws for a token that is missing, malformed, expired or signed otherwise; the plugin then answers 401. */
async function getIdentity (request: FastifyRequest): Promise<Identity | null> {
  const { sub, did } = await request.jwtVerify<{ sub: unknown, did: unknown }>()
  if (typeof sub !== 'string' || sub === '' || typeof did !== 'string' || did === '') return null
  return { userId: sub, deviceId: did }
}

function addHealth (app: FastifyInstance, sql: postgres.Sql): void {
  app.get('/health', {
    schema: {
      summary: 'Tell whether the server and its database work',
      tags: ['app'],
      security: [],
      response: {
        200: { description: 'Both work.', type: 'object', properties: { status: { type: 'string', examples: ['ok'] } } },
        503: { description: 'The database does not answer.', type: 'object', properties: { status: { type: 'string', examples: ['unavailable'] } } }
      }
    }
  }, async (request, reply) => {
    const timer = new AbortController()
    try {
      const late = pause(HEALTH_TIMEOUT_MS, undefined, { signal: timer.signal }).then(() => { throw new Error('the database did not answer in time') })
      await Promise.race([sql`select 1`, late])
      return { status: 'ok' }
    } catch (error) {
      request.log.error(error)
      return reply.code(503).header('retry-after', 1).send({ status: 'unavailable' })
    } finally {
      timer.abort()
    }
  })
}
