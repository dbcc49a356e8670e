import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { RetryRequestSchema, type RetryRequest } from '../contract/materialize-failure.js'
import { ADMIN_COMPONENTS, ADMIN_OPERATIONS } from '../contract/operations.js'
import { SyncError } from '../errors.js'
import { MAX_ADMIN_BODY_BYTES } from '../limits.js'
import type { Metrics } from '../metrics.js'
import type { OversyncOptions } from '../options.js'
import type { OversyncService } from '../service/sync-service.js'
import { answerAsDocumented, askApp, identify, route, sendJson } from './routes.js'

export interface AdminRoutesOptions {
  /** Null only where the document is made without a database. */
  service: OversyncService | null
  admin: NonNullable<OversyncOptions['admin']>
  getIdentity: OversyncOptions['getIdentity']
  metrics: Metrics | null
}

const checkRetry = TypeCompiler.Compile(RetryRequestSchema)

/** What could not be materialized, for operators. Only registered where the app says who is one. */
export async function adminRoutes (app: FastifyInstance, { service, admin, getIdentity, metrics }: AdminRoutesOptions): Promise<void> {
  const sync = service as OversyncService
  for (const component of ADMIN_COMPONENTS) app.addSchema(component)
  answerAsDocumented(app, metrics)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) => parseRetry(body))
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    if (request.routeOptions.config.oversync === undefined) return
    const answer = await askApp(request, async request => await admin(request))
    if (answer === null || answer === undefined) throw new SyncError('authentication_failed', 'Sign in first.')
    if (answer !== true) throw new SyncError('forbidden', 'This caller is no operator.')
  })

  route(app, ADMIN_OPERATIONS.listMaterializeFailures, async (request, reply) => {
    const { user } = request.query as { user?: string }
    const failures = await sync.materializeFailures(user ?? (await identify(request, getIdentity)).userId)
    return await sendJson(reply, JSON.stringify(failures))
  })

  route(app, ADMIN_OPERATIONS.retryMaterialize, async (request, reply) => {
    const body = request.body as RetryRequest | undefined
    if (body === undefined) throw new SyncError('invalid_request', 'The request has no body.')
    const result = await sync.retryMaterialize(body.id)
    request.log.info({ oversync: { failure: result.id, status: result.status } }, 'sync failure retried')
    return await sendJson(reply, JSON.stringify(result))
  }, MAX_ADMIN_BODY_BYTES)
}

function parseRetry (body: Buffer): RetryRequest {
  let request: unknown
  try {
    request = isUtf8(body) ? JSON.parse(body.toString('utf8')) : undefined
  } catch (cause) {
    throw new SyncError('invalid_request', 'The body is not valid JSON.', { cause })
  }
  if (!checkRetry.Check(request)) throw new SyncError('invalid_request', 'The body must be {"id": n}, the number of a failure.')
  return request
}
