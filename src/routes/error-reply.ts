import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { SyncError, type ErrorCode } from '../errors.js'

/** Answers any error of these routes as the contract's `{ error, message }`. What the caller need not know goes to the log alone. */
export async function replyError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { code, message, retryAfterSeconds, statusCode, cause } = error instanceof SyncError ? error : toSyncError(error)
  if (statusCode >= 500) request.log.error({ err: cause ?? error, code }, message)
  else request.log.info({ code, reason: message }, 'sync request refused')
  if (retryAfterSeconds !== undefined && code !== 'internal_error') reply.header('retry-after', retryAfterSeconds)
  return await reply.code(statusCode).type('application/json; charset=utf-8').send(JSON.stringify({ error: code, message }))
}

/** Fastify's own refusals, by status; whatever else it is, it is ours. */
function toSyncError (error: FastifyError): SyncError {
  const refusal = (code: ErrorCode, message: string) => new SyncError(code, message, { cause: error })
  if (error.validation !== undefined || error.code === 'FST_ERR_VALIDATION') return refusal('invalid_request', error.message)
  switch (error.statusCode) {
    case 400: return refusal('invalid_request', 'The request is malformed.')
    case 413: return refusal('body_too_large', 'The body is larger than this server accepts.')
    case 415: return refusal('unsupported_media_type', 'Send application/json.')
    case 503: return refusal('unavailable', 'The server is not available at the moment.')
    default: return refusal('internal_error', 'The server could not handle the request.')
  }
}
