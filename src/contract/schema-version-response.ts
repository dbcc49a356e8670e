import { Type, type Static } from '@sinclair/typebox'

export const SchemaVersionResponseSchema = Type.Object({
  schema_version: Type.Integer({ description: 'Version of the app\'s schema, as the app configured it.', examples: [1] })
}, { $id: 'SchemaVersionResponse', description: 'The server\'s schema version.' })

export type SchemaVersionResponse = Static<typeof SchemaVersionResponseSchema>
