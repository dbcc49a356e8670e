import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import type { TSchema } from '@sinclair/typebox'
import type { DownloadQuery } from '../contract/download-query.js'
import { COMPONENTS, OPERATIONS, routeSchema, type Operation } from '../contract/operations.js'
import { SyncError } from '../errors.js'
import { IDENTITY_TIMEOUT_MS } from '../limits.js'
import { replyStatus, type Metrics } from '../metrics.js'
import type { Identity, OversyncOptions } from '../options.js'
import { checkIdentity } from '../service/identity.js'
import type { OversyncService } from '../service/sync-service.js'
import { errorReplies } from './error-reply.js'
import { parseQuery } from './query.js'

export interface RoutesOptions {
  /** Null only where the document is made without a database. */
  service: OversyncService | null
  getIdentity: OversyncOptions['getIdentity']
  maxBodyBytes: number
  metrics?: Metrics | null
  /** How long the app's getIdentity may take. */
  identityTimeoutMs?: number
}

/** Header by which our client names its source; a token that names another device is refused. */
export const SOURCE_ID_HEADER = 'oversync-source-id'

/** The routes of the contract, in a context of their own: their parser, validators and error replies do not touch the app's. */
export async function syncRoutes (app: FastifyInstance, { service, getIdentity, maxBodyBytes, metrics = null, identityTimeoutMs = IDENTITY_TIMEOUT_MS }: RoutesOptions): Promise<void> {
  const sync = service as OversyncService
  const callers = new WeakMap<FastifyRequest, Required<Identity>>()
  const callerOf = (request: FastifyRequest) => callers.get(request) as Required<Identity>

  for (const component of COMPONENTS) app.addSchema(component)
  keepBodies(app)
  answerAsDocumented(app, metrics)
  // Answered by the hook; without a handler of its own this prefix would have the app's.
  app.setNotFoundHandler(async () => {})
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    // Not in the handler: by then the body of whoever it is has been read.
    if (request.is404) throw new SyncError('not_found', 'There is no such route.')
    // Before the body is read: an unknown caller costs no parsing and no database work.
    if (request.routeOptions.config.oversync === undefined) return
    const { userId, deviceId, scope } = await identify(request, getIdentity, identityTimeoutMs)
    callers.set(request, { userId, deviceId, scope })
    // Who it was stays out of the lines above debug.
    request.log.debug({ oversync: { user: userId, device: deviceId, scope } }, 'sync caller')
  })
  if (metrics !== null) countReplies(app, metrics)

  letSocketsGo(app)

  route(app, OPERATIONS.upload, async (request, reply) => {
    const body = request.body as Buffer | undefined | null
    if (body === undefined || body === null) throw new SyncError('invalid_request', 'The request has no body.')
    const { json, counts, waitedMs, workedMs } = await sync.upload(callerOf(request), body)
    request.log.info({
      oversync: { ...counts, bytes: body.length, ...milliseconds({ duration: reply.elapsedTime, waited: waitedMs, worked: workedMs }) }
    }, 'sync upload')
    return await sendJson(reply, json)
  }, maxBodyBytes)

  route(app, OPERATIONS.download, async (request, reply) => {
    const { bytes, count } = await sync.download(callerOf(request), request.query as DownloadQuery)
    request.log.info({ oversync: { changes: count, bytes: bytes.length, ...milliseconds({ duration: reply.elapsedTime }) } }, 'sync download')
    return await sendJson(reply, bytes)
  })

  route(app, OPERATIONS.schemaVersion, async (_request, reply) => await sendJson(reply, JSON.stringify({ schema_version: sync.schemaVersion })))

  route(app, OPERATIONS.status, async (request, reply) => await sendJson(reply, JSON.stringify(await sync.status(callerOf(request)))))
}

/** What both kinds of routes have in common: strict queries, and errors as the contract has them. */
export function answerAsDocumented (app: FastifyInstance, metrics: Metrics | null): void {
  // The parsers check the bodies; responses are made to fit.
  app.setValidatorCompiler(({ schema, httpPart }) => httpPart === 'querystring' ? parseQuery(schema as TSchema) : value => ({ value }))
  app.setErrorHandler(errorReplies(metrics))
}

/** After the reply, whoever gave it: also an app's own hook that answered before the route. */
function countReplies (app: FastifyInstance, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const labels = { status: replyStatus(reply.statusCode) }
    if (request.routeOptions.config.oversync === 'upload') metrics.add('oversync_uploads_total', 1, labels)
    if (request.routeOptions.config.oversync === 'download') metrics.add('oversync_downloads_total', 1, labels)
  })
}

function milliseconds (times: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(times).map(([name, ms]) => [`${name}Ms`, Math.round(ms)]))
}

/**
 * Whoever is answered while the app closes is told to close the socket. Node closes the sockets that are idle at that moment;
 * one whose request is still under way would be kept alive afterwards and hold up the close for as long.
 */
function letSocketsGo (app: FastifyInstance): void {
  let isClosing = false
  app.addHook('preClose', async () => { isClosing = true })
  app.addHook('onSend', async (request, reply) => {
    if (isClosing && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
  })
}

export type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** Registers an operation, and 405 for the other methods of its path. OPTIONS stays the app's, for CORS. */
export function route (app: FastifyInstance, operation: Operation, handler: Handler, bodyLimit?: number): void {
  const { method, path } = operation
  app.route({
    method, url: path, schema: routeSchema(operation), handler, config: { oversync: operation.operationId, oversyncHook: operation.tag === 'admin' ? 'admin' : 'getIdentity' }, exposeHeadRoute: true, ...(bodyLimit === undefined ? {} : { bodyLimit, preParsing: refuseEncodedBodies })
  })
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(other => other !== method),
    url: path,
    schema: { hide: true } as object,
    exposeHeadRoute: true,
    // Before the body is looked at, whatever it is.
    onRequest: async (_request, reply) => {
      reply.header('allow', method === 'GET' ? 'GET, HEAD' : method)
      throw new SyncError('method_not_allowed', `Use ${method}.`)
    },
    handler: async () => {}
  })
}

/** An app that unpacks bodies (@fastify/compress does, in a hook before this one) hands on another stream than the request's own. */
async function refuseEncodedBodies (request: FastifyRequest, reply: FastifyReply, payload: RequestPayload): Promise<RequestPayload> {
  const encoding = request.headers['content-encoding']?.trim().toLowerCase() ?? 'identity'
  if (encoding !== 'identity' && encoding !== '' && payload === request.raw) {
    reply.header('accept-encoding', 'identity')
    throw new SyncError('unsupported_media_type', 'This server takes bodies without Content-Encoding only.')
  }
  return payload
}

/** Bodies stay as they came until it is their turn: the service parses them, and payloads are stored as sent. */
function keepBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) => {
    if (!isUtf8(body)) throw new SyncError('invalid_request', 'The body is not valid UTF-8.')
    return body
  })
}

export async function identify (request: FastifyRequest, getIdentity: OversyncOptions['getIdentity'], timeoutMs = IDENTITY_TIMEOUT_MS): Promise<Required<Identity>> {
  const identity = checkIdentity(await askApp(request, getIdentity, timeoutMs))
  const header = request.headers[SOURCE_ID_HEADER]
  if (header !== undefined && header !== identity.deviceId) {
    throw new SyncError('invalid_request', 'The token names another device than the header Oversync-Source-Id.')
  }
  return identity
}

/** What the app's sign-in answers; what it throws becomes an error of the contract. */
export async function askApp<T> (request: FastifyRequest, ask: (request: FastifyRequest) => T | Promise<T>, timeoutMs = IDENTITY_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new SyncError('unavailable', 'The sign-in did not answer in time.')) }, timeoutMs)
  })
  try {
    // In an async function, so that an exception of one that is not async is a rejection too.
    return await Promise.race([(async () => await ask(request))(), late])
  } catch (cause) {
    if (cause instanceof SyncError) throw cause
    const status = (cause as { statusCode?: unknown } | null)?.statusCode
    if (status === 403) throw new SyncError('forbidden', 'This caller may not sync.', { cause })
    if (status === 503) throw new SyncError('unavailable', 'The sign-in is not available at the moment.', { cause })
    throw new SyncError('authentication_failed', 'The sign-in was not accepted.', { cause: cause ?? new Error('Nothing was thrown.') })
  } finally {
    clearTimeout(timer)
  }
}

export async function sendJson (reply: FastifyReply, json: string | Buffer): Promise<FastifyReply> {
  return await reply.type('application/json; charset=utf-8').send(json)
}

/** For apps whose sign-in names no device: the source id that our client sends, to be used as `deviceId`. */
export function sourceIdFrom (request: FastifyRequest): string {
  const header = request.headers[SOURCE_ID_HEADER]
  if (typeof header !== 'string' || header === '') throw new SyncError('authentication_failed', 'The header Oversync-Source-Id, which names the device, is missing.')
  return header
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** On the routes of fastify-oversync, its operationId in the document. */
    oversync?: string
    /** The app's function that says who may call, for the log. */
    oversyncHook?: 'getIdentity' | 'admin'
  }
}
