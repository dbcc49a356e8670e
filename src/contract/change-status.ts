import { Type, type Static } from '@sinclair/typebox'
import { ref, safeInteger, stringEnum } from './typebox.js'
import { ServerRowSchema } from './server-row.js'

const sourceChangeId = Type.Integer({ format: 'int64', description: 'The number of the change that this status is about.', examples: [1] })

export const AppliedStatusSchema = Type.Object({
  source_change_id: sourceChangeId,
  status: Type.Literal('applied', { description: 'The change is in the stream, now or since an earlier delivery.', examples: ['applied'] }),
  new_server_version: Type.Optional(safeInteger({
    description: 'The version that this change produced. Absent only where a DELETE met a row that the server never had.',
    minimum: 1,
    examples: [1]
  })),
  server_row: Type.Optional(ref(ServerRowSchema))
}, {
  $id: 'AppliedStatus',
  description: 'The change was applied. `server_row` is present where the row the server now holds is not what was sent: after a replay that has been overtaken, or where the server completed the row.'
})

export const ConflictStatusSchema = Type.Object({
  source_change_id: sourceChangeId,
  status: Type.Literal('conflict', { description: 'The row has another version than the device believed; nothing was applied.', examples: ['conflict'] }),
  server_row: ref(ServerRowSchema)
}, { $id: 'ConflictStatus', description: 'The base was stale. `server_row` is the row as it is now; the device merges and sends the result on its version.' })

/** Why a change was refused. Clients keep and show a change with a reason they do not know. */
export const INVALID_REASONS = [
  'bad_payload', 'unregistered_table', 'fk_missing', 'batch_too_large', 'internal_error',
  'constraint_violation', 'not_owner', 'source_change_id_reused', 'source_change_id_passed',
  'rejected', 'read_only'
] as const
export type InvalidReason = typeof INVALID_REASONS[number]

export const InvalidDetailsSchema = Type.Object({
  reason: stringEnum(INVALID_REASONS, {
    description: 'Why the change was refused. More reasons may appear; keep and show a change whose reason is unknown. `fk_missing` may succeed when sent again after its parent.',
    examples: ['constraint_violation']
  }),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown(), {
    description: 'By reason. fk_missing: `missing`, a list of "schema.table:key". constraint_violation: `constraint`, `column`, `sqlstate`. bad_payload: `column` where one is to blame. source_change_id_reused: `next_source_change_id`.',
    examples: [{ constraint: 'typed_rows_note_check', column: null, sqlstate: '23514' }]
  }))
}, { $id: 'InvalidDetails', description: 'A refusal in a form that programs can read.' })

export const InvalidStatusSchema = Type.Object({
  source_change_id: sourceChangeId,
  status: Type.Literal('invalid', { description: 'The change was refused and left no trace.', examples: ['invalid'] }),
  message: Type.String({ description: 'A sentence for people.', examples: ['The row breaks the constraint typed_rows_note_check.'] }),
  invalid: ref(InvalidDetailsSchema)
}, { $id: 'InvalidStatus', description: 'The change was refused; its neighbours were not.' })

export const ChangeStatusSchema = Type.Unsafe<Static<typeof AppliedStatusSchema> | Static<typeof ConflictStatusSchema> | Static<typeof InvalidStatusSchema>>({
  $id: 'ChangeStatus',
  description: 'The verdict over one change.',
  oneOf: [ref(AppliedStatusSchema), ref(ConflictStatusSchema), ref(InvalidStatusSchema)],
  discriminator: {
    propertyName: 'status',
    mapping: {
      applied: '#/components/schemas/AppliedStatus',
      conflict: '#/components/schemas/ConflictStatus',
      invalid: '#/components/schemas/InvalidStatus'
    }
  }
})

export type AppliedStatus = Static<typeof AppliedStatusSchema>
export type ConflictStatus = Static<typeof ConflictStatusSchema>
export type InvalidStatus = Static<typeof InvalidStatusSchema>
export type ChangeStatus = Static<typeof ChangeStatusSchema>
