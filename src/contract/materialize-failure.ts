import { Type, type Static } from '@sinclair/typebox'
import { ref, safeInteger, stringEnum } from './typebox.js'

const nullableText = (description: string, example: string) => Type.Union([Type.String(), Type.Null()], { description, examples: [example] })

export const MaterializeFailureSchema = Type.Object({
  id: safeInteger({ description: 'Number of the failure, for a retry.', minimum: 1, examples: [7] }),
  scope: Type.String({ description: 'Whose stream the row is in.', examples: ['alice'] }),
  user_id: nullableText('Who made the change; null for the server itself.', 'alice'),
  source_id: nullableText('The device that made it; null for the server itself.', 'phone'),
  schema: Type.String({ examples: ['business'] }),
  table: Type.String({ examples: ['posts'] }),
  pk: Type.String({ description: 'The row\'s key.', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
  op: stringEnum(['INSERT', 'UPDATE', 'DELETE'], { description: 'What was tried last.', examples: ['INSERT'] }),
  server_version: safeInteger({ description: 'The version of the row that was tried last.', minimum: 1, examples: [1] }),
  reason: Type.String({ description: 'The reason as an `invalid` status would have it.', examples: ['constraint_violation'] }),
  message: Type.String({ description: 'A sentence for people.', examples: ['The row breaks the constraint posts_title_check.'] }),
  sqlstate: nullableText('PostgreSQL\'s code of the error.', '23514'),
  constraint: nullableText('The constraint that the row breaks.', 'posts_title_check'),
  attempts: Type.Integer({ description: 'How often it was tried.', minimum: 1, examples: [1] }),
  first_seen: Type.String({ format: 'date-time', examples: ['2026-01-01T12:00:00.123456+00:00'] }),
  last_seen: Type.String({ format: 'date-time', examples: ['2026-01-01T12:00:00.123456+00:00'] })
}, { $id: 'MaterializeFailure', description: 'A row that is in the stream and could not be written to its table, in a table with `onMaterializeError: record`. There is one entry a row.' })

export const MaterializeFailuresSchema = Type.Array(ref(MaterializeFailureSchema), { $id: 'MaterializeFailures', description: 'What could not be materialized, oldest first; at most 1,000.' })

export const FailuresQuerySchema = Type.Object({
  user: Type.Optional(Type.String({ description: 'Whose failures: of the user\'s own stream, and of changes that the user made in other scopes. Default: the caller.', examples: ['alice'] }))
})

export const RetryRequestSchema = Type.Object({
  id: safeInteger({ description: 'Number of the failure.', minimum: 1, examples: [7] })
}, { $id: 'RetryRequest', description: 'Which failure to retry.' })

export const RetryResponseSchema = Type.Object({
  id: safeInteger({ description: 'Number of the failure.', minimum: 1, examples: [7] }),
  status: stringEnum(['materialized', 'failed'], { description: 'Whether the row is in its table now; then the failure is gone from the list.', examples: ['materialized'] }),
  failure: Type.Optional(ref(MaterializeFailureSchema))
}, { $id: 'RetryResponse', description: 'The row was tried as it is in the stream now. `failure` is present where it failed again.' })

export type MaterializeFailure = Static<typeof MaterializeFailureSchema>
export type RetryRequest = Static<typeof RetryRequestSchema>
