import { Type, type Static } from '@sinclair/typebox'
import { ref } from './typebox.js'
import { UploadChangeSchema } from './upload-change.js'

export const UploadRequestSchema = Type.Object({
  last_server_seq_seen: Type.Optional(Type.Integer({
    format: 'int64',
    description: 'The cursor of the device. For information only.',
    examples: [42]
  })),
  epoch: Type.Optional(Type.String({
    description: 'The epoch the device knows. If it is not the server\'s, the reply is 409 history_changed and nothing is applied.',
    examples: ['6f0c1d52.17']
  })),
  schema_version: Type.Optional(Type.Integer({
    description: 'The version of the app\'s schema on the device. Below the app\'s minimum the reply is 426 upgrade_required.',
    examples: [1]
  })),
  next_source_change_id: Type.Optional(Type.Integer({
    format: 'int64',
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER + 1,
    description: 'One more than the highest source_change_id that this device knows to be its own and used. With it, numbers only go up: a change is not applied under a number below one that was used (source_change_id_passed), and nothing of the batch is where another copy of the device has used numbers that this one does not know (source_change_id_reused).',
    examples: [1]
  })),
  changes: Type.Optional(Type.Union([
    Type.Array(ref(UploadChangeSchema)),
    Type.Null()
  ], { description: 'The changes to apply. Missing, null or empty is a handshake: nothing is applied and the reply has no statuses.' }))
}, { $id: 'UploadRequest', description: 'A batch of changes. The caller\'s user and device come from the app\'s sign-in, never from the body.' })

export type UploadRequest = Static<typeof UploadRequestSchema>
