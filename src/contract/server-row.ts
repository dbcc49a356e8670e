import { Type, type Static } from '@sinclair/typebox'
import { jsonObject, safeInteger } from './typebox.js'

export const ServerRowSchema = Type.Object({
  schema_name: Type.String({ description: 'PostgreSQL schema of the table.', examples: ['business'] }),
  table_name: Type.String({ description: 'Table.', examples: ['users'] }),
  id: Type.String({ description: 'The row\'s key as text.', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
  server_version: safeInteger({ description: 'Current version of the row; 0 where the server has never had it.', minimum: 0, examples: [3] }),
  deleted: Type.Boolean({ description: 'True where the row is deleted or was never there.', examples: [false] }),
  payload: Type.Union([
    jsonObject({
      description: 'The row by column.',
      examples: [{ id: '550e8400-e29b-41d4-a716-446655440000', name: 'John', email: 'john@example.com' }]
    }),
    Type.Null()
  ], { description: 'The row by column; null when deleted.' })
}, { $id: 'ServerRow', description: 'A row as the server holds it now.' })

export type ServerRow = Static<typeof ServerRowSchema>
