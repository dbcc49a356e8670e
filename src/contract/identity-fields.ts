import { Type } from '@sinclair/typebox'

/** Fields by which a device notices a restored server, a cloned file or a mixed-up token before it does any harm. */
export const identityFields = {
  epoch: Type.String({
    description: 'Identity of the stream\'s history, opaque. It changes when the server is restored; the device then rebuilds.',
    examples: ['6f0c1d52.17']
  }),
  source_id: Type.String({
    description: 'The device as the server knows it from the sign-in.',
    examples: ['3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11']
  }),
  // One beyond the largest id, which doubles still hold exactly.
  next_source_change_id: Type.Integer({
    description: 'One more than the highest source_change_id of this source that was applied. A device whose own counter is below it is a copy of another.',
    format: 'int64',
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER + 1,
    examples: [2]
  })
}
