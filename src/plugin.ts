import fastifyPlugin from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { resolveOptions, type OversyncOptions } from './options.js'
import { adminRoutes } from './routes/admin-routes.js'
import { syncRoutes } from './routes/routes.js'
import { OversyncService } from './service/sync-service.js'

const plugin: FastifyPluginAsync<OversyncOptions> = async (app: FastifyInstance, options) => {
  const resolved = resolveOptions(options)
  const service = await OversyncService.open(resolved)
  app.decorate('oversync', service)
  app.addHook('onClose', async () => { await service.close() })
  await app.register(syncRoutes, { prefix: resolved.prefix, service, getIdentity: resolved.getIdentity, maxBodyBytes: resolved.maxBodyBytes })
  if (resolved.admin !== null) await app.register(adminRoutes, { prefix: resolved.adminPrefix, service, admin: resolved.admin, getIdentity: resolved.getIdentity })
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
