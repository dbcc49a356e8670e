import { Type, type Static } from '@sinclair/typebox'
import { DownloadedChangeSchema } from './downloaded-change.js'
import { identityFields } from './identity-fields.js'
import { ref, safeInteger } from './typebox.js'

export const DownloadResponseSchema = Type.Object({
  changes: Type.Array(ref(DownloadedChangeSchema), { description: 'Changes in the order of the stream. May be fewer than the limit, even none, while has_more is true.' }),
  has_more: Type.Boolean({ description: 'There may be more inside the window: ask again with after = next_after and until = window_until.', examples: [false] }),
  next_after: safeInteger({ description: 'The cursor to go on with. Moves over the caller\'s own and filtered changes too.', minimum: 0, examples: [43] }),
  window_until: safeInteger({ description: 'Upper bound of the window. Pages with this `until` show one frozen state.', minimum: 0, examples: [43] }),
  floor: safeInteger({ description: 'Highest position whose record of a deletion has been removed; 0 while all are kept.', minimum: 0, examples: [0] }),
  ...identityFields
}, { $id: 'DownloadResponse', description: 'A page of the stream.' })

export type DownloadResponse = Static<typeof DownloadResponseSchema>
