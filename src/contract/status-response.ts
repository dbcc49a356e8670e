import { Type, type Static } from '@sinclair/typebox'
import { identityFields } from './identity-fields.js'
import { ref } from './typebox.js'

export const LimitsSchema = Type.Object({
  max_upload_batch_size: Type.Integer({ description: 'Most changes in one upload.', examples: [10000] }),
  max_payload_bytes: Type.Integer({ description: 'Most bytes in one payload, as sent.', examples: [10485760] }),
  max_body_bytes: Type.Integer({ description: 'Most bytes in one request body.', examples: [33554432] }),
  max_download_limit: Type.Integer({ description: 'Highest `limit` of a download.', examples: [1000] })
}, { $id: 'Limits', description: 'What this server accepts.' })

export const StatusResponseSchema = Type.Object({
  status: Type.String({ description: '`healthy` when the database answered.', examples: ['healthy'] }),
  version: Type.String({ description: 'Version of fastify-oversync.', examples: ['0.1.0'] }),
  app_name: Type.String({ description: 'Name of the app, as configured.', examples: ['my-app'] }),
  registered_tables: Type.Array(Type.String(), { description: 'Tables that sync, as schema.table.', examples: [['business.users', 'business.posts']] }),
  features: Type.Record(Type.String(), Type.Boolean(), { description: 'What this server can do. `synchronous_commit_raised`: the database would acknowledge what a crash can lose, and uploads see to it that it does not.', examples: [{ epoch: true, watch: false }] }),
  limits: ref(LimitsSchema),
  ...identityFields
}, { $id: 'StatusResponse', description: 'The server, and the caller\'s own stream and source.' })

export type Limits = Static<typeof LimitsSchema>
export type StatusResponse = Static<typeof StatusResponseSchema>
