import fastifyPlugin from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyInstance, FastifyPluginAsync } from 'fastify'
import { neverThrowing } from './metrics.js'
import { resolveOptions, type OversyncOptions, type ResolvedOptions } from './options.js'
import { adminRoutes } from './routes/admin-routes.js'
import { syncRoutes } from './routes/routes.js'
import { OversyncService } from './service/sync-service.js'
import { VERSION } from './version.js'

const plugin: FastifyPluginAsync<OversyncOptions> = async (app: FastifyInstance, options) => {
  const resolved = withSafeMetrics(resolveOptions(options), app.log)
  const { prefix, schema, getIdentity, maxBodyBytes, metrics } = resolved
  const service = await OversyncService.open(resolved, problems => {
    if (problems.length === 0) app.log.info({ oversync: { prefix } }, 'sync tables changed')
    else app.log.error({ oversync: { prefix, problems } }, 'sync tables changed, and some cannot sync any more: their changes are refused until they can')
  })
  app.decorate('oversync', service)
  app.addHook('onClose', async () => {
    await service.close()
    app.log.info({ oversync: { prefix } }, 'sync closed')
  })
  await app.register(syncRoutes, { prefix, service, getIdentity, maxBodyBytes, metrics })
  if (resolved.admin !== null) await app.register(adminRoutes, { prefix: resolved.adminPrefix, service, admin: resolved.admin, getIdentity, metrics })
  warnOfSlowClients(app)
  const { version: postgresql, ...settings } = service.serverSettings
  app.log.info({ oversync: { version: VERSION, prefix, schema, tables: resolved.tables.map(({ schema, table }) => `${schema}.${table}`), postgresql, ...settings } }, 'sync started')
}

function withSafeMetrics (options: ResolvedOptions, log: FastifyBaseLogger): ResolvedOptions {
  const metrics = options.metrics && neverThrowing(options.metrics, err => {
    log.error({ err }, 'The option metrics threw an exception. Requests go on; it is not told again.')
  })
  return { ...options, metrics }
}

/** Both are off by default, and a few clients that send a byte now and then could hold every connection. */
function warnOfSlowClients ({ initialConfig, log }: FastifyInstance): void {
  const { requestTimeout = 0, connectionTimeout = 0 } = initialConfig as { requestTimeout?: number, connectionTimeout?: number }
  if (requestTimeout > 0 && connectionTimeout > 0) return
  log.warn({ requestTimeout, connectionTimeout }, 'Fastify waits for slow clients for ever where requestTimeout or connectionTimeout is 0. Set both, for example Fastify({ requestTimeout: 120_000, connectionTimeout: 60_000 }).')
}

/**
 * Offline-first sync between devices' SQLite and this app's PostgreSQL.
 *
 * @example
 * await app.register(oversync, {
 *   tables: ['business.users', 'business.posts'],
 *   getIdentity: async request => {
 *     const { sub, did } = await request.jwtVerify()
 *     return { userId: sub, deviceId: did }
 *   }
 * })
 */
export const oversync = fastifyPlugin(plugin, { name: 'fastify-oversync', fastify: '5.x' })

declare module 'fastify' {
  interface FastifyInstance {
    /** Upload, download and status without HTTP, for other transports. */
    oversync: OversyncService
  }
}
