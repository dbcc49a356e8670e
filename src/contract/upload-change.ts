import { Type, type Static } from '@sinclair/typebox'
import { jsonObject } from './typebox.js'

/**
 * One row operation as a device sends it. Only JSON types are checked here, since a wrong type refuses the whole
 * request; a wrong value (an unknown operation, a bad key) refuses this change alone and is judged by the service.
 */
export const UploadChangeSchema = Type.Object({
  source_change_id: Type.Integer({
    format: 'int64',
    description: 'The device\'s own number for this change, 1 to 2^53-1. Together with the source it is the idempotency key: a number that was applied once is never applied again. What is changed after a conflict or an invalid goes under a new number. Gaps and any order are fine.',
    examples: [1]
  }),
  schema: Type.Optional(Type.String({
    description: 'PostgreSQL schema of the table. Trimmed and lower-cased.',
    default: 'public',
    examples: ['business']
  })),
  table: Type.String({ description: 'A registered table. Trimmed and lower-cased.', examples: ['users'] }),
  op: Type.String({
    description: 'INSERT, UPDATE or DELETE, in any case. INSERT and UPDATE mean the same: "this is now the row". A column that the payload leaves out keeps its value where the row is there, and gets its default where it is not.',
    examples: ['INSERT']
  }),
  pk: Type.String({
    description: 'The row\'s key as text of at most 1,024 bytes. For a uuid key any usual spelling; it is stored and answered lower-case with dashes.',
    examples: ['550e8400-e29b-41d4-a716-446655440000']
  }),
  server_version: Type.Integer({
    format: 'int64',
    description: 'The version of the row that the device last saw, its base. 0 means: the device believes that there is no such row.',
    examples: [0]
  }),
  payload: Type.Optional(Type.Union([
    jsonObject({
      description: 'The row, by column.',
      examples: [{ id: '550e8400-e29b-41d4-a716-446655440000', name: 'John', email: 'john@example.com' }]
    }),
    Type.Null()
  ], {
    description: 'The row, by column. Required for INSERT and UPDATE; absent or null for DELETE. The key may be left out; if it is there it must equal pk. A key without a column in the server\'s table is kept for the other devices and not written to the table. Values: bigint and numeric as a number or text, with exact digits; boolean as true and false or 1 and 0; bytea as padded base64; uuid as text (or base64 of 16 bytes); date, time and timestamp as ISO 8601 text (a timestamptz without a zone is UTC), or as an integer where the server registers the column as epoch_s or epoch_ms; json and jsonb as any JSON, where null means NULL; enum as text.'
  }))
}, { $id: 'UploadChange', description: 'One row operation of a device.' })

export type UploadChange = Static<typeof UploadChangeSchema>
