import { Type, type Static } from '@sinclair/typebox'
import { ChangeStatusSchema } from './change-status.js'
import { identityFields } from './identity-fields.js'
import { ref, safeInteger } from './typebox.js'

export const UploadResponseSchema = Type.Object({
  accepted: Type.Boolean({
    description: 'False where the batch was too large, or a change named a table that is not registered. The statuses tell what happened.',
    examples: [true]
  }),
  highest_server_seq: safeInteger({ description: 'Head of the stream after this batch.', minimum: 0, examples: [43] }),
  statuses: Type.Array(ref(ChangeStatusSchema), { description: 'One verdict a change, in the order of the request.' }),
  ...identityFields
}, { $id: 'UploadResponse', description: 'The verdicts over a batch. Everything reported as applied is durable.' })

export type UploadResponse = Static<typeof UploadResponseSchema>
