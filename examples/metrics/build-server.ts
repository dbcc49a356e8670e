import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import oversync, { sourceIdFrom } from 'fastify-oversync'
import postgres from 'postgres'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { createBusinessSchema, SYNCED_TABLES } from '../server/business-schema.js'
import { promMetrics } from './prom-metrics.js'

export interface MeteredServerOptions {
  /** Connection string. The server makes its tables there. */
  database: string
  logger?: FastifyServerOptions['logger']
}

/** A server with sync, and its numbers at GET /metrics. `close()` ends its connections to the database too. */
export async function buildMeteredServer ({ database, logger = false }: MeteredServerOptions): Promise<FastifyInstance> {
  const app = Fastify({ logger, requestTimeout: 120_000, connectionTimeout: 60_000 })
  const sql = postgres(database, { connect_timeout: 5, onnotice: () => {} })
  app.addHook('onClose', async () => { await sql.end({ timeout: 5 }) })
  // One of its own: prom-client's global one would meet the same names again in a second server of the process.
  const registry = new Registry()
  try {
    await createBusinessSchema(sql)
    // The process itself: memory, event loop, garbage collection.
    collectDefaultMetrics({ register: registry })
    await app.register(oversync, {
      database: sql,
      tables: SYNCED_TABLES,
      metrics: promMetrics(registry),
      // FOR DEVELOPMENT ONLY: it believes every name. examples/server has a sign-in.
      getIdentity: request => {
        const user = request.headers['x-user']
        return typeof user === 'string' && user !== '' ? { userId: user, deviceId: sourceIdFrom(request) } : null
      }
    })
    // For the operator's eyes: a real server shows it on an inner port or behind a check of its own.
    app.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
    await app.ready()
    return app
  } catch (error) {
    await app.close()
    throw error
  }
}
