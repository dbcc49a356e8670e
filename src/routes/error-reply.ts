import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { SyncError, type ErrorCode } from '../errors.js'
import type { Metrics } from '../metrics.js'
import { loggable } from '../service/loggable-error.js'

type ErrorHandler = (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/**
 * Answers any error of these routes as the contract's `{ error, message }`. What the caller need not know goes to the log
 * alone: one line, above debug without any value of a row.
 */
export function errorReplies (metrics: Metrics | null): ErrorHandler {
  return async (error, request, reply) => {
    const refusal = error instanceof SyncError ? error : toSyncError(error)
    const { code, message, retryAfterSeconds, statusCode } = refusal
    metrics?.add('oversync_errors_total', 1, { code })
    logRefusal(refusal, error, request, reply)
    // A limiter of the app's may have said how long to wait.
    if (retryAfterSeconds !== undefined && code !== 'internal_error' && !reply.hasHeader('retry-after')) reply.header('retry-after', retryAfterSeconds)
    return await reply.code(statusCode).type('application/json; charset=utf-8').send(JSON.stringify({ error: code, message }))
  }
}

function logRefusal ({ code, message, statusCode, cause = null }: SyncError, error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const operation = request.routeOptions.config.oversync
  const bytes = Number(request.headers['content-length'] ?? NaN)
  const facts = {
    ...(operation === undefined ? {} : { operation }), code, durationMs: Math.round(reply.elapsedTime), ...(Number.isSafeInteger(bytes) ? { bytes } : {})
  }
  if (statusCode >= 500) {
    request.log.error({ oversync: facts, err: loggable(cause ?? error) }, message)
    request.log.debug({ err: cause ?? error }, 'the same error in full')
  } else if (code === 'authentication_failed' && cause !== null && (cause as { statusCode?: unknown }).statusCode === undefined) {
    // A token that was refused says so; anything else may be a fault in the app.
    request.log.warn({ oversync: facts, err: loggable(cause) }, `${request.routeOptions.config.oversyncHook ?? 'getIdentity'} threw an exception without a statusCode; it is answered 401`)
  } else {
    request.log.info({ oversync: { ...facts, reason: message } }, 'sync request refused')
  }
}

/** Refusals of Fastify's and of the app's own hooks (a rate limit, a check of tokens), by status; whatever else it is, it is ours. */
function toSyncError (error: FastifyError): SyncError {
  const refusal = (code: ErrorCode, message: string) => new SyncError(code, message, { cause: error })
  if (error.validation !== undefined || error.code === 'FST_ERR_VALIDATION') return refusal('invalid_request', error.message)
  const status = error.statusCode ?? 500
  switch (status) {
    case 400: return refusal('invalid_request', 'The request is malformed.')
    case 401: return refusal('authentication_failed', 'The sign-in was not accepted.')
    case 413: return refusal('body_too_large', 'The body is larger than this server accepts.')
    case 415: return refusal('unsupported_media_type', 'Send application/json.')
    case 429: return refusal('too_many_requests', 'Too many requests. Try again later.')
    case 503: return refusal('unavailable', 'The server is not available at the moment.')
    default: return status >= 400 && status < 500
      ? refusal('forbidden', 'The server refused this request.')
      : refusal('internal_error', 'The server could not handle the request.')
  }
}
