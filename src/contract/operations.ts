import { Type, type TSchema } from '@sinclair/typebox'
import { ERRORS, type ErrorCode } from '../errors.js'
import { AppliedStatusSchema, ChangeStatusSchema, ConflictStatusSchema, InvalidDetailsSchema, InvalidStatusSchema } from './change-status.js'
import { DownloadQuerySchema } from './download-query.js'
import { DownloadResponseSchema } from './download-response.js'
import { DownloadedChangeSchema } from './downloaded-change.js'
import { ErrorResponseSchema } from './error-response.js'
import { FailuresQuerySchema, MaterializeFailureSchema, MaterializeFailuresSchema, RetryRequestSchema, RetryResponseSchema } from './materialize-failure.js'
import { SchemaVersionResponseSchema } from './schema-version-response.js'
import { ServerRowSchema } from './server-row.js'
import { LimitsSchema, StatusResponseSchema } from './status-response.js'
import { ref } from './typebox.js'
import { UploadChangeSchema } from './upload-change.js'
import { UploadRequestSchema } from './upload-request.js'
import { UploadResponseSchema } from './upload-response.js'

/** The named schemas of the sync routes, in the order in which the document shows them. */
export const COMPONENTS: TSchema[] = [
  UploadRequestSchema, UploadChangeSchema, UploadResponseSchema, ChangeStatusSchema, AppliedStatusSchema,
  ConflictStatusSchema, InvalidStatusSchema, InvalidDetailsSchema, ServerRowSchema, DownloadResponseSchema,
  DownloadedChangeSchema, SchemaVersionResponseSchema, StatusResponseSchema, LimitsSchema, ErrorResponseSchema
]

export const ADMIN_COMPONENTS: TSchema[] = [
  MaterializeFailuresSchema, MaterializeFailureSchema, RetryRequestSchema, RetryResponseSchema, ErrorResponseSchema
]

export interface Operation {
  method: 'GET' | 'POST'
  path: string
  operationId: string
  summary: string
  description: string
  body?: TSchema
  query?: TSchema
  reply: TSchema
  replyDescription: string
  errors: ErrorCode[]
  /** Tag in the document; default `sync`. */
  tag?: 'admin'
}

const sourceIdHeader = Type.Object({
  'Oversync-Source-Id': Type.Optional(Type.String({
    description: 'The source that the device believes to be. Needed where the app\'s sign-in names no device; where it names another one the reply is 400, so that a mixed-up token does no harm.'
  }))
})

const common: ErrorCode[] = ['invalid_request', 'authentication_failed', 'forbidden', 'too_many_requests', 'internal_error', 'unavailable']

export const OPERATIONS = {
  upload: {
    method: 'POST',
    path: '/upload',
    operationId: 'upload',
    summary: 'Apply a batch of changes',
    description: 'Judges every change of the batch and applies the good ones in one transaction. The same request may be sent again at any time: nothing is applied twice, and the verdicts stay true. No reply means nothing or everything; a retry finds out which.',
    body: UploadRequestSchema,
    reply: UploadResponseSchema,
    replyDescription: 'The verdicts, one a change, in the order of the request.',
    errors: [...common, 'history_changed', 'body_too_large', 'unsupported_media_type', 'upgrade_required']
  },
  download: {
    method: 'GET',
    path: '/download',
    operationId: 'download',
    summary: 'Read a page of the stream',
    description: 'Sends the changes after a cursor in the order of commit. To show a consistent state, keep asking with `until` = `window_until` of the first page until `has_more` is false, and apply the pages as one.',
    query: DownloadQuerySchema,
    reply: DownloadResponseSchema,
    replyDescription: 'A page of the stream.',
    errors: [...common, 'history_changed', 'cursor_expired']
  },
  schemaVersion: {
    method: 'GET',
    path: '/schema-version',
    operationId: 'getSchemaVersion',
    summary: 'Read the schema version',
    description: 'The version of the app\'s schema, so that a device can tell whether it is too old or too new.',
    reply: SchemaVersionResponseSchema,
    replyDescription: 'The version.',
    errors: common
  },
  status: {
    method: 'GET',
    path: '/status',
    operationId: 'getStatus',
    summary: 'Read the server\'s status and limits',
    description: 'The server, its registered tables and limits, and the caller\'s own stream and source.',
    reply: StatusResponseSchema,
    replyDescription: 'The server works, and this is what it offers.',
    errors: common
  }
} satisfies Record<string, Operation>

/** Only there where the app passes an `admin` authorizer, under a prefix of their own (none by default). */
export const ADMIN_OPERATIONS = {
  listMaterializeFailures: {
    method: 'GET',
    path: '/admin/materialize-failures',
    operationId: 'listMaterializeFailures',
    summary: 'List what could not be materialized',
    description: 'The rows of a user that are in the stream and that the database refused, in tables with `onMaterializeError: record`. For operators: the app\'s `admin` authorizer decides who may ask.',
    query: FailuresQuerySchema,
    reply: MaterializeFailuresSchema,
    replyDescription: 'The failures.',
    errors: common,
    tag: 'admin'
  },
  retryMaterialize: {
    method: 'POST',
    path: '/admin/materialize-failures/retry',
    operationId: 'retryMaterialize',
    summary: 'Retry what could not be materialized',
    description: 'Writes the row of a failure to its table, as the row is in the stream now. One retry of a failure at a time.',
    body: RetryRequestSchema,
    reply: RetryResponseSchema,
    replyDescription: 'What became of it.',
    errors: [...common, 'not_found', 'retry_in_progress', 'body_too_large', 'unsupported_media_type'],
    tag: 'admin'
  }
} satisfies Record<string, Operation>

/** The `schema` of a Fastify route for an operation: validation and document from one source. */
export function routeSchema (operation: Operation): Record<string, unknown> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of operation.errors) byStatus.set(ERRORS[code].status, [...(byStatus.get(ERRORS[code].status) ?? []), code])
  const response: Record<string, unknown> = {
    200: { description: operation.replyDescription, content: { 'application/json': { schema: ref(operation.reply) } } }
  }
  for (const [status, codes] of [...byStatus].sort(([a], [b]) => a - b)) {
    response[status] = {
      description: codes.map(code => `\`${code}\`: ${ERRORS[code].advice}`).join(' '),
      content: { 'application/json': { schema: ref(ErrorResponseSchema) } },
      ...(codes.some(code => ERRORS[code].retry && status !== 500)
        ? { headers: { 'Retry-After': Type.Integer({ description: 'Seconds to wait.' }) } }
        : {})
    }
  }
  return {
    operationId: operation.operationId,
    summary: operation.summary,
    description: operation.description,
    tags: [operation.tag ?? 'sync'],
    ...(operation.body ? { body: ref(operation.body) } : {}),
    ...(operation.query ? { querystring: operation.query } : {}),
    ...(operation.tag === 'admin' ? {} : { headers: sourceIdHeader }),
    response
  }
}
