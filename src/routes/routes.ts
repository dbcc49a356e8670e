import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TSchema } from '@sinclair/typebox'
import type { DownloadQuery } from '../contract/download-query.js'
import { COMPONENTS, OPERATIONS, routeSchema, type Operation } from '../contract/operations.js'
import { SyncError } from '../errors.js'
import { IDENTITY_TIMEOUT_MS } from '../limits.js'
import type { Identity, OversyncOptions } from '../options.js'
import { checkIdentity } from '../service/identity.js'
import type { OversyncService } from '../service/sync-service.js'
import { parseUploadBody, type UploadBody } from '../service/upload-body.js'
import { replyError } from './error-reply.js'
import { parseQuery } from './query.js'

export interface RoutesOptions {
  /** Null only where the document is made without a database. */
  service: OversyncService | null
  getIdentity: OversyncOptions['getIdentity']
  maxBodyBytes: number
  /** How long the app's getIdentity may take. */
  identityTimeoutMs?: number
}

/** Header by which our client names its source; a token that names another device is refused. */
export const SOURCE_ID_HEADER = 'oversync-source-id'

/** The routes of the contract, in a context of their own: their parser, validators and error replies do not touch the app's. */
export async function syncRoutes (app: FastifyInstance, { service, getIdentity, maxBodyBytes, identityTimeoutMs = IDENTITY_TIMEOUT_MS }: RoutesOptions): Promise<void> {
  const sync = service as OversyncService
  const callers = new WeakMap<FastifyRequest, Required<Identity>>()
  const callerOf = (request: FastifyRequest) => callers.get(request) as Required<Identity>

  for (const component of COMPONENTS) app.addSchema(component)
  readBodiesExactly(app)
  // The parser has checked the body already; responses are made to fit.
  app.setValidatorCompiler(({ schema, httpPart }) => httpPart === 'querystring' ? parseQuery(schema as TSchema) : value => ({ value }))
  app.setErrorHandler(replyError)
  app.setNotFoundHandler(async () => { throw new SyncError('not_found', 'There is no such route.') })
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    // Before the body is read: an unknown caller costs no parsing and no database work.
    if (request.routeOptions.config.oversync === true) {
      callers.set(request, await identify(request, getIdentity, identityTimeoutMs))
      refuseEncodings(request, reply)
    }
  })

  letSocketsGo(app)

  route(app, OPERATIONS.upload, async (request, reply) => {
    const started = performance.now()
    const body = request.body as UploadBody | undefined | null
    if (body === undefined || body === null) throw new SyncError('invalid_request', 'The request has no body.')
    const { json, counts } = await sync.upload(callerOf(request), body)
    request.log.info({ oversync: { ...counts, durationMs: Math.round(performance.now() - started) } }, 'sync upload')
    return await sendJson(reply, json)
  }, maxBodyBytes)

  route(app, OPERATIONS.download, async (request, reply) => {
    const started = performance.now()
    const { json, count } = await sync.download(callerOf(request), request.query as DownloadQuery)
    request.log.info({ oversync: { changes: count, durationMs: Math.round(performance.now() - started) } }, 'sync download')
    return await sendJson(reply, json)
  })

  route(app, OPERATIONS.schemaVersion, async (_request, reply) => await sendJson(reply, JSON.stringify({ schema_version: sync.schemaVersion })))

  route(app, OPERATIONS.status, async (request, reply) => await sendJson(reply, JSON.stringify(await sync.status(callerOf(request)))))
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

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** Registers an operation, and 405 for the other methods of its path. OPTIONS stays the app's, for CORS. */
function route (app: FastifyInstance, operation: Operation, handler: Handler, bodyLimit?: number): void {
  const { method, path } = operation
  app.route({
    method, url: path, schema: routeSchema(operation), handler, config: { oversync: true }, ...(bodyLimit === undefined ? {} : { bodyLimit })
  })
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(other => other !== method),
    url: path,
    schema: { hide: true } as object,
    // Before the body is looked at, whatever it is.
    onRequest: async (_request, reply) => {
      reply.header('allow', method)
      throw new SyncError('method_not_allowed', `Use ${method}.`)
    },
    handler: async () => {}
  })
}

/** Keeps the text of the body beside its parse: payloads are stored as sent. */
function readBodiesExactly (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) => {
    if (!isUtf8(body)) throw new SyncError('invalid_request', 'The body is not valid UTF-8.')
    return parseUploadBody(body.toString('utf8'))
  })
}

/** A compressed body would be taken for broken JSON, and unpacking it here would let a small one grow past every limit. */
function refuseEncodings (request: FastifyRequest, reply: FastifyReply): void {
  const encoding = request.headers['content-encoding']
  if (request.method !== 'POST' || encoding === undefined || encoding.trim().toLowerCase() === 'identity') return
  reply.header('accept-encoding', 'identity')
  throw new SyncError('unsupported_media_type', 'Send the body as it is, without a Content-Encoding.')
}

async function identify (request: FastifyRequest, getIdentity: OversyncOptions['getIdentity'], timeoutMs: number): Promise<Required<Identity>> {
  const identity = checkIdentity(await askApp(request, getIdentity, timeoutMs))
  const header = request.headers[SOURCE_ID_HEADER]
  if (header !== undefined && header !== identity.deviceId) {
    throw new SyncError('invalid_request', 'The token names another device than the header Oversync-Source-Id.')
  }
  return identity
}

async function askApp (request: FastifyRequest, getIdentity: OversyncOptions['getIdentity'], timeoutMs: number): Promise<Identity | null | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new SyncError('unavailable', 'The sign-in did not answer in time.')) }, timeoutMs)
  })
  try {
    // In an async function, so that an exception of one that is not async is a rejection too.
    return await Promise.race([(async () => await getIdentity(request))(), late])
  } catch (cause) {
    if (cause instanceof SyncError) throw cause
    const status = (cause as { statusCode?: unknown } | null)?.statusCode
    if (status === 403) throw new SyncError('forbidden', 'This caller may not sync.', { cause })
    if (status === 503) throw new SyncError('unavailable', 'The sign-in is not available at the moment.', { cause })
    // A token that was refused says so; anything else may be a fault in the app.
    if (status === undefined) request.log.warn({ err: cause }, 'getIdentity threw an exception without a statusCode; it is answered 401')
    throw new SyncError('authentication_failed', 'The sign-in was not accepted.', { cause })
  } finally {
    clearTimeout(timer)
  }
}

async function sendJson (reply: FastifyReply, json: string): Promise<FastifyReply> {
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
    /** Set on the routes of fastify-oversync. */
    oversync?: true
  }
}
