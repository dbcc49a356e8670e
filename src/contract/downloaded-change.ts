import { Type, type Static } from '@sinclair/typebox'
import { jsonObject, safeInteger, stringEnum } from './typebox.js'

export const DownloadedChangeSchema = Type.Object({
  server_id: safeInteger({ description: 'Position in the stream, given in the order of commit.', minimum: 1, examples: [43] }),
  schema: Type.String({ description: 'PostgreSQL schema of the table.', examples: ['business'] }),
  table: Type.String({ description: 'Table.', examples: ['users'] }),
  op: stringEnum(['INSERT', 'UPDATE', 'DELETE'], { description: 'What happened to the row. INSERT and UPDATE carry the whole row: as its author sent it, with what an update left out added.', examples: ['INSERT'] }),
  pk: Type.String({ description: 'The row\'s key as text.', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
  payload: Type.Optional(jsonObject({
    description: 'The row by column, numbers with their exact digits. Absent for DELETE.',
    examples: [{ id: '550e8400-e29b-41d4-a716-446655440000', name: 'John', email: 'john@example.com' }]
  })),
  server_version: safeInteger({ description: 'Version of the row that this change produced: 1, 2, 3 …, deletions counted.', minimum: 1, examples: [1] }),
  deleted: Type.Boolean({ description: 'True for DELETE.', examples: [false] }),
  source_id: Type.String({ description: 'Device that made the change; `oversync:server` for the server itself.', examples: ['3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11'] }),
  source_change_id: safeInteger({ description: 'The author\'s number for the change.', minimum: 1, examples: [1] }),
  ts: Type.String({ format: 'date-time', description: 'When the server accepted the change. For people; order is by server_id.', examples: ['2026-01-15T09:30:00.123456+00:00'] })
}, { $id: 'DownloadedChange', description: 'One change of the stream.' })

export type DownloadedChange = Static<typeof DownloadedChangeSchema>
